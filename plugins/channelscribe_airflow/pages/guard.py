"""Who may see the pages, who may change what they show, and whether a form is one of ours.

The archive is what the DAG `channel_ingest` makes, so the permissions are those on that DAG, whatever the auth
manager: who may read it reads the pages, who may edit it names, merges and splits speakers. Airflow does not protect
what a plugin mounts: the app does, as a whole.
"""

from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Form, HTTPException, Request, status
from itsdangerous import BadSignature, URLSafeTimedSerializer

DAG_ID = "channel_ingest"
# A page that stays open overnight still works in the morning.
_TOKEN_AGE_S = 24 * 3600

may_read = requires_access_dag("GET", param_dag_id=DAG_ID)
_may_edit = requires_access_dag("PUT", param_dag_id=DAG_ID)


def refuse_nul(request: Request) -> None:
    """Refuse an address with a character that no text in the archive has, and that its server takes no question with.

    Raises:
        HTTPException: 400.
    """
    if "\x00" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "The address holds a character that no text has (NUL).")


def can_edit(user: BaseUser) -> bool:
    """Whether to offer a user what changes something."""
    return get_auth_manager().is_authorized_dag(method="PUT", details=DagDetails(id=DAG_ID), user=user)


def form_token(user: BaseUser) -> str:
    """What every form carries: only a page that this user was given knows it."""
    return _signer().dumps(user.get_id())


def require_own_form(request: Request, user: GetUserDep, token: Annotated[str, Form()] = "") -> None:
    """Refuse a write by somebody who may not, or that another site made the browser send.

    The login's cookie comes with what any page of the same server sends, so the form must come from here, with the
    token that was given to this user.

    Raises:
        HTTPException: 403.
    """
    _may_edit(request, user)
    if not _is_same_origin(request):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This form was sent by another site: nothing was changed.")
    if not _is_token_of(user, token):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This form is out of date: load the page again, and repeat.")


def _is_token_of(user: BaseUser, token: str) -> bool:
    try:
        owner = _signer().loads(token, max_age=_TOKEN_AGE_S)
    except BadSignature:
        return False
    # Whoever may come without a login has no id (FAB's public role): None is then the id that was signed.
    return bool(owner == user.get_id())


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_signing_key("api", "secret_key"), salt="channelscribe-form")


def _is_same_origin(request: Request) -> bool:
    # Browsers send the first to https and loopback alone, the second with every form.
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    known = (urlsplit(str(request.base_url)), urlsplit(conf.get("api", "base_url", fallback="")))
    return bool(origin.netloc) and origin[:2] in [url[:2] for url in known]

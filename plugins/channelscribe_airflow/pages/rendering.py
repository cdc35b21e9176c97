"""How a page is made of a template: everything is escaped, and what all pages need is there."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.tokens import get_signing_key
from fastapi import Request
from fastapi.responses import HTMLResponse
from itsdangerous import BadSignature, URLSafeSerializer
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from channelscribe.wording import clock
from channelscribe_airflow.pages import guard

HERE = Path(__file__).parent
STATIC = HERE / "static"
_NOTICE = "notice"


@dataclass(frozen=True)
class Notice:
    """What a form did.

    Args:
        text: in a sentence.
        good: whether it was done.
        edit_id: the edit that can be undone, if any.
    """

    text: str
    good: bool = True
    edit_id: int | None = None


def render(request: Request, user: BaseUser, template: str, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        request: whose answer it is.
        user: who asked.
        template: its file's name.
        values: what the template needs beside what all have: `root` (the app's path), `page` (the template's name
            without its ending), `can_edit`, `token` (of forms), `notice` (what was just done)
            and `here` (this page below `root`).
    """
    edits = guard.can_edit(user)
    html = (
        _environment()
        .get_template(template)
        .render(
            root=root(request),
            page=template.removesuffix(".html"),
            can_edit=edits,
            token=guard.form_token(user) if edits else "",
            notice=_notice(request),
            here=_here(request),
            **values,
        )
    )
    return HTMLResponse(html)


def render_error(request: Request, status: int, sentence: str) -> HTMLResponse:
    """A page that says what is wrong; it needs no user."""
    values = {"page": "error", "can_edit": False, "token": "", "notice": None, "here": "/"}
    template = _environment().get_template("error.html")
    return HTMLResponse(template.render(root=root(request), status=status, sentence=sentence, **values), status)


def root(request: Request) -> str:
    """The path that the app is mounted at, as the browser sees it, without a slash at its end."""
    return str(request.scope["root_path"])


def notice_query(notice: Notice) -> str:
    """A parameter for the page that follows a form, so that it says what was done.

    It is signed, so that nobody else's link can put words into a page.
    """
    return urlencode({_NOTICE: _signer().dumps(asdict(notice))})


def _notice(request: Request) -> Notice | None:
    try:
        return Notice(**_signer().loads(request.query_params.get(_NOTICE, "")))
    except BadSignature:
        return None


def _here(request: Request) -> str:
    """The address of this page below the app's path, without what was said on it."""
    query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != _NOTICE])
    path = quote(request.scope["path"].removeprefix(root(request)))
    return f"{path}?{query}" if query else path


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(get_signing_key("api", "secret_key"), salt="channelscribe-notice")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = clock
    environment.filters["is_web"] = is_web
    environment.globals["version_of"] = version_of
    return environment


def is_web(url: str) -> bool:
    """Whether an address may be a link: others, such as `javascript:`, would be followed into the page itself."""
    return url.lower().startswith(("http://", "https://"))


@cache
def version_of(name: str) -> str:
    """Part of a static file's address: another one for other content, so that browsers may keep what they have."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]

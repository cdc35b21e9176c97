"""The token of a form, of somebody whom the auth manager gives no id."""

from types import SimpleNamespace

import pytest

pytest.importorskip("airflow")

from fastapi import HTTPException, Request

from channelscribe_airflow.pages import guard

pytestmark = pytest.mark.airflow

# Whoever may come without a login, by FAB's public role.
ANYBODY = SimpleNamespace(get_id=lambda: None)
FROM_HERE = Request({"type": "http", "headers": [(b"sec-fetch-site", b"same-origin")]})


@pytest.fixture(autouse=True)
def _may_edit(monkeypatch):
    monkeypatch.setattr(guard, "_may_edit", lambda request, user: None)
    monkeypatch.setattr(guard, "get_signing_key", lambda section, key: "secret")


@pytest.mark.parametrize("token", ["", "made-up"])
def test_without_an_id_a_made_up_token_is_refused_too(token: str) -> None:
    with pytest.raises(HTTPException, match="out of date"):
        guard.require_own_form(FROM_HERE, ANYBODY, token)


def test_without_an_id_the_token_of_the_page_is_taken() -> None:
    guard.require_own_form(FROM_HERE, ANYBODY, guard.form_token(ANYBODY))

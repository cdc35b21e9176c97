"""What a page says when it cannot be shown."""

from airflow.api_fastapi.app import get_auth_manager
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from channelscribe.errors import BadInputError, ChannelscribeError, TryAgainError
from channelscribe_airflow.pages.rendering import render_error

# What Airflow says, with a 403, of a login of another installation, of one that was ended, and of a user who is gone.
_INVALID_LOGIN = "Invalid JWT token"
_SENTENCES = {403: "You may not do this: ask an administrator of Airflow.", 404: "There is no such page."}


def install(app: FastAPI) -> None:
    """Let the app answer every failure with a page and one sentence."""
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(ChannelscribeError)(_ours)


def _http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 401 or error.detail == _INVALID_LOGIN:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)), 303)
        return _page(request, error.status_code, "You are not logged in, or not any more: log in, and try again.")
    given = error.detail if error.detail not in ("Forbidden", "Not Found") else None
    return _page(request, error.status_code, given or _SENTENCES.get(error.status_code, error.detail))


def _invalid(request: Request, error: RequestValidationError) -> Response:
    name = ".".join(str(part) for part in error.errors()[0]["loc"][1:])
    return _page(request, 400, f"{name or 'The request'} is not right: {error.errors()[0]['msg']}.")


def _ours(request: Request, error: ChannelscribeError) -> Response:
    status = 400 if isinstance(error, BadInputError) else 503 if isinstance(error, TryAgainError) else 500
    return _page(request, status, str(error))


def _page(request: Request, status: int, sentence: str) -> HTMLResponse:
    return render_error(request, status, sentence)

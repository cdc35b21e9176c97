"""The page Archive: a search box with filters, what it finds, or else the newest videos."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from channelscribe.contracts import Query as WordsToEmbed
from channelscribe.errors import BadInputError, TryAgainError
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe.store.browsing import channel_titles, speaker_names
from channelscribe.store.connection import Connection
from channelscribe.store.models import has_model
from channelscribe.store.search.hybrid import Hit, search
from channelscribe.store.search.nothing_found import unknown_names
from channelscribe.store.search.query_terms import words_to_embed
from channelscribe.store.search.resident_embedder import NoAnswerError, NotYetError, ask_embedder
from channelscribe.store.search.text_models import Model, Vector, embed_for_other_models
from channelscribe.store.videos import list_videos
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.rendering import render

PAGE_SIZE = 20
MOST_HITS = 100
# A page must not wait for a model: one that is in memory answers sooner, and one that is not is being loaded meanwhile.
EMBEDDER_PATIENCE_S = 0.2

router = APIRouter()


@dataclass(frozen=True)
class Filters:
    """What the search box was given, as it was given."""

    q: str = ""
    speaker: str = ""
    channel: str = ""
    since: str = ""
    until: str = ""

    def given(self) -> dict[str, str]:
        """Those that are not empty."""
        return {name: value.strip() for name, value in vars(self).items() if value.strip()}


@dataclass(frozen=True)
class Found:
    """What a search found, and what is to be said about it."""

    hits: list[Hit]
    notes: list[str]


@router.get("/")
def archive(
    request: Request,
    user: GetUserDep,
    connection: Reading,
    filters: Annotated[Filters, Depends()],
    n: Annotated[int, Query(ge=1, le=MOST_HITS)] = PAGE_SIZE,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> HTMLResponse:
    """Hits of a search, or, where nothing was asked, the newest videos."""
    given = filters.given()
    words = given.pop("q", "")
    found = _search(connection, words, given, n) if words else None
    videos = [] if found else list_videos(connection, limit=PAGE_SIZE + 1, offset=PAGE_SIZE * (page - 1))
    return render(
        request, user, "archive.html",
        filters=filters, given={"q": words, **given}, found=found, videos=videos[:PAGE_SIZE], number=page,
        has_more=len(videos) > PAGE_SIZE,
        more=min(n + PAGE_SIZE, MOST_HITS) if found and len(found.hits) == n < MOST_HITS else None,
        channels=channel_titles(connection), names=speaker_names(connection), pieces=pieces,
    )  # fmt: skip


def pieces(hit: Hit) -> Iterator[tuple[str, bool]]:
    """A hit's text in pieces, each with whether it was searched for."""
    at = 0
    for first, last in hit.highlights:
        yield hit.text[at:first], False
        yield hit.text[first:last], True
        at = last
    yield hit.text[at:], False


def _search(connection: Connection, words: str, given: dict[str, str], n: int) -> Found:
    notes: list[str] = []
    try:
        narrowed = {
            "speaker": given.get("speaker"),
            "channel": given.get("channel"),
            "since": _day(given.get("since")),
            "until": _day(given.get("until")),
        }
        spec = get_profile(get_settings().profile).stages["embed_text"]
        model = spec.model, spec.revision
        vector, others = _embeddings(connection, words_to_embed(words), model, notes)
        hits = search(connection, words, vector, model, **narrowed, limit=n, others=others)  # type: ignore[arg-type]
    except BadInputError as error:
        return Found([], [str(error)])
    if not hits:
        notes += unknown_names(connection, given.get("speaker"), given.get("channel"), None)
    return Found(hits, notes)


def _embeddings(
    connection: Connection, words: str, model: Model, notes: list[str]
) -> tuple[Vector | None, list[tuple[Model, Vector]]]:
    """The words' embedding by the model that searches, and by those of videos that this one has not embedded yet."""
    settings = get_settings()

    def embed(profile: str) -> Vector:
        spec = get_profile(profile).stages["embed_text"]
        query = WordsToEmbed(model=spec.model, revision=spec.revision, words=words)
        try:
            return ask_embedder(settings.embedder_socket, query, lambda _: None, patience_s=EMBEDDER_PATIENCE_S)
        except NotYetError:
            raise TryAgainError("the text model is not in memory yet: search again in a moment.") from None
        except NoAnswerError as error:
            raise TryAgainError(str(error)) from None

    others = embed_for_other_models(connection, model, embed, notes.append)
    if not has_model(connection, "text", *model):
        return None, others
    try:
        return embed(settings.profile), others
    except TryAgainError as error:
        notes.append(f"Searched by words only, not by meaning: {error}")
        return None, others


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadInputError(f"{text!r} is not a day: give it as 2026-01-31.") from None

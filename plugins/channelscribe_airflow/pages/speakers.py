"""The pages about speakers: all of them, one of them, and those who may be one."""

from collections.abc import Iterable
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings
from channelscribe.store.browsing import speaker_names
from channelscribe.store.connection import Connection
from channelscribe.store.kept_audio import kept_audio
from channelscribe.store.speakers.edits import last_edit
from channelscribe.store.speakers.enrolling import voice_model
from channelscribe.store.speakers.enrollments import where_heard
from channelscribe.store.speakers.overview import (
    SpeakerSummary,
    greatest_variance,
    near_speakers,
    speaker_summaries,
)
from channelscribe.workspace import Workspace
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.rendering import render

PAGE_SIZE = 50

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=100_000)]


@router.get("/speakers")
def speakers(request: Request, user: GetUserDep, connection: Reading, part: str = "", page: Page = 1) -> HTMLResponse:
    """Enrolled, named and discovered voices, who speaks most first."""
    found = speaker_summaries(connection, part=part.strip() or None, limit=PAGE_SIZE + 1, offset=PAGE_SIZE * (page - 1))
    return render(
        request, user, "speakers.html",
        speakers=found[:PAGE_SIZE], part=part, number=page, has_more=len(found) > PAGE_SIZE,
        kept=_kept(connection, found[:PAGE_SIZE]), max_variance=greatest_variance(connection, _voice_model()),
        last=last_edit(connection), names=speaker_names(connection),
    )  # fmt: skip


@router.get("/speakers/duplicates")
def duplicates(request: Request, user: GetUserDep, connection: Reading) -> HTMLResponse:
    """Pairs of speakers whose voices are near."""
    pairs = near_speakers(connection, _voice_model())
    both = [speaker for pair in pairs or [] for speaker in (pair.first, pair.second)]
    return render(request, user, "duplicates.html", pairs=pairs, kept=_kept(connection, both), model=_voice_model()[0])


@router.get("/speaker")
def speaker(
    request: Request, user: GetUserDep, connection: Reading, name: Annotated[str, Query(max_length=300)], page: Page = 1
) -> HTMLResponse:
    """Where a speaker speaks, most speech first."""
    try:
        spelling, places = where_heard(connection, name)
    except BadInputError:
        raise HTTPException(404, f"Nobody is called {name!r}.") from None
    shown = places[PAGE_SIZE * (page - 1) : PAGE_SIZE * page]
    return render(
        request, user, "speaker.html",
        name=spelling, places=shown, n_places=len(places), n_videos=len({place.video_id for place in places}),
        speech_s=sum(place.speech_s for place in places), number=page, has_more=len(places) > PAGE_SIZE * page,
        kept=kept_audio(connection, Workspace(get_settings().data_dir), {place.video_id for place in shown}),
        max_variance=greatest_variance(connection, _voice_model()), names=speaker_names(connection),
    )  # fmt: skip


def _voice_model() -> tuple[str, str]:
    return voice_model(get_settings().profile)


def _kept(connection: Connection, found: Iterable[SpeakerSummary]) -> set[str]:
    """Those of the samples' videos whose audio can be heard here."""
    videos = {speaker.sample.video_id for speaker in found if speaker.sample}
    return set(kept_audio(connection, Workspace(get_settings().data_dir), videos))

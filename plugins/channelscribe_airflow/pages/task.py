"""The page of one task instance: the videos of its batch, how far they are, and their transcripts so far."""

from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from channelscribe.errors import BadInputError, ChannelscribeError
from channelscribe.profiles import PROFILES, Profile, get_profile
from channelscribe.settings import get_settings
from channelscribe.store.connection import Connection
from channelscribe.store.runs.overview import batches_in_report
from channelscribe.store.runs.reports import RunRecord
from channelscribe.store.transcripts import TranscriptPart, read_transcript
from channelscribe.workspace import Workspace
from channelscribe_airflow.pages.airflow_links import for_templates
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.progress import (
    ORDER,
    Said,
    VideoProgress,
    batches_of,
    progress,
    said_so_far,
)
from channelscribe_airflow.pages.rendering import render
from channelscribe_airflow.pages.run import recorded_run

# Of each video; the whole is on its own page once it is in the archive.
MOST_LINES = 100
# Of a batch.
MOST_VIDEOS = 20

router = APIRouter()


@dataclass(frozen=True)
class SoFar:
    """A video of the batch.

    Args:
        video_id: which.
        title: for people.
        progress: how far it is; None where its folder is gone.
        is_loaded: the archive has it.
        source: the stage that its lines are from, `load` if the archive; None without lines.
        lines: what was said, as far as it is shown.
        n_lines: how many lines there are.
    """

    video_id: str
    title: str
    progress: VideoProgress | None
    is_loaded: bool
    source: str | None
    lines: list[Said]
    n_lines: int


@router.get("/task")
def task(
    request: Request,
    user: GetUserDep,
    connection: Reading,
    session: SessionDep,
    dag: str,
    run: str,
    task: str,
    index: Annotated[str, Query(max_length=20)] = "",
) -> HTMLResponse:
    """The batch of a mapped task; all videos of the run for a task without an index."""
    record = recorded_run(connection, dag, run)
    batches = batches_of(session, dag, run) or (batches_in_report(connection, record) if record else [])
    # Of a task that is not mapped, Airflow leaves the place of the index as it is.
    map_index = int(index) if index.isdecimal() else None
    wanted = [
        (number, video_id) for number, batch in enumerate(batches) for video_id in batch if map_index in (None, number)
    ]
    profile = _profile(record)
    videos = [_so_far(connection, video_id, number, profile) for number, video_id in wanted[:MOST_VIDEOS]]
    return render(
        request, user, "task.html",
        name=f"{dag}/{run}", task=task.rpartition(".")[2], map_index=map_index, videos=videos, n_videos=len(wanted),
        stages=ORDER, most_lines=MOST_LINES, **for_templates(request),
    )  # fmt: skip


def _profile(record: RunRecord | None) -> Profile:
    asked = (record.profile or record.params.get("profile")) if record else None
    return get_profile(str(asked) if asked in PROFILES else get_settings().profile)


def _so_far(connection: Connection, video_id: str, map_index: int, profile: Profile) -> SoFar:
    workspace = Workspace(get_settings().data_dir)
    try:
        known = progress(workspace, video_id, map_index)
    except BadInputError:
        known = None
    loaded = read_transcript(connection, video_id, part=1)
    title = known.title if known else loaded.title if loaded else video_id
    source, lines = _lines(workspace, video_id, profile, loaded)
    return SoFar(video_id, title, known, loaded is not None, source, lines[:MOST_LINES], len(lines))


def _lines(
    workspace: Workspace, video_id: str, profile: Profile, loaded: TranscriptPart | None
) -> tuple[str | None, list[Said]]:
    if loaded:
        return "load", [Said(line.label, line.start_s, line.text) for line in loaded.lines]
    try:
        return said_so_far(workspace, video_id, profile) or (None, [])
    except ChannelscribeError:  # of another version: it is made anew
        return None, []

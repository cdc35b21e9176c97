"""A run that has not ended: the videos that it took on, from Airflow, and how far they are, from the workspace."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from channelscribe.contracts import Diarization, SpeakerAnalysis, Status, Transcript
from channelscribe.errors import BadInputError
from channelscribe.profiles import STAGES, Profile
from channelscribe.workspace import Workspace

ORDER = (*STAGES, "load")


@dataclass(frozen=True)
class Said:
    """What was said, before it is in the archive.

    Args:
        who: the cluster; None before the speakers were told apart.
        start_s: when.
        text: what; empty before it was transcribed.
    """

    who: str | None
    start_s: float
    text: str


@dataclass(frozen=True)
class VideoProgress:
    """How far a video of a run is.

    Args:
        video_id: which.
        title: for people.
        map_index: of the mapped tasks that work on it.
        statuses: how each stage last ended, in the order of work; those that never began are missing. They may be of
            an earlier run.
    """

    video_id: str
    title: str
    map_index: int
    statuses: dict[str, Status]


def batches_of(session: Session, dag_id: str, run_id: str) -> list[list[str]]:
    """The ids of the videos that a run chose, by the map index of their tasks; none before it chose."""
    found = session.scalars(
        select(XComModel).where(
            XComModel.dag_id == dag_id,
            XComModel.run_id == run_id,
            XComModel.task_id == "select_videos",
            XComModel.key == "return_value",
        )
    ).first()
    chosen = XComModel.deserialize_value(found) if found else []
    return [list(map(str, batch)) for batch in chosen] if isinstance(chosen, Sequence) else []


def progress_of(workspace: Workspace, batches: Sequence[Sequence[str]]) -> Iterator[VideoProgress]:
    """How far the videos are, in the order of the run; those whose folder is gone are left out."""
    for map_index, batch in enumerate(batches):
        for video_id in batch:
            with suppress(BadInputError):
                yield progress(workspace, video_id, map_index)


def progress(workspace: Workspace, video_id: str, map_index: int) -> VideoProgress:
    """How far a video is.

    Raises:
        BadInputError: the workspace has no such video.
    """
    title = workspace.read_video(video_id).title
    found = {stage: workspace.read_status(video_id, stage) for stage in ORDER}
    return VideoProgress(video_id, title, map_index, {stage: status for stage, status in found.items() if status})


def said_so_far(workspace: Workspace, video_id: str, profile: Profile) -> tuple[str, list[Said]] | None:
    """What is known of what was said, by the furthest stage whose result is there, with that stage; None before any."""
    found = workspace.artifacts(video_id, profile, until="identify_speakers")
    if artifact := found["identify_speakers"]:
        analysis = artifact.read("analysis.json", SpeakerAnalysis)
        return "identify_speakers", [Said(one.cluster, one.start_s, one.text) for one in analysis.utterances]
    if artifact := found["transcribe"]:
        transcript = artifact.read("transcript.json", Transcript)
        return "transcribe", [Said(None, one.start_s, one.text) for one in transcript.segments]
    if artifact := found["diarize"]:
        diarization = artifact.read("diarization.json", Diarization)
        return "diarize", [Said(turn.cluster, turn.start_s, "") for turn in diarization.exclusive_turns]
    return None

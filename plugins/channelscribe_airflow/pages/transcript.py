"""The page of a video: player, who speaks when, voices to name, exports, and what was said."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response

from channelscribe.errors import BadInputError
from channelscribe.formats import Format, written
from channelscribe.settings import get_settings
from channelscribe.store.browsing import speaker_names
from channelscribe.store.exporting import read_recording
from channelscribe.store.kept_audio import kept_audio
from channelscribe.store.links import youtube_id
from channelscribe.store.transcripts import Line, TranscriptPart, read_transcript
from channelscribe.workspace import Workspace
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.rendering import render
from channelscribe_airflow.pages.timeline import lane

# As many as the style sheet has colours for.
N_COLOURS = 8
EXPORTS: Mapping[Format, tuple[str, str]] = MappingProxyType(
    {
        "srt": ("SubRip", "application/x-subrip"),
        "vtt": ("WebVTT", "text/vtt"),
        "rttm": ("RTTM", "text/plain"),
        "json": ("JSON", "application/json"),
        "md": ("Markdown", "text/markdown"),
        "txt": ("Text", "text/plain"),
    }
)
SUSPICIONS: Mapping[str, str] = MappingProxyType(
    {
        "no_speech": "nobody may be speaking here",
        "repetition": "the text repeats itself",
        "low_probability": "the recogniser was unsure",
        "other_language": "in another language",
        "missing_text": "some of the speech has no text",
    }
)

router = APIRouter()


@router.get("/videos/{video_id}")
def transcript(
    request: Request,
    user: GetUserDep,
    connection: Reading,
    video_id: str,
    t: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    part: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> HTMLResponse:
    """A video, at a second or at a part of its transcript."""
    video = read_transcript(connection, video_id, part=part, at_s=t)
    if video is None:
        raise HTTPException(404, "The archive has no such video.")
    return render(
        request, user, "transcript.html",
        video=video, at_s=t, lanes=_lanes(video), colours=_colours(video), exports=EXPORTS, suspicions=SUSPICIONS,
        has_audio=bool(kept_audio(connection, Workspace(get_settings().data_dir), [video_id])),
        youtube_id=youtube_id(video.url), names=speaker_names(connection), times_of=times_of,
    )  # fmt: skip


@router.get("/videos/{video_id}/export/{format_}")
def export(connection: Reading, video_id: str, format_: Format) -> Response:
    """The whole video in a format, as a file."""
    try:
        recording = read_recording(connection, video_id)
    except BadInputError:
        raise HTTPException(404, "The archive has no such video.") from None
    return Response(
        written(recording, format_).encode(),
        media_type=f"{EXPORTS[format_][1]}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{recording.video_id}.{format_}"'},
    )


def times_of(line: Line) -> str:
    """When each word begins, in hundredths of a second after the utterance does, for the script of the page."""
    return " ".join(str(max(0, round(100 * (start_s - line.start_s)))) for start_s in line.word_starts_s)


def _lanes(video: TranscriptPart) -> dict[str, str]:
    """The drawing of each voice, by cluster."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for cluster, start_s, end_s in video.turns:
        spans[cluster].append((start_s, end_s))
    return {voice.cluster: lane(spans[voice.cluster], video.audio_s) for voice in video.voices}


def _colours(video: TranscriptPart) -> dict[str, int]:
    """The number of each label's colour: who speaks most has the first."""
    labels: Iterable[str] = [*(voice.label for voice in video.voices), *(line.label for line in video.lines)]
    return {label: number % N_COLOURS for number, label in enumerate(dict.fromkeys(labels))}

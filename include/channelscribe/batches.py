"""Batches: the videos that one container works on, one after the other.

Starting one costs seconds, for imports and loading, in each of four stages. Where a stage takes minutes for a video,
that is cheap, and the first video is searchable soon. Where a GPU takes seconds, the starts would be most of the time.
"""

from collections.abc import Sequence
from math import ceil

from channelscribe.contracts import Video
from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import Profile
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace

MAX_SINGLE_VIDEOS = 10
IMPORT_MINUTES = 600
# Of a video whose channel does not say how long it is.
GUESSED_MINUTES = 30.0


def build(videos: Sequence[Video], profile: Profile, settings: Settings) -> list[list[str]]:
    """The ids of videos in batches of about the same length, in their order.

    Args:
        videos: the videos of a run.
        profile: of the run.
        settings: ``batch_minutes`` is about the audio of a batch, where 0 leaves the choice.
    """
    lengths = [video.duration_s / 60 if video.duration_s else GUESSED_MINUTES for video in videos]
    on_gpu = any(spec.device == "cuda" for spec in profile.stages.values())
    if settings.batch_minutes:
        n_batches = ceil(sum(lengths) / settings.batch_minutes)
    elif on_gpu and len(videos) > MAX_SINGLE_VIDEOS:
        n_batches = max(ceil(sum(lengths) / IMPORT_MINUTES), len(settings.gpus))
    else:
        return [[video.video_id] for video in videos]
    batches: list[list[str]] = [[] for _ in range(n_batches)]
    done = 0.0
    for video, minutes in zip(videos, lengths, strict=True):
        middle = (done + minutes / 2) / sum(lengths)
        batches[min(int(middle * n_batches), n_batches - 1)].append(video.video_id)
        done += minutes
    return [batch for batch in batches if batch]


def title(workspace: Workspace, video_ids: Sequence[str]) -> str:
    """The titles of a batch's videos for people; a video's id where the workspace has no title. Never fails."""
    titles = "; ".join(_video_title(workspace, video_id) for video_id in video_ids)
    return f"{len(video_ids)} videos: {titles}" if len(video_ids) > 1 else titles


def _video_title(workspace: Workspace, video_id: str) -> str:
    try:
        return workspace.read_video(video_id).title.strip() or video_id
    except (ChannelscribeError, OSError):
        return video_id

"""Where the time of a run went: by stage, and by video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from channelscribe.contracts import Manifest

_START_UP = ("container", "start", "import", "load")

# What the time of a video is split into. The parts don't overlap, and add up to the time from the moment that the run
# chose the video until it was through with it.
PARTS = (
    "download", "diarization", "transcription", "speaker_variance", "identification", "text_embedding", "loading",
    "container", "start_up", "waiting",
)  # fmt: skip
WORK_OF = {
    "fetch_audio": "download",
    "diarize": "diarization",
    "transcribe": "transcription",
    "identify_speakers": "identification",
    "embed_text": "text_embedding",
}


@dataclass(frozen=True)
class StageTime:
    """What one stage spent in a run, summed over the videos that it worked on.

    Args:
        stage: name of the stage, or ``load``.
        n_videos: videos that it worked on; those whose artifact was there already do not count.
        audio_s: seconds of audio in them.
        container_s: seconds until the programs' processes began, where containers were made for them.
        start_s: seconds until the programs ran their first line.
        import_s: seconds spent on importing the engine.
        load_s: seconds spent on loading the model.
        work_s: seconds spent on the videos themselves.
        n_texts: texts that were embedded.
        n_tokens: tokens in them.
        embedding_s: seconds that embedding them took.
    """

    stage: str
    n_videos: int
    audio_s: float
    container_s: float
    start_s: float
    import_s: float
    load_s: float
    work_s: float
    n_texts: int = 0
    n_tokens: int = 0
    embedding_s: float = 0.0

    @property
    def start_up_s(self) -> float:
        """All the seconds before the work."""
        return self.container_s + self.start_s + self.import_s + self.load_s

    @property
    def total_s(self) -> float:
        """All the seconds of the stage."""
        return self.start_up_s + self.work_s

    @property
    def rtfx(self) -> float | None:
        """Audio seconds / processing seconds, as a ratio of sums; None where no time was measured."""
        return self.audio_s / self.total_s if self.total_s else None

    @property
    def texts_per_s(self) -> float | None:
        """Texts embedded in a second, without starts; None where none were."""
        return self.n_texts / self.embedding_s if self.n_texts and self.embedding_s else None

    @property
    def tokens_per_s(self) -> float | None:
        """The same in tokens."""
        return self.n_tokens / self.embedding_s if self.n_texts and self.embedding_s else None


@dataclass(frozen=True)
class VideoTime:
    """Where the time of one video of a run went.

    Args:
        video_id: which.
        title: for people.
        map_index: of the run's mapped tasks, which one worked on it.
        audio_s: its length in seconds; None where nothing of it was ever fetched.
        seconds: by part, those of `PARTS` that are known. ``waiting`` is all the time in which nothing was done for it:
            for a free slot, for other videos of its batch, for a retry, for a site that wants pauses.
    """

    video_id: str
    title: str
    map_index: int
    audio_s: float | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def worked_s(self) -> float:
        """Seconds in which something was done for it."""
        return sum(seconds for part, seconds in self.seconds.items() if part != "waiting")


def stage_time(stage: str, manifests: Sequence[Manifest]) -> StageTime:
    """The time that a stage spent on some videos, from their manifests."""
    container_s, start_s, import_s, load_s = (_sum(manifests, part) for part in _START_UP)
    audio_s = sum(manifest.audio_s for manifest in manifests)
    return StageTime(
        stage, len(manifests), audio_s, container_s, start_s, import_s, load_s, _sum(manifests, "total"),
        n_texts=_count(manifests, "n_chunks"), n_tokens=_count(manifests, "n_tokens"),
        embedding_s=_sum(manifests, "text_embedding"),
    )  # fmt: skip


def video_seconds(
    manifests: Mapping[str, Manifest], load_s: float | None = None, elapsed_s: float | None = None
) -> dict[str, float]:
    """The time of a video by part.

    Args:
        manifests: of what the run made of it, by stage.
        load_s: seconds that loading it took; None where that was not measured.
        elapsed_s: seconds from the run's choice until it was through with the video; None where that is not known.
    """
    seconds: dict[str, float] = {}
    for stage, manifest in manifests.items():
        parts = manifest.processing_s
        work_s = parts.get("total", 0.0)
        if stage == "fetch_audio":
            work_s -= parts.get("wait", 0.0)  # a pause that the site wants is no work
        if stage == "identify_speakers":
            seconds["speaker_variance"] = parts.get("speaker_variance", 0.0)
            work_s -= seconds["speaker_variance"]
        seconds[WORK_OF[stage]] = max(work_s, 0.0)
        if "container" in parts:
            seconds["container"] = seconds.get("container", 0.0) + parts["container"]
        start_up_s = sum(parts.get(part, 0.0) for part in ("start", "import", "load"))
        seconds["start_up"] = seconds.get("start_up", 0.0) + start_up_s
    if load_s is not None:
        seconds["loading"] = load_s
    if elapsed_s is not None:
        seconds["waiting"] = max(elapsed_s - sum(seconds.values()), 0.0)
    return seconds


def _sum(manifests: Sequence[Manifest], part: str) -> float:
    return sum(manifest.processing_s.get(part, 0.0) for manifest in manifests)


def _count(manifests: Sequence[Manifest], metric: str) -> int:
    return int(sum(manifest.metrics.get(metric) or 0 for manifest in manifests))

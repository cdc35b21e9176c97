"""The report of one ingest run: what was loaded, what failed and why, and where the time went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from channelscribe.contracts import Manifest
from channelscribe.profiles import STAGES, Profile
from channelscribe.workspace import Workspace

NO_REASON = "it gave no reason: see the log of its task"

_START_UP = ("start", "import", "load")


@dataclass(frozen=True)
class StageTime:
    """What one stage spent in a run, summed over the videos that it worked on.

    Args:
        stage: name of the stage.
        n_videos: videos that it worked on; those whose artifact was there already do not count.
        audio_s: seconds of audio in them.
        start_s: seconds until the programs ran their first line.
        import_s: seconds spent on importing the engine.
        load_s: seconds spent on loading the model.
        work_s: seconds spent on the videos themselves.
    """

    stage: str
    n_videos: int
    audio_s: float
    start_s: float
    import_s: float
    load_s: float
    work_s: float

    @property
    def total_s(self) -> float:
        """All the seconds of the stage."""
        return self.start_s + self.import_s + self.load_s + self.work_s

    @property
    def rtfx(self) -> float | None:
        """Audio seconds / processing seconds, as a ratio of sums; None where no time was measured."""
        return self.audio_s / self.total_s if self.total_s else None


@dataclass(frozen=True)
class FailedVideo:
    """A video that was selected and not loaded."""

    video_id: str
    title: str
    stage: str
    reason: str


@dataclass(frozen=True)
class RunReport:
    """What one run did.

    Args:
        n_channels: channels that were polled, or tried.
        n_listed: videos that the channels list.
        loaded: the videos that were loaded, by id.
        without_speech: those of them in which nobody speaks.
        failed: the videos that failed.
        failed_channels: reason by channel that could not be polled.
        stage_times: time by stage, in the order of work.
    """

    n_channels: int
    n_listed: int
    loaded: tuple[str, ...]
    without_speech: tuple[str, ...]
    failed: tuple[FailedVideo, ...]
    failed_channels: Mapping[str, str] = field(default_factory=dict)
    stage_times: tuple[StageTime, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failed and not self.failed_channels

    @property
    def counts(self) -> dict[str, int]:
        """The report in numbers."""
        return {
            "channels": self.n_channels,
            "failed_channels": len(self.failed_channels),
            "listed": self.n_listed,
            "selected": len(self.loaded) + len(self.failed),
            "loaded": len(self.loaded),
            "without_speech": len(self.without_speech),
            "failed": len(self.failed),
        }

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.n_channels:
            return "No channel to poll: set CHANNELSCRIBE_CHANNELS in .env, or give `channels` when triggering."
        if self.ok and not self.loaded:
            return f"No new video: the archive has what was asked for ({self.n_listed} listed)."
        parts = [f"{_count(len(self.loaded), 'video')} loaded"]
        if self.without_speech:
            parts.append(f"{len(self.without_speech)} of them without speech")
        if self.failed:
            names = "; ".join(f"{video.title} ({video.stage}: {_clause(video.reason)})" for video in self.failed)
            parts.append(f"{_count(len(self.failed), 'video')} failed: {names}")
        if self.failed_channels:
            names = "; ".join(f"{channel} ({_clause(reason)})" for channel, reason in self.failed_channels.items())
            parts.append(f"{_count(len(self.failed_channels), 'channel')} failed: {names}")
        return ", ".join(parts)

    def to_markdown(self) -> str:
        """The whole report, for a log or a page."""
        return "\n".join(self._markdown_lines())

    def _markdown_lines(self) -> Iterator[str]:
        yield f"# {_headline(self)}"
        yield ""
        yield "| " + " | ".join(name.replace("_", " ") for name in self.counts) + " |"
        yield "|" + " ---: |" * len(self.counts)
        yield "| " + " | ".join(str(count) for count in self.counts.values()) + " |"
        if self.failed:
            yield from ("", "| failed video | id | stage | reason |", "| --- | --- | --- | --- |")
            for video in self.failed:
                yield f"| {_cell(video.title)} | {video.video_id} | {video.stage} | {_cell(video.reason)} |"
        if self.failed_channels:
            yield from ("", "| failed channel | reason |", "| --- | --- |")
            for channel, reason in self.failed_channels.items():
                yield f"| {_cell(channel)} | {_cell(reason)} |"
        if self.stage_times:
            yield ""
            yield "| stage | videos | audio s | start s | import s | load s | work s | total s | RTFx |"
            yield "| --- |" + " ---: |" * 8
            for time in self.stage_times:
                rtfx = "" if time.rtfx is None else f"{time.rtfx:.1f}"
                yield (
                    f"| {time.stage} | {time.n_videos} | {time.audio_s:.1f} | {time.start_s:.1f} | {time.import_s:.1f} "
                    f"| {time.load_s:.1f} | {time.work_s:.1f} | {time.total_s:.1f} | {rtfx} |"
                )


def run_report(
    workspace: Workspace,
    profile: Profile,
    selected: Sequence[str],
    failed_stages: Mapping[str, str],
    failed_channels: Mapping[str, str],
    *,
    started_at: datetime,
    n_channels: int,
    n_listed: int,
) -> RunReport:
    """Put together the report of a run from what its videos left in the workspace.

    Args:
        workspace: where the statuses and manifests are.
        profile: the profile of the run.
        selected: ids of the videos that the run took on.
        failed_stages: by video that was not loaded, the stage that failed (``load`` included).
        failed_channels: by channel that could not be polled, the reason.
        started_at: start of the run: work that was done earlier takes no time of this one.
        n_channels: channels that were polled, or tried.
        n_listed: videos that the channels list.
    """
    loaded = tuple(video_id for video_id in selected if video_id not in failed_stages)
    return RunReport(
        n_channels=n_channels,
        n_listed=n_listed,
        loaded=loaded,
        without_speech=tuple(video_id for video_id in loaded if _is_without_speech(workspace, video_id, profile)),
        failed=tuple(
            _failed_video(workspace, video_id, failed_stages[video_id])
            for video_id in selected
            if video_id in failed_stages
        ),
        failed_channels=dict(failed_channels),
        stage_times=tuple(_stage_times(workspace, profile, selected, started_at)),
    )


def _is_without_speech(workspace: Workspace, video_id: str, profile: Profile) -> bool:
    artifact = workspace.current(video_id, "identify_speakers", profile)
    return artifact is not None and artifact.manifest.empty


def _failed_video(workspace: Workspace, video_id: str, stage: str) -> FailedVideo:
    status = workspace.read_status(video_id, stage)
    reason = status.reason if status and status.state == "failed" else NO_REASON
    return FailedVideo(video_id, workspace.read_video(video_id).title, stage, reason)


def _stage_times(
    workspace: Workspace, profile: Profile, selected: Sequence[str], started_at: datetime
) -> Iterator[StageTime]:
    for stage in STAGES:
        artifacts = [workspace.current(video_id, stage, profile) for video_id in selected]
        manifests = [artifact.manifest for artifact in artifacts if artifact]
        manifests = [manifest for manifest in manifests if manifest.finished_at >= started_at]
        if manifests:
            start_s, import_s, load_s = (_sum(manifests, part) for part in _START_UP)
            audio_s = sum(manifest.audio_s for manifest in manifests)
            yield StageTime(stage, len(manifests), audio_s, start_s, import_s, load_s, _sum(manifests, "total"))


def _sum(manifests: Sequence[Manifest], part: str) -> float:
    return sum(manifest.processing_s.get(part, 0.0) for manifest in manifests)


def _headline(report: RunReport) -> str:
    if report.ok:
        return report.summary
    parts = [f"{_count(len(report.loaded), 'video')} loaded", f"{len(report.failed)} failed"]
    if report.failed_channels:
        parts.append(f"{_count(len(report.failed_channels), 'channel')} could not be polled")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _clause(sentence: str) -> str:
    return sentence.rstrip(".")


def _cell(text: str) -> str:
    """Text that can stand in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")

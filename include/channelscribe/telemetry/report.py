"""The report of one ingest run: what was loaded, what failed and why, and where the time went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from channelscribe.contracts import Manifest
from channelscribe.profiles import STAGES, Profile
from channelscribe.telemetry.gpu_use import GpuUse, Range, gpu_use
from channelscribe.workspace import Workspace

NO_REASON = "it gave no reason: see the log of its task"

_START_UP = ("container", "start", "import", "load")


@dataclass(frozen=True)
class StageTime:
    """What one stage spent in a run, summed over the videos that it worked on.

    Args:
        stage: name of the stage.
        n_videos: videos that it worked on; those whose artifact was there already do not count.
        audio_s: seconds of audio in them.
        container_s: seconds until the programs' processes began, where containers were made for them.
        start_s: seconds until the programs ran their first line.
        import_s: seconds spent on importing the engine.
        load_s: seconds spent on loading the model.
        work_s: seconds spent on the videos themselves.
    """

    stage: str
    n_videos: int
    audio_s: float
    container_s: float
    start_s: float
    import_s: float
    load_s: float
    work_s: float

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
        gpu_uses: what the GPU did, by stage that asked for one.
    """

    n_channels: int
    n_listed: int
    loaded: tuple[str, ...]
    without_speech: tuple[str, ...]
    failed: tuple[FailedVideo, ...]
    failed_channels: Mapping[str, str] = field(default_factory=dict)
    stage_times: tuple[StageTime, ...] = ()
    gpu_uses: Mapping[str, GpuUse] = field(default_factory=dict)

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
            yield from ("", *_time_lines(self.stage_times))
        if self.gpu_uses:
            yield from ("", *_gpu_lines(self.gpu_uses))


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
    manifests = _manifests(workspace, profile, selected, started_at)
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
        stage_times=tuple(stage_time(stage, made) for stage, made in manifests.items()),
        gpu_uses={stage: use for stage, made in manifests.items() if (use := gpu_use(made))},
    )


def stage_time(stage: str, manifests: Sequence[Manifest]) -> StageTime:
    """The time that a stage spent on some videos, from their manifests."""
    container_s, start_s, import_s, load_s = (_sum(manifests, part) for part in _START_UP)
    audio_s = sum(manifest.audio_s for manifest in manifests)
    work_s = _sum(manifests, "total")
    return StageTime(stage, len(manifests), audio_s, container_s, start_s, import_s, load_s, work_s)


def _is_without_speech(workspace: Workspace, video_id: str, profile: Profile) -> bool:
    artifact = workspace.current(video_id, "identify_speakers", profile)
    return artifact is not None and artifact.manifest.empty


def _failed_video(workspace: Workspace, video_id: str, stage: str) -> FailedVideo:
    status = workspace.read_status(video_id, stage)
    reason = status.reason if status and status.state == "failed" else NO_REASON
    return FailedVideo(video_id, workspace.read_video(video_id).title, stage, reason)


def _manifests(
    workspace: Workspace, profile: Profile, selected: Sequence[str], started_at: datetime
) -> dict[str, list[Manifest]]:
    """What was made in the run, by stage in the order of work; stages that made nothing are left out."""
    made = {}
    for stage in STAGES:
        artifacts = [workspace.current(video_id, stage, profile) for video_id in selected]
        manifests = [artifact.manifest for artifact in artifacts if artifact]
        made[stage] = [manifest for manifest in manifests if manifest.finished_at >= started_at]
    return {stage: manifests for stage, manifests in made.items() if manifests}


def _time_lines(times: Sequence[StageTime]) -> Iterator[str]:
    yield "| stage | videos | audio s | container s | start s | import s | load s | work s | total s | RTFx |"
    yield "| --- |" + " ---: |" * 9
    for time in times:
        rtfx = "" if time.rtfx is None else f"{time.rtfx:.1f}"
        yield (
            f"| {time.stage} | {time.n_videos} | {time.audio_s:.1f} | {time.container_s:.1f} | {time.start_s:.1f} "
            f"| {time.import_s:.1f} | {time.load_s:.1f} | {time.work_s:.1f} | {time.total_s:.1f} | {rtfx} |"
        )
    total_s, start_up_s = (sum(parts) for parts in zip(*((t.total_s, t.start_up_s) for t in times), strict=True))
    if total_s:
        share = 100 * start_up_s / total_s
        yield ""
        yield f"Starts cost {share:.1f} % of the stages' time: {start_up_s:.1f} s of {total_s:.1f} s."


def _gpu_lines(uses: Mapping[str, GpuUse]) -> Iterator[str]:
    if any(use.n_videos for use in uses.values()):
        yield "The GPU, from the lowest sample over the median to the highest:"
        yield ""
        yield "| stage | busy share | SM % | VRAM % | temperature, °C | power, W |"
        yield "| --- |" + " ---: |" * 5
    for stage, use in uses.items():
        if use.n_videos:
            busy = "unknown" if use.busy_share is None else f"{use.busy_share:.2f}"
            ranges = (use.sm_percent, use.vram_percent, use.temperature_c, use.power_w)
            yield f"| {stage} | {busy} | {' | '.join(map(_range, ranges))} |"
    yield ""
    for stage, use in uses.items():
        for reason in use.unavailable:
            yield f"- {stage}: GPU: unavailable ({_cell(reason)})"


def _range(found: Range | None) -> str:
    return f"{found.min:.0f} / {found.median:.0f} / {found.max:.0f}" if found else "unknown"


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

"""The report of one run: what was loaded, what failed and why, and where the time went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from channelscribe.contracts import Availability, Manifest, Status
from channelscribe.errors import ExitCode
from channelscribe.profiles import STAGES, Profile
from channelscribe.telemetry.comparison import GPU_BUSY, PER_HOUR, TEXTS, WHOLE, Comparison, Figures
from channelscribe.telemetry.gpu_use import GpuRun, GpuUse, gpu_run, gpu_use
from channelscribe.telemetry.run_times import StageTime, VideoTime, stage_time, video_seconds
from channelscribe.wording import count
from channelscribe.workspace import Workspace

NO_REASON = "it gave no reason: see the log of its task"

Made = Mapping[str, Mapping[str, Manifest]]
"""What a run made: manifests by stage, in the order of work, and by video."""


@dataclass(frozen=True)
class FailedVideo:
    """A video that was selected and not loaded."""

    video_id: str
    title: str
    stage: str
    reason: str
    availability: Availability | None = None
    channel_url: str = ""
    rate_limited: bool = False


@dataclass(frozen=True)
class RunReport:
    """What one run did.

    Args:
        n_channels: channels that were polled, or tried.
        n_listed: items that the channels have listed.
        n_waiting: videos that were over a limit, or that their site holds back: new to the next run.
        n_unavailable: items that the sites do not hand out.
        loaded: the videos that were loaded, by id.
        without_speech: those of them in which nobody speaks.
        failed: the videos that failed.
        failed_channels: reason by channel that could not be polled.
        failed_discovery: why speakers could not be looked for across videos; None if they were, or need not be.
        stage_times: time by stage, in the order of work.
        gpu_uses: what the GPU did, by stage that asked for one.
        nothing: what is said where there was nothing to do, if it is not the usual.
        run_id: the DAG and its run, as the archive knows it.
        profile: name of the run's profile.
        started_at: when the videos were chosen.
        elapsed_s: seconds that Airflow had the run at work, all attempts together; None while they are not known.
        audio_s: seconds of audio in the videos that a stage worked on.
        skipped: items that were listed and not taken, by why.
        videos: where the time of each video went.
        gpu: what the GPU did over the whole run; None without a sample.
        compared: the run's figures beside those of the runs before it.
        n_held: of those that wait, the ones that their site holds back.
    """

    n_channels: int
    n_listed: int
    n_waiting: int
    n_unavailable: int
    loaded: tuple[str, ...]
    without_speech: tuple[str, ...]
    failed: tuple[FailedVideo, ...]
    failed_channels: Mapping[str, str] = field(default_factory=dict)
    failed_discovery: str | None = None
    stage_times: tuple[StageTime, ...] = ()
    gpu_uses: Mapping[str, GpuUse] = field(default_factory=dict)
    nothing: str | None = None
    run_id: str = ""
    profile: str | None = None
    started_at: datetime | None = None
    elapsed_s: float | None = None
    audio_s: float = 0.0
    skipped: Mapping[str, int] = field(default_factory=dict)
    videos: tuple[VideoTime, ...] = ()
    gpu: GpuRun | None = None
    compared: tuple[Comparison, ...] = ()
    n_held: int = 0

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failed and not self.failed_channels and self.failed_discovery is None

    @property
    def unavailable(self) -> list[tuple[str, Availability, str]]:
        """Id, what the site said, and the reason, of the videos that failed because it does not hand them out."""
        return [(video.video_id, video.availability, video.reason) for video in self.failed if video.availability]

    @property
    def refusals(self) -> dict[str, str]:
        """What the site said, by channel that it asked for patience while videos were fetched."""
        return {video.channel_url: video.reason for video in reversed(self.failed) if video.rate_limited}

    @property
    def counts(self) -> dict[str, int]:
        """The report in numbers."""
        return {
            "channels": self.n_channels,
            "failed_channels": len(self.failed_channels),
            "listed": self.n_listed,
            "unavailable": self.n_unavailable,
            "waiting": self.n_waiting,
            "held": self.n_held,
            "selected": len(self.loaded) + len(self.failed),
            "loaded": len(self.loaded),
            "without_speech": len(self.without_speech),
            "failed": len(self.failed),
        }

    @property
    def rtfx(self) -> float | None:
        """Of the whole run: seconds of audio / seconds of all stages; None where no time was measured."""
        total_s = sum(time.total_s for time in self.stage_times)
        return self.audio_s / total_s if total_s and self.audio_s else None

    @property
    def audio_per_hour(self) -> float | None:
        """Hours of audio in an hour of the run, polling and waiting included."""
        return self.audio_s / self.elapsed_s if self.elapsed_s and self.audio_s else None

    @property
    def figures(self) -> Figures:
        """What is compared with other runs, as far as it is known."""
        known: dict[str, float | None] = {WHOLE: self.rtfx, PER_HOUR: self.audio_per_hour}
        known[GPU_BUSY] = self.gpu.busy_share if self.gpu else None
        for time in self.stage_times:
            known[f"{time.stage} {WHOLE}"] = time.rtfx
            if time.texts_per_s is not None:
                known[TEXTS] = time.texts_per_s
        return {name: value for name, value in known.items() if value is not None}

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.nothing and self.ok and not self.loaded:
            return self.nothing
        if not self.n_channels:
            return "No channel to poll: add one by `channelscribe channels add`, or give `channels` when triggering."
        if self.ok and not self.loaded and self.n_waiting:
            return f"No video was taken, and {self.n_waiting} wait: the report says why."
        if self.ok and not self.loaded:
            return f"No new video: the archive has what was asked for ({self.n_listed} listed)."
        parts = [f"{count(len(self.loaded), 'video')} loaded"]
        if self.without_speech:
            parts.append(f"{len(self.without_speech)} of them without speech")
        if self.failed:
            names = "; ".join(f"{video.title} ({video.stage}: {_clause(video.reason)})" for video in self.failed)
            parts.append(f"{count(len(self.failed), 'video')} failed: {names}")
        if self.failed_channels:
            names = "; ".join(f"{channel} ({_clause(reason)})" for channel, reason in self.failed_channels.items())
            parts.append(f"{count(len(self.failed_channels), 'channel')} failed: {names}")
        if self.failed_discovery is not None:
            parts.append(f"discover_speakers failed: {_clause(self.failed_discovery)}")
        if self.n_waiting:
            parts.append(f"{self.n_waiting} more wait for the next run")
        return ", ".join(parts)

    @property
    def headline(self) -> str:
        """The summary without the names of what failed."""
        if self.ok:
            return self.summary
        parts = [f"{count(len(self.loaded), 'video')} loaded", f"{len(self.failed)} failed"]
        if self.failed_channels:
            parts.append(f"{count(len(self.failed_channels), 'channel')} could not be polled")
        if self.failed_discovery is not None:
            parts.append("discover_speakers failed")
        return ", ".join(parts)


def run_report(
    workspace: Workspace,
    profile: Profile,
    selected: Sequence[str],
    failed_stages: Mapping[str, str],
    failed_channels: Mapping[str, str],
    failed_discovery: str | None = None,
    *,
    started_at: datetime,
    attempt_at: datetime | None = None,
    n_channels: int,
    n_listed: int,
    n_waiting: int = 0,
    n_unavailable: int = 0,
    n_held: int = 0,
    skipped: Mapping[str, int] | None = None,
    map_indexes: Mapping[str, int] | None = None,
) -> RunReport:
    """Put together the report of a run from what its videos left in the workspace.

    Args:
        workspace: where the statuses and manifests are.
        profile: the profile of the run.
        selected: ids of the videos that the run took on.
        failed_stages: by video that was not loaded, the stage that failed (``load`` included).
        failed_channels: by channel that could not be polled, the reason.
        failed_discovery: why speakers could not be looked for across videos.
        started_at: start of the run: work that was done earlier takes no time of this one.
        attempt_at: start of its latest attempt, where tasks of it were cleared later: what a video waited before, and
            the hours between the attempts, are of no interest to it.
        n_channels: channels that were polled, or tried.
        n_listed: items that the channels have listed.
        n_waiting: videos that were over a limit, or that their site holds back.
        n_unavailable: items that the sites do not hand out.
        n_held: of those that wait, the ones that their site holds back.
        skipped: items that were not taken, by why.
        map_indexes: by video, which of the run's mapped tasks worked on it.
    """
    loaded = tuple(video_id for video_id in selected if video_id not in failed_stages)
    made = _made(workspace, profile, selected, started_at)
    loads = {video_id: _load_seconds(workspace, video_id, started_at) for video_id in selected}
    since = max(started_at, attempt_at or started_at)
    videos = [
        _video_time(
            workspace, profile, video_id, {stage: of[video_id] for stage, of in made.items() if video_id in of},
            loads[video_id], _ended_s(workspace, video_id, failed_stages.get(video_id, "load"), since),
            (map_indexes or {}).get(video_id, 0),
        )
        for video_id in selected
    ]  # fmt: skip
    manifests = {stage: list(of.values()) for stage, of in made.items()}
    worked_on = {video_id for of in made.values() for video_id in of}
    return RunReport(
        n_channels=n_channels,
        n_listed=n_listed,
        n_waiting=n_waiting,
        n_unavailable=n_unavailable,
        n_held=n_held,
        loaded=loaded,
        without_speech=tuple(video_id for video_id in loaded if _is_without_speech(workspace, video_id, profile)),
        failed=tuple(
            _failed_video(workspace, video_id, failed_stages[video_id])
            for video_id in selected
            if video_id in failed_stages
        ),
        failed_channels=dict(failed_channels),
        failed_discovery=failed_discovery,
        stage_times=(*(stage_time(stage, of) for stage, of in manifests.items()), *_loading(videos)),
        gpu_uses={stage: use for stage, of in manifests.items() if (use := gpu_use(of))},
        profile=profile.name,
        started_at=started_at,
        audio_s=sum(video.audio_s or 0.0 for video in videos if video.video_id in worked_on),
        skipped=dict(skipped or {}),
        videos=tuple(videos),
        gpu=gpu_run([manifest for of in manifests.values() for manifest in of], started_at),
    )


def _is_without_speech(workspace: Workspace, video_id: str, profile: Profile) -> bool:
    artifact = workspace.current(video_id, "identify_speakers", profile)
    return artifact is not None and artifact.manifest.empty


def _failed_video(workspace: Workspace, video_id: str, stage: str) -> FailedVideo:
    video, status = workspace.read_video(video_id), workspace.read_status(video_id, stage)
    if status is None or status.state != "failed":
        return FailedVideo(video_id, video.title, stage, NO_REASON)
    # What is bad and stays bad would take its channel's turns in every run to come.
    is_bad = status.exit_code == ExitCode.BAD_INPUT and stage != "load"
    availability = status.availability or ("unusable" if is_bad else None)
    return FailedVideo(
        video_id, video.title, stage, status.reason, availability, video.channel_url, status.rate_limited
    )


def _made(workspace: Workspace, profile: Profile, selected: Sequence[str], started_at: datetime) -> Made:
    """What was made in the run; stages that made nothing are left out."""
    made: dict[str, dict[str, Manifest]] = {stage: {} for stage in STAGES}
    for video_id in selected:
        for stage, artifact in workspace.artifacts(video_id, profile).items():
            if artifact and artifact.manifest.finished_at >= started_at:
                made[stage][video_id] = artifact.manifest
    return {stage: manifests for stage, manifests in made.items() if manifests}


def _video_time(
    workspace: Workspace,
    profile: Profile,
    video_id: str,
    manifests: Mapping[str, Manifest],
    load_s: float | None,
    elapsed_s: float | None,
    map_index: int,
) -> VideoTime:
    fetched = workspace.current(video_id, "fetch_audio", profile)
    audio_s = fetched.manifest.audio_s if fetched else None
    title = workspace.read_video(video_id).title
    return VideoTime(video_id, title, map_index, audio_s, video_seconds(manifests, load_s, elapsed_s))


def _load_seconds(workspace: Workspace, video_id: str, started_at: datetime) -> float | None:
    status = _status_since(workspace, video_id, "load", started_at)
    return status.took_s if status and status.state == "done" else None


def _ended_s(workspace: Workspace, video_id: str, last_stage: str, since: datetime) -> float | None:
    """Seconds until the run was through with a video; None if it was before this attempt."""
    status = _status_since(workspace, video_id, last_stage, since)
    return (status.at - since).total_seconds() if status else None


def _status_since(workspace: Workspace, video_id: str, stage: str, since: datetime) -> Status | None:
    status = workspace.read_status(video_id, stage)
    return status if status and status.at >= since else None


def _loading(videos: Sequence[VideoTime]) -> list[StageTime]:
    """The time of loading, which is no stage program and has no manifest; none where nothing was loaded."""
    loads = [(video.audio_s or 0.0, video.seconds["loading"]) for video in videos if "loading" in video.seconds]
    if not loads:
        return []
    audio_s, work_s = (sum(column) for column in zip(*loads, strict=True))
    return [StageTime("load", len(loads), audio_s, 0.0, 0.0, 0.0, 0.0, work_s)]


def _clause(sentence: str) -> str:
    return sentence.rstrip(".")

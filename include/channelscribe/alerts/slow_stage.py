"""The alert of a stage that is at work for longer than its budget."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from channelscribe import batches
from channelscribe.alerts.alert import Alert
from channelscribe.alerts.budgets import Budget, Usual, audio_seconds, budget_of, duration, usual_of
from channelscribe.alerts.causes import Cause, Download, causes_of
from channelscribe.profiles import Profile
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace, now

# Seconds for which a download is looked at, to tell its rate. Since the call began there were other videos, and waits
# for a turn at the site.
LOOK_S = 5.0


def stage_budget(
    workspace: Workspace,
    stage: str,
    video_ids: Sequence[str],
    profile: Profile,
    learned: Mapping[str, Usual],
    factor: float,
) -> Budget:
    """The budget of one call of a stage over some videos."""
    return budget_of(audio_seconds(workspace, video_ids, profile), usual_of(profile, stage, learned), factor)


def downloaded_bytes(workspace: Workspace, video_ids: Sequence[str], profile: Profile) -> dict[str, int]:
    """By video whose download has begun, the bytes that are there of it."""
    found = {}
    for video_id in video_ids:
        folder = workspace.partial_download(video_id, profile.stages["fetch_audio"])
        try:
            found[video_id] = sum(path.stat().st_size for path in folder.iterdir())
        except OSError:  # it waits for its turn, or was done a moment ago
            continue
    return found


def likely_causes(
    workspace: Workspace,
    stage: str,
    video_id: str,
    profile: Profile,
    settings: Settings,
    usual: Usual,
    seen: Mapping[str, int],
) -> list[Cause]:
    """Why a stage may be slow with a video.

    Args:
        workspace: where the stage says what it does.
        stage: its name.
        video_id: the video that it is at.
        profile: of the run.
        settings: the limit of downloads.
        usual: what the stage usually takes.
        seen: bytes of downloads that were there `LOOK_S` ago, by video.
    """
    download = None
    if stage == "fetch_audio":
        there = downloaded_bytes(workspace, [video_id], profile)
        download = Download(
            n_bytes=max(0, there.get(video_id, 0) - seen.get(video_id, 0)),
            span_s=LOOK_S,
            has_begun=video_id in there,
            usual_bytes_per_s=usual.bytes_per_s,
            limit_bytes_per_s=settings.download_kib_per_s * 2**10 or None,
        )
    return causes_of(profile.stages[stage].device, workspace.read_progress(video_id, stage), download)


def video_at_work(workspace: Workspace, stage: str, video_ids: Sequence[str], since: datetime) -> str | None:
    """The video of a batch that a stage is at, by their statuses; None before it has begun any."""
    for video_id in video_ids:
        status = workspace.read_status(video_id, stage)
        if status and status.state == "running" and status.at >= since:
            return video_id
    return None


def slow_stage_alert(
    workspace: Workspace,
    stage: str,
    video_ids: Sequence[str],
    *,
    budget: Budget,
    causes: Sequence[Cause],
    started: datetime,
    hard_limit_s: float,
    run_id: str,
    map_index: int,
    link: str,
) -> Alert:
    """What is said of a slow stage.

    Args:
        workspace: where the titles are.
        stage: its name.
        video_ids: the batch that it works on.
        budget: that it has used up.
        causes: likely ones, the likeliest first.
        started: when it was started.
        hard_limit_s: seconds after which it is stopped.
        run_id: the DAG and its run, as the archive knows it.
        map_index: the batch's place in the run.
        link: page of its task.
    """
    title = batches.title(workspace, video_ids)
    why = [cause.sentence for cause in causes] or ["No cause is to be seen from outside: look at the log."]
    return Alert(
        kind="stage_slow",
        subject=f"{run_id} {stage} {map_index}",
        title=f"{stage} is slow: {title}",
        lines=(
            f"{stage} has been at work on {title} for {duration((now() - started).total_seconds())}.",
            f"Expected were at most {duration(budget.seconds)}: {budget.reason}.",
            *(f"Likely cause: {sentence}" for sentence in why),
            f"It is stopped after {duration(hard_limit_s)}.",
        ),
        link=link,
        run_id=run_id,
    )

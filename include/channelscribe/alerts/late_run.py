"""The alert of a run that is past its deadline and still going: what is at work or waits, for how long, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from channelscribe import batches
from channelscribe.alerts.alert import Alert
from channelscribe.alerts.budgets import Usual, audio_seconds, duration, expected_s, usual_of
from channelscribe.alerts.causes import NOT_BEGUN, Cause, cold_starts, pool_full
from channelscribe.alerts.slow_stage import downloaded_bytes, likely_causes, video_at_work
from channelscribe.profiles import STAGES, Profile
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace, now

_START_UP = ("container", "start", "import", "load")
_DONE = ("success", "skipped", "failed", "upstream_failed", "removed")
_AT_WORK = ("running", "restarting")
# Of many that are late for one reason, some are enough.
_MAX_LINES = 12


@dataclass(frozen=True)
class LateRun:
    """What is known of a run past its deadline.

    Args:
        run_id: the DAG and its run, as the archive knows it.
        has_started: Airflow does not keep it waiting for the run before it.
        since: when it started, or else when it was asked for.
        batches: ids of its videos, in the order of their map indexes; None before they are chosen.
        states: Airflow's states of its tasks, by stage (``load`` and ``poll_channels`` included) and map index.
        link: page of the run.
        link_of: page of the task of a stage and map index.
    """

    run_id: str
    has_started: bool
    since: datetime
    batches: Sequence[Sequence[str]] | None
    states: Mapping[tuple[str, int], str | None]
    link: str
    link_of: Callable[[str, int], str]


@dataclass(frozen=True)
class Pool:
    """A pool of Airflow's.

    Args:
        name: its name.
        slots: that it has.
        needs: slots by the tasks of a run that take some: by stage, or ``poll_channels``.
        taken: slots by what holds them, for people: tasks of this run and of others.
    """

    name: str
    slots: float
    needs: Mapping[str, int]
    taken: Mapping[str, int]


@dataclass(frozen=True)
class Unfinished:
    """A batch that is not done: the stage that is at work on it, or that it waits for."""

    index: int
    stage: str
    at_work: bool


def unfinished(run: LateRun) -> list[Unfinished]:
    """What is still to be done in a run, what is at work first."""
    found = []
    for index in range(len(run.batches or ())):
        for stage in (*STAGES, "load"):
            state = run.states.get((stage, index))
            if state not in _DONE:
                found.append(Unfinished(index, stage, state in _AT_WORK))
                break
    return sorted(found, key=lambda one: not one.at_work)


def late_run_alert(
    run: LateRun,
    workspace: Workspace,
    profile: Profile,
    settings: Settings,
    learned: Mapping[str, Usual],
    *,
    pools: Sequence[Pool],
    seen: Mapping[str, int],
) -> Alert | None:
    """What is said of a late run; None if all of its videos are done.

    Args:
        run: the run.
        workspace: where its stages say what they do.
        profile: of the run.
        settings: what counts as late, and limits.
        learned: what the stages usually take.
        pools: those of Airflow, with what holds their slots.
        seen: bytes of downloads that were there `slow_stage.LOOK_S` ago, by video.
    """
    if run.batches is None:
        return _without_videos(run, settings, pools)
    left = unfinished(run)
    if not left:
        return None
    lines, causes = [], []
    for one in left:
        line, found = _describe(run, one, workspace, profile, settings, learned, seen)
        lines.append(line)
        causes += found
    causes += _full(run, pools)
    if cold := _cold(run, workspace, profile):
        causes.append(cold)
    n_done = len(run.batches) - len(left)
    lasted = duration((now() - run.since).total_seconds())
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"... and {len(lines) - _MAX_LINES} more."]
    why = list(dict.fromkeys(cause.sentence for cause in causes))
    return Alert(
        kind="run_late",
        subject=run.run_id,
        title=f"A run is late: {len(left)} of {len(run.batches)} batches are not done after {lasted}",
        lines=(
            f"The run {run.run_id} is still going after {lasted}; expected were {settings.alert_run_minutes} min. "
            f"{n_done} of {len(run.batches)} batches are done.",
            *lines,
            *(f"Likely cause: {sentence}" for sentence in why),
            *([] if why else ["No cause is to be seen: there may just be much to do."]),
        ),
        link=run.link,
        run_id=run.run_id,
    )


def _without_videos(run: LateRun, settings: Settings, pools: Sequence[Pool]) -> Alert:
    """What is said of a run that has not come to its videos yet."""
    lasted = duration((now() - run.since).total_seconds())
    if run.has_started:
        title = f"A run is late: it has not chosen its videos after {lasted}"
        why = "Its channels are still being polled: the first poll of a large one reads all of its pages."
    else:
        title = f"A run is late: it has not started after {lasted}"
        why = "Runs go one at a time, and another is still going before it."
    first = f"The run {run.run_id} was expected to be done after {settings.alert_run_minutes} min."
    causes = [f"Likely cause: {cause.sentence}" for cause in _full(run, pools)]
    return Alert("run_late", run.run_id, title, (first, why, *causes), run.link, run.run_id)


def _batch(run: LateRun, one: Unfinished) -> Sequence[str]:
    return (run.batches or ())[one.index]


def download_ids(run: LateRun) -> list[str]:
    """The videos of a run whose downloads are at work."""
    return [
        video_id
        for one in unfinished(run)
        if one.at_work and one.stage == "fetch_audio"
        for video_id in _batch(run, one)
    ]


def bytes_there(run: LateRun, workspace: Workspace, profile: Profile) -> dict[str, int]:
    """By video of a run that is being downloaded, the bytes that are there."""
    return downloaded_bytes(workspace, download_ids(run), profile)


def _describe(
    run: LateRun,
    one: Unfinished,
    workspace: Workspace,
    profile: Profile,
    settings: Settings,
    learned: Mapping[str, Usual],
    seen: Mapping[str, int],
) -> tuple[str, list[Cause]]:
    video_ids = _batch(run, one)
    title = batches.title(workspace, video_ids)
    page = run.link_of(one.stage, one.index)
    if not one.at_work:
        since = _ended_at(workspace, one.stage, video_ids, run.since)
        waited = duration((now() - since).total_seconds())
        return f"{title}: waits for {one.stage}, for {waited} now. {page}", []
    since = _began_at(workspace, one.stage, video_ids, run.since)
    lasted = duration((now() - since).total_seconds())
    if one.stage == "load":
        return f"{title}: load is at work for {lasted}. {page}", []
    usual = usual_of(profile, one.stage, learned)
    before = duration(expected_s(audio_seconds(workspace, video_ids, profile), usual))
    measure = "before, as much audio took" if usual.n_videos else "the profile expects"
    line = f"{title}: {one.stage} is at work for {lasted}; {measure} {before}. {page}"
    video_id = video_at_work(workspace, one.stage, video_ids, run.since)
    if video_id is None:
        return line, [NOT_BEGUN]
    return line, likely_causes(workspace, one.stage, video_id, profile, settings, usual, seen)


def _began_at(workspace: Workspace, stage: str, video_ids: Sequence[str], earliest: datetime) -> datetime:
    """When a stage began with a batch, as far as its videos' statuses tell: at the first of them."""
    at = [status.at for video_id in video_ids if (status := workspace.read_status(video_id, stage))]
    return min((moment for moment in at if moment >= earliest), default=now())


def _ended_at(workspace: Workspace, stage: str, video_ids: Sequence[str], earliest: datetime) -> datetime:
    """When the stages before one were done with a batch; the run's start before there are any."""
    order = [*STAGES, "load"]
    at = [
        status.at
        for earlier in order[: order.index(stage)]
        for video_id in video_ids
        if (status := workspace.read_status(video_id, earlier))
    ]
    return max((moment for moment in at if moment >= earliest), default=earliest)


def _full(run: LateRun, pools: Sequence[Pool]) -> Iterator[Cause]:
    """The pools that the run's tasks wait for, whoever holds their slots."""
    # Airflow's word for a task that could run, and has no slots.
    waiting = [task for (task, _), state in run.states.items() if state == "scheduled"]
    for pool in pools:
        mine = [task for task in waiting if task in pool.needs]
        needed = min((pool.needs[task] for task in mine), default=0)
        if cause := pool_full(pool.name, pool.slots, pool.taken, needed, mine):
            yield cause


def _cold(run: LateRun, workspace: Workspace, profile: Profile) -> Cause | None:
    start_s = total_s = 0.0
    for video_id in (video_id for batch in run.batches or () for video_id in batch):
        for artifact in workspace.artifacts(video_id, profile).values():
            if artifact is None:
                break
            # Work that was done earlier took no time of this run.
            if artifact.manifest.finished_at >= run.since - timedelta(seconds=1):
                parts = artifact.manifest.processing_s
                start_s += sum(parts.get(part, 0.0) for part in _START_UP)
                total_s += sum(parts.get(part, 0.0) for part in (*_START_UP, "total"))
    return cold_starts(start_s, total_s)

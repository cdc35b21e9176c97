"""Reads from Airflow how the tasks of an ingest run ended, for its report."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import STAGES, Profile
from channelscribe.settings import get_settings
from channelscribe.telemetry.comparison import compare
from channelscribe.telemetry.report import NO_REASON, RunReport, run_report
from channelscribe.telemetry.report_text import to_markdown
from channelscribe.workspace import Workspace, now
from channelscribe_airflow import alerting
from channelscribe_airflow.metrics import emit
from channelscribe_airflow.outcomes import FAILURE, expected_errors
from channelscribe_airflow.stage_task import unfinished_stage

if TYPE_CHECKING:
    from channelscribe.store.connection import Connection

logger = logging.getLogger(__name__)

_GOOD = ("success", "skipped")

States = Mapping[tuple[str, int], str]


def conclude_run(ti: Any, dag_run: Any, profile: Profile, *, nothing: str | None = None, fetched: bool = True) -> None:
    """Write the report of a run into the log and into the archive, with what the sites did not hand out.

    Args:
        ti: the task instance that asks.
        dag_run: its run.
        profile: the profile of the run.
        nothing: what to say where there was nothing to do, if it is not the usual.
        fetched: whether it fetched anything, so that what could not be had is noted.

    Raises:
        AirflowFailException: anything failed.
    """
    from channelscribe.store.connection import archive_dsn, connect

    try:
        with _reached_videos(ti, dag_run):
            report = replace(report_on_run(ti, dag_run, profile), nothing=nothing)
    except AirflowFailException as error:
        if fetched:  # whoever asked for a redo is there to see it
            alerting.record_failed_run(dag_run, str(error))
        raise
    try:
        with expected_errors(), closing(connect(archive_dsn(get_settings()))) as connection:
            report = _keep(connection, report, dag_run)
            if fetched:
                note_refusals(connection, report)
    finally:
        # Whatever the archive says to it.
        for line in to_markdown(report).splitlines():
            logger.info("%s", line)
        emit(report)
    alerting.record_run(dag_run, report)
    if not report.ok:
        raise AirflowFailException(report.summary)


def note_refusals(connection: "Connection", report: RunReport) -> None:
    """Note which videos the sites did not hand out to a run, and which channels are to be left alone for a while."""
    from channelscribe.store.channels import record_failed_poll
    from channelscribe.store.listed import note_availability

    note_availability(connection, report.unavailable)
    for channel, reason in report.refusals.items():
        record_failed_poll(connection, channel, reason, rate_limited=True)


def _keep(connection: "Connection", report: RunReport, dag_run: Any) -> RunReport:
    """Keep a report in the archive; returns it with what is known only there."""
    from channelscribe.store.runs.reports import earlier_figures, save_report, seconds_so_far

    seconds = (now() - dag_run.start_date).total_seconds()
    elapsed_s = seconds + seconds_so_far(connection, report.run_id, dag_run.start_date)
    report = replace(report, elapsed_s=elapsed_s)
    report = replace(report, compared=compare(report.figures, earlier_figures(connection, report)))
    save_report(connection, report, dag_run.start_date)
    return report


@contextmanager
def _reached_videos(ti: Any, dag_run: Any) -> Iterator[None]:
    """Note in the archive, if it can be reached, why a run failed before there was a video."""
    from channelscribe.store.claims import Run
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.runs.reports import save_failure

    try:
        yield
    except AirflowFailException as error:
        try:
            with closing(connect(archive_dsn(get_settings()))) as connection:
                save_failure(connection, Run(dag_run.dag_id, dag_run.run_id).name, str(error))
        except ChannelscribeError as reason:
            logger.warning("%s", reason)
        raise


def conclude_redo(ti: Any, dag_run: Any, params: Mapping[str, Any], profile: Profile) -> None:
    """The same for a run of the DAG reprocess, which fetches nothing. A dry run changes nothing in the archive either.

    Raises:
        AirflowFailException: anything failed.
    """
    plan = ti.xcom_pull(task_ids="select_videos", key="plan", map_indexes=None) or {}
    if params["dry_run"]:
        report_on_run(ti, dag_run, profile)  # fails where select_videos did
        logger.info("A dry run, which changed nothing. %s.", plan["headline"].rstrip("."))
        logger.info("The log of select_videos has it video by video. Trigger with `dry_run` false to do it.")
    else:
        conclude_run(ti, dag_run, profile, nothing=plan.get("headline"), fetched=False)


def log_outlook(ti: Any) -> None:
    """Say of each channel of a run how many of its videos remain, and for how many days."""
    plan = ti.xcom_pull(task_ids="select_videos", key="plan", map_indexes=None) or {}
    for channel, outlook in plan.get("outlook", {}).items():
        logger.info("%s: %s.", channel, outlook)


def report_on_run(ti: Any, dag_run: Any, profile: Profile) -> RunReport:
    """The report of a run, from the states of its tasks and from the workspace.

    Args:
        ti: the task instance that asks.
        dag_run: its run.
        profile: the profile of the run.

    Raises:
        AirflowFailException: the run failed before there was a video.
    """
    from channelscribe.store.claims import Run

    states: States = {
        (str(task["task_id"]), int(task["map_index"])): str(task["state"])
        for task in ti.get_task_breadcrumbs(dag_id=ti.dag_id, run_id=ti.run_id)
    }
    for task_id in ("choose_channels", "pin_image", "select_videos"):
        if states.get((task_id, -1)) == "failed":
            raise AirflowFailException(f"{task_id} failed: {_failure(ti, task_id)}")
    channels = ti.xcom_pull(task_ids="choose_channels", map_indexes=None) or []
    batches = ti.xcom_pull(task_ids="select_videos", map_indexes=None) or []
    plan = ti.xcom_pull(task_ids="select_videos", key="plan", map_indexes=None) or {}
    workspace = Workspace(get_settings().data_dir)
    discovery = states.get(("discover_speakers", -1))
    run_id = Run(dag_run.dag_id, dag_run.run_id).name
    report = run_report(
        workspace,
        profile,
        [video_id for batch in batches for video_id in batch],
        failed_stages(states, batches, workspace),
        {
            channel: _failure(ti, "poll_channels", index)
            for index, channel in enumerate(channels)
            if states.get(("poll_channels", index)) not in _GOOD
        },
        failed_discovery=_failure(ti, "discover_speakers") if discovery == "failed" else None,
        started_at=_began_at(run_id) or dag_run.start_date,
        attempt_at=dag_run.start_date,
        n_channels=plan.get("channels", len(channels)),
        skipped=plan.get("skipped"),
        map_indexes={video_id: index for index, batch in enumerate(batches) for video_id in batch},
        **{f"n_{name}": plan.get(name, 0) for name in ("listed", "waiting", "held", "unavailable")},
    )
    return replace(report, run_id=run_id)


def _began_at(run_id: str) -> datetime | None:
    """When the run chose its videos, which stays the same when tasks of it are cleared later; None if nobody knows."""
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.runs.reports import run_began_at

    try:
        with closing(connect(archive_dsn(get_settings()))) as connection:
            return run_began_at(connection, run_id)
    except ChannelscribeError as error:
        logger.warning("%s", error)
        return None


def _failure(ti: Any, task_id: str, map_index: int | None = None) -> str:
    return str(ti.xcom_pull(task_ids=task_id, key=FAILURE, map_indexes=map_index) or NO_REASON)


def failed_stages(states: States, batches: Sequence[Sequence[str]], workspace: Workspace) -> dict[str, str]:
    """By video that was not loaded, the first stage that did not end well for it.

    The statuses say so, not the colours: a task may be green for the rest of its batch, or because somebody marked it.

    Args:
        states: terminal state by task id and map index.
        batches: ids of the videos, in the order of their map indexes.
        workspace: where the statuses are.
    """
    failed = {}
    for index, batch in enumerate(batches):
        for video_id in batch:
            if stage := unfinished_stage(workspace, video_id, (*STAGES, "load")):
                failed[video_id] = stage
            elif states.get(("ingest_video.load", index)) not in ("success", "failed"):
                failed[video_id] = "load"  # its status is of an earlier run
    return failed

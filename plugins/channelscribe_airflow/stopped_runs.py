"""Reports on runs that were stopped: Airflow skips the last task of a run that is marked, whose work a report is."""

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe.telemetry.report import NO_REASON, RunReport
from channelscribe_airflow import alerting
from channelscribe_airflow.claiming import is_at_work
from channelscribe_airflow.ingest_report import report_on_run

if TYPE_CHECKING:
    from channelscribe.store.connection import Connection
    from channelscribe.store.runs.reports import RunRecord

logger = logging.getLogger(__name__)

STOPPED = "It was stopped before its end"


def report_stopped_runs(ti: Any) -> int:
    """Write the report of each run that the archive has at work and Airflow has not; returns how many there were.

    Args:
        ti: the task instance that asks Airflow.

    Raises:
        ChannelscribeError: the archive can't be asked.
    """
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.runs.reports import unfinished_runs

    n_stopped = 0
    with closing(connect(archive_dsn(get_settings()))) as connection:
        at_work = is_at_work(ti)
        over = [run for run in unfinished_runs(connection) if not at_work(run.dag_id, run.airflow_id)]
        # Once more, as one may have ended in between, with a report of its own.
        unfinished = {run.run_id for run in unfinished_runs(connection)}
        for run in over:
            if run.run_id in unfinished:
                _conclude(connection, run, _OtherRun(ti, run.dag_id, run.airflow_id, run.started_at))
                n_stopped += 1
    return n_stopped


def _conclude(connection: "Connection", run: "RunRecord", other: "_OtherRun") -> None:
    from channelscribe.store.runs.reports import save_failure, save_report

    try:
        report = _report(run, other)
    except (AirflowFailException, ChannelscribeError) as error:
        sentence = str(error).replace(NO_REASON, STOPPED[0].lower() + STOPPED[1:])
        save_failure(connection, run.run_id, sentence)
    else:
        # What sites did not hand out is not noted: polls since then may know better.
        if report.videos:
            save_report(connection, report, run.started_at)
        else:
            save_failure(connection, run.run_id, STOPPED + ".")
        # What was stopped on purpose is no news; what failed before that is, and what is over.
        told = replace(report, failed=tuple(one for one in report.failed if not one.reason.startswith(STOPPED)))
        alerting.record_run(other, told)
    logger.info("%s: %s", run.run_id, STOPPED)


def _report(run: "RunRecord", other: "_OtherRun") -> RunReport:
    """What is known of a run. How long it took is not: only that it is over."""
    profile = get_profile(str(run.params.get("profile") or get_settings().profile))
    report = report_on_run(other, other, profile)
    failed = [replace(one, reason=f"{STOPPED}.") if one.reason == NO_REASON else one for one in report.failed]
    discovery = STOPPED if report.failed_discovery == NO_REASON else report.failed_discovery
    return replace(report, failed=tuple(failed), failed_discovery=discovery)


@dataclass(frozen=True)
class _OtherRun:
    """What a report asks of a task instance and its run, for a run that is not that of the task that asks."""

    ti: Any
    dag_id: str
    run_id: str
    start_date: datetime

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> Any:
        return self.ti.get_task_breadcrumbs(dag_id=dag_id, run_id=run_id)

    def xcom_pull(self, **what: Any) -> Any:
        return self.ti.xcom_pull(dag_id=self.dag_id, run_id=self.run_id, **what)

"""What happens when a run of `channel_ingest` is past its deadline: a callback that the triggerer runs.

There it waits for no slot of an executor, all of which the late run may hold.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from channelscribe.alerts.late_run import LateRun, bytes_there, download_ids, late_run_alert
from channelscribe.alerts.slow_stage import LOOK_S
from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace
from channelscribe_airflow import alerting
from channelscribe_airflow.links import INGEST_DAG, run_page, task_page
from channelscribe_airflow.pool_use import pool_use
from channelscribe_airflow.stage_watch import learned_times

logger = logging.getLogger(__name__)

_GROUP = "ingest_video."


async def run_is_late(context: Mapping[str, Any]) -> None:
    """Tell what a late run is still at, unless it is over by now, or all of its videos are done."""
    # In a thread: the triggerer's loop has others to serve.
    await asyncio.to_thread(_tell, context["dag_run"])


def _tell(dag_run: Mapping[str, Any]) -> None:
    # Here, not above: the DAG's file names the callback, and must be parsed fast.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from channelscribe.store.runs.alerts import raise_alerts

    run_id = str(dag_run["dag_run_id"])
    if RuntimeTaskInstance.get_dagrun_state(INGEST_DAG, run_id) not in ("running", "queued"):
        return
    settings = get_settings()
    profile = get_profile(str((dag_run.get("conf") or {}).get("profile") or settings.profile))
    run, workspace = _late_run(dag_run), Workspace(settings.data_dir)
    seen = bytes_there(run, workspace, profile)
    if download_ids(run):
        time.sleep(LOOK_S)
    alert = late_run_alert(
        run,
        workspace,
        profile,
        settings,
        learned_times(profile.name),
        pools=pool_use(),
        seen=seen,
    )
    if alert is not None:
        for line in alert.lines:
            logger.warning("%s", line)
        alerting.record(lambda connection: raise_alerts(connection, [alert], settings.alert_targets))
        alerting.deliver()


def _late_run(dag_run: Mapping[str, Any]) -> LateRun:
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from channelscribe.store.claims import Run

    run_id = str(dag_run["dag_run_id"])
    found = RuntimeTaskInstance.get_task_states(INGEST_DAG, run_ids=[run_id]).get(run_id, {})
    batches = BaseXCom.get_one(
        key="return_value", dag_id=INGEST_DAG, task_id="select_videos", run_id=run_id, map_index=-1
    )
    has_started = dag_run.get("start_date") is not None
    states = {
        (stage, index): found.get(f"{_GROUP}{stage}_{index}")
        for index in range(len(batches or []))
        for stage in (*STAGES, "load")
    }
    polls = [state for task, state in found.items() if task.startswith("poll_channels_")]
    states |= {("poll_channels", index): state for index, state in enumerate(polls)}
    return LateRun(
        run_id=Run(INGEST_DAG, run_id).name,
        has_started=has_started,
        since=datetime.fromisoformat(dag_run["start_date"] if has_started else dag_run["queued_at"]),
        batches=batches,
        states=states,
        link=run_page(run_id),
        link_of=lambda stage, index: task_page(run_id, _GROUP + stage, index),
    )

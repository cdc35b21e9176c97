"""Reads from Airflow how the tasks of an ingest run ended, for its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from channelscribe.profiles import STAGES, Profile
from channelscribe.settings import get_settings
from channelscribe.telemetry.report import NO_REASON, RunReport, run_report
from channelscribe.workspace import Workspace
from channelscribe_airflow.outcomes import FAILURE
from channelscribe_airflow.stage_task import unfinished_stage

_GOOD = ("success", "skipped")

States = Mapping[tuple[str, int], str]


def report_on_run(ti: Any, dag_run: Any, profile: Profile) -> RunReport:
    """The report of a run, from the states of its tasks and from the workspace.

    Args:
        ti: the task instance that asks.
        dag_run: its run.
        profile: the profile of the run.

    Raises:
        AirflowFailException: the run failed before there was a video.
    """
    states: States = {
        (str(task["task_id"]), int(task["map_index"])): str(task["state"])
        for task in ti.get_task_breadcrumbs(dag_id=ti.dag_id, run_id=ti.run_id)
    }
    for task_id in ("choose_channels", "pin_image", "select_videos"):
        if states.get((task_id, -1)) == "failed":
            reason = ti.xcom_pull(task_ids=task_id, key=FAILURE, map_indexes=None) or NO_REASON
            raise AirflowFailException(f"{task_id} failed: {reason}")
    channels = ti.xcom_pull(task_ids="choose_channels", map_indexes=None) or []
    batches = ti.xcom_pull(task_ids="select_videos", map_indexes=None) or []
    workspace = Workspace(get_settings().data_dir)
    return run_report(
        workspace,
        profile,
        [video_id for batch in batches for video_id in batch],
        failed_stages(states, batches, workspace),
        {
            channel: ti.xcom_pull(task_ids="poll_channels", key=FAILURE, map_indexes=index) or NO_REASON
            for index, channel in enumerate(channels)
            if states.get(("poll_channels", index)) not in _GOOD
        },
        started_at=dag_run.start_date,
        n_channels=len(channels),
        n_listed=ti.xcom_pull(task_ids="select_videos", key="n_listed", map_indexes=None) or 0,
    )


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

"""Chooses, claims and records the videos of a run."""

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from channelscribe import batches
from channelscribe.profiles import Profile
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now
from channelscribe_airflow.claiming import is_at_work
from channelscribe_airflow.outcomes import write_status
from channelscribe_airflow.video_tasks import MAX_VIDEOS, in_containers

if TYPE_CHECKING:
    from channelscribe.store.ingest_plan import Request
    from channelscribe.store.redo import RedoPlan, RedoRequest

logger = logging.getLogger(__name__)


def require_image(ti: Any) -> None:
    """Refuse to go on without the image that the stages' containers are made of, where there are containers.

    Raises:
        AirflowFailException: `pin_image` found none.
    """
    if in_containers() and ti.xcom_pull(task_ids="pin_image", map_indexes=None) is None:
        raise AirflowFailException("There is no image for the stages: see pin_image.")


def select_new_videos(
    ti: Any, dag_run: Any, params: Mapping[str, Any], request: "Request", profile: Profile
) -> list[list[str]]:
    """Choose the videos that a run takes of all that its channels have listed, and record them in the workspace.

    Args:
        ti: the task instance; it leaves what the report needs as XCom `plan`.
        dag_run: its run.
        params: those of the run, for the record.
        request: what the run was asked for.
        profile: of the run.

    Returns:
        Their ids, in batches.

    Raises:
        AirflowFailException: no channels were chosen, or there is no image.
        ChannelscribeError: the archive can't be asked.
    """
    from channelscribe.store.claims import Run, claim_videos
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.ingest_plan import choose_videos
    from channelscribe.store.queries import record_ingest_run

    settings, run = get_settings(), Run(dag_run.dag_id, dag_run.run_id)
    channels = ti.xcom_pull(task_ids="choose_channels", map_indexes=None)
    if channels is None:
        raise AirflowFailException("No channels were chosen: see choose_channels.")
    require_image(ti)
    with closing(connect(archive_dsn(settings))) as connection:
        record_ingest_run(connection, run.name, "running", params=dict(params))
        plan = claim_videos(
            connection,
            run,
            is_at_work(ti),
            lambda busy: choose_videos(connection, settings, channels, request, MAX_VIDEOS, busy),
        )
    for video in plan.chosen:
        Workspace(settings.data_dir).write_video(video)
    counts = {
        "listed": plan.n_listed, "waiting": plan.n_waiting, "held": plan.n_held, "unavailable": plan.n_unavailable,
    }  # fmt: skip
    outlook = {url: share.outlook for url, share in plan.shares.items()}
    ti.xcom_push("plan", counts | {"skipped": dict(plan.skipped), "outlook": outlook})
    logger.info("%d items listed, %d to ingest, %d left over", plan.n_listed, len(plan.chosen), plan.n_waiting)
    return batches.build(plan.chosen, profile, settings)


def select_archived_videos(
    ti: Any, dag_run: Any, params: Mapping[str, Any], request: "RedoRequest", profile: Profile
) -> list[list[str]]:
    """Choose the videos of the archive that a run does again. A dry run says which these would be, and chooses none.

    Args:
        ti: the task instance; it leaves what the report needs as XCom `plan`.
        dag_run: its run.
        params: those of the run; `dry_run` and `limit` are read here.
        request: what the run was asked for.
        profile: of the run.

    Returns:
        Their ids, in batches.

    Raises:
        AirflowFailException: there is no image.
        ChannelscribeError: see `plan_redo`.
    """
    from channelscribe.store.claims import Run, claim_videos
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.queries import record_ingest_run
    from channelscribe.store.redo import plan_redo

    settings, run = get_settings(), Run(dag_run.dag_id, dag_run.run_id)
    workspace, limit = Workspace(settings.data_dir), params["limit"] or MAX_VIDEOS
    with closing(connect(archive_dsn(settings))) as connection:
        everything = plan_redo(connection, workspace, profile, request)
        if params["dry_run"]:
            _say_plan(ti, everything.first(limit), request)
            return []
        require_image(ti)
        record_ingest_run(connection, run.name, "running", params=dict(params))
        plan = claim_videos(connection, run, is_at_work(ti), lambda busy: everything.first(limit, busy))
    _say_plan(ti, plan, request)
    for one in plan.redo:
        workspace.write_video(one.video)
        # A later attempt to fetch it may have failed; what the archive was made of is there all the same.
        write_status("fetch_audio", one.video.video_id, "present", 0, "Nothing to do: the artifact is there already.")
    return batches.build([one.video for one in plan.redo], profile, settings)


def _say_plan(ti: Any, plan: "RedoPlan", request: "RedoRequest") -> None:
    for line in plan.to_markdown().splitlines():
        logger.info("%s", line)
    if plan.n_waiting and request.stages and not request.done_before:
        logger.info("For those that wait, trigger it with `done_before` as well: %s.", now().date())
    counts = {"channels": plan.n_channels, "listed": plan.n_fitting, "waiting": plan.n_waiting}
    skipped = {"waits for the next run": plan.n_waiting, "without audio": len(plan.without_audio)}
    skipped = {why: number for why, number in skipped.items() if number}
    ti.xcom_push("plan", counts | {"headline": plan.headline, "skipped": skipped})

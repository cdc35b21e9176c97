"""What every DAG has which takes videos to the archive, its arguments and its tasks: wiring, no logic."""

import logging
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

from airflow.sdk import chain, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from channelscribe.pools import VRAM_POOL, require_room
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow.alerting import deliver_after_failed_run, deliver_after_run
from channelscribe_airflow.labels import batch_title
from channelscribe_airflow.outcomes import expected_errors
from channelscribe_airflow.process_operator import ProcessStageOperator

logger = logging.getLogger(__name__)

# Airflow refuses to map over more than 1024; what is left over is new to the next run.
MAX_VIDEOS = 1000

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "channelscribe",
    "retries": 1,
    "retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(minutes=10),
    # Depth first: the tasks of a video that is further on go first, so that finished videos load early.
    "weight_rule": "upstream",
}
# Of each such DAG.
VIDEO_DAG: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "user_defined_macros": {"batch_title": batch_title},
    # Messages go out once the run is over: a target that is down delays nothing.
    "on_success_callback": deliver_after_run,
    "on_failure_callback": deliver_after_failed_run,
    "tags": ["channelscribe"],
    "default_args": DEFAULT_ARGS,
}
NETWORK: dict[str, Any] = {
    "pool": "downloads",
    "retries": 3,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
}


def in_containers() -> bool:
    """Whether stages run in containers. `auto` was settled when the stack was started; parsing asks no engine."""
    return get_settings().runtime == "docker"


@task
def pin_image(ti: Any = None) -> str:
    """The id of the stages' image: chosen once for the run, so that no retry mixes two versions."""
    from channelscribe.stack.engine import image_id

    with expected_errors(ti):
        return image_id(get_settings().stages_image)


@task(trigger_rule="all_done", retries=2, execution_timeout=timedelta(hours=2))
def discover_speakers(profile: str, ti: Any = None) -> None:
    """Unknown voices that speak in several videos; known ones first, where what is known of them changed."""
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.speakers.discovered import identify_changed
    from channelscribe.store.speakers.enrolling import voice_model

    if not ti.xcom_pull(task_ids="select_videos", map_indexes=None):
        raise AirflowSkipException("No video was chosen: no voice is new.")
    with expected_errors(ti), closing(connect(archive_dsn(get_settings()))) as connection:
        labelled, found = identify_changed(connection, voice_model(profile))
    logger.info("Identified %d clusters and %d utterances anew", labelled.n_clusters, labelled.n_utterances)
    logger.info("%d speakers in several videos, %d of them new", found.n_speakers, found.n_new)


def ingest_video(profile: str, force: Mapping[str, str | bool]) -> Any:
    """The task group of a batch of videos, through stages and into the archive; to be expanded over `video_ids`.

    Args:
        profile: name of the run's profile, or a template of it.
        force: the stages, in the order of work, and whether each is done again although its result is there, or a
            template of that.

    Raises:
        MisconfiguredError: the pool can't hold the settings' profile.
    """
    # Slots and time limits are those of the settings' profile: they can't be templates.
    reserved = get_profile(get_settings().profile)
    require_room(reserved)

    def stage(name: str, video_ids: Any) -> Any:
        operator: Any = ProcessStageOperator
        arguments: dict[str, Any] = dict(NETWORK)
        if name != "fetch_audio":
            # It takes the device's memory. Retries that outlast the restart of an engine.
            arguments = {"pool": VRAM_POOL, "pool_slots": reserved.stages[name].memory_gib}
            arguments |= {"retries": 2, "retry_exponential_backoff": 2}
            if in_containers():
                from channelscribe_airflow.docker_operator import DockerStageOperator

                operator = DockerStageOperator
                arguments["image"] = "{{ ti.xcom_pull(task_ids='pin_image', map_indexes=-1) }}"
        return operator(
            task_id=name,
            stage=name,
            video_ids=video_ids,
            profile=profile,
            force=force[name],
            map_index_template="{{ batch_title(task.video_ids) }}",
            execution_timeout=timedelta(minutes=reserved.stages[name].hard_limit_min),
            # A stage goes on with the videos that the one before did not fail for, and is skipped if there are none.
            # Not a rule that one success satisfies: Airflow 3.3 then waits for a stage to end in all the batches before
            # it maps the next one.
            trigger_rule="all_done",
            **arguments,
        )

    @task(map_index_template="{{ batch_title(task.op_kwargs.video_ids) }}", trigger_rule="all_done", retries=2)
    def load(video_ids: list[str], profile: str, dag_run: Any = None, ti: Any = None) -> None:
        """The videos' results into the archive, each in one transaction."""
        from channelscribe.store.claims import Run
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.loader import load_video
        from channelscribe.workspace import Workspace
        from channelscribe_airflow.claiming import claim_if_cleared
        from channelscribe_airflow.stage_task import each_video

        settings, run = get_settings(), Run(dag_run.dag_id, dag_run.run_id)
        workspace, found = Workspace(settings.data_dir), get_profile(profile)

        def load_one(video_id: str) -> None:
            with closing(connect(archive_dsn(settings))) as connection:
                load_video(connection, workspace, video_id, found, run.name)

        with expected_errors():
            each_video("load", claim_if_cleared(ti, dag_run, video_ids, logger), load_one)

    @task_group(group_id="ingest_video")
    def group(video_ids: list[str]) -> None:
        """A batch of videos, from stage to stage into the archive."""
        chain(*(stage(name, video_ids) for name in force), load(video_ids=video_ids, profile=profile))

    return group

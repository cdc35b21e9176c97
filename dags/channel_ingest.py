"""# channel_ingest

Takes channels to searchable text: who said what, and when.

**What it does.** Once a day it polls the channels, chooses the videos that the archive does not have yet, and takes
them, a batch at each index of the mapped group `ingest_video`, through `fetch_audio`, `diarize`, `transcribe`,
`identify_speakers`, `embed_text` and `load`. Finished videos load while others are still at work. `report_run` says
what was loaded, what failed and why, and where the time went. A run that finds nothing new is green and says so.

A batch is one video, so that the first is searchable soon; where starting a container for each would cost too much, it
is more (the setting `CHANNELSCRIBE_BATCH_MINUTES`). With `CHANNELSCRIBE_RUNTIME=docker` the stages run in containers of
one image, which `pin_image` fixes for the whole run, retries included; otherwise as child processes.

`transcribe` comes after `diarize`, not beside it: a recogniser that is handed regions which never cross a change of
speaker gives every word to one voice, invents nothing on silence, and needs no detector of its own.

## Params

| param | meaning |
| --- | --- |
| `channels` | URLs (YouTube channels and playlists, podcast feeds, all that yt-dlp can list) or YouTube @handles |
| `limit` | new videos taken of each channel |
| `newest_first` | take the newest; the oldest if false |
| `since` | leave out what was published before this day (UTC) |
| `profile` | which engine and model does each stage |
| `force` | redo stages and load although the results are there |

For example, in the trigger form or as `conf` of `POST /api/v2/dags/channel_ingest/dagRuns`:

    {"channels": ["https://www.youtube.com/@handle"], "limit": 5, "since": "2026-01-31"}

Unknown names and bad values are refused before anything is downloaded.

## A re-run

Redoes only what is missing. Every stage keeps its result under a fingerprint of its model, its parameters and its
inputs, and finds it there. Videos in the archive are not selected again, unless `force` is set; loading twice changes
nothing.

## When it fails

The log of `report_run` names every failed video and channel with the reason, and docs/runbook.md says what each means.
One bad video fails alone: the stage that failed is red at its index, and what follows goes on with the rest of the
batch. Correct the cause and clear the red task with what follows it: nothing is done twice. Network faults have been
retried already; bad input never is.
"""

import logging
from contextlib import closing
from datetime import date, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from channelscribe.pools import VRAM_POOL, require_room
from channelscribe.profiles import PROFILES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow.labels import batch_title
from channelscribe_airflow.outcomes import expected_errors
from channelscribe_airflow.process_operator import ProcessStageOperator

SETTINGS = get_settings()
# `auto` was settled when the stack was started; parsing asks no engine.
IN_CONTAINERS = SETTINGS.runtime == "docker"
PROFILE = get_profile(SETTINGS.profile)
require_room(PROFILE)
# Airflow refuses to map over more than 1024; what is left over is new to the next run.
MAX_VIDEOS = 1000

logger = logging.getLogger(__name__)

params = {
    "channels": Param(
        list(SETTINGS.channels),
        type="array",
        items={"type": "string", "minLength": 1},
        maxItems=1000,
        title="Channels",
        description="URLs or YouTube @handles, one per line. The setting CHANNELSCRIBE_CHANNELS is the default.",
    ),
    "limit": Param(
        SETTINGS.limit,
        type="integer",
        minimum=1,
        maximum=MAX_VIDEOS,
        title="Limit",
        description="New videos taken of each channel.",
    ),
    "newest_first": Param(
        True, type="boolean", title="Newest first", description="Take the newest videos; the oldest if off."
    ),
    "since": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Since",
        description="Leave out what was published before this day (UTC).",
    ),
    "profile": Param(
        SETTINGS.profile,
        type="string",
        enum=list(PROFILES),
        title="Profile",
        description="Which engine and model does each stage.",
    ),
    "force": Param(
        False,
        type="boolean",
        title="Force",
        description="Redo stages and load although the results are there already.",
    ),
}

with DAG(
    "channel_ingest",
    description="Takes channels to speaker-attributed, searchable text.",
    doc_md=__doc__,
    # A run_immediately of zero seconds, not False: False means "if the last moment was not long ago" to Airflow 3.3,
    # and un-pausing the DAG at six in the morning would start the run of four o'clock, unasked.
    schedule=CronTriggerTimetable(SETTINGS.schedule, timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    params=params,
    user_defined_macros={"batch_title": batch_title},
    tags=["channelscribe"],
    default_args={
        "owner": "channelscribe",
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "execution_timeout": timedelta(minutes=10),
        # Depth first: the tasks of a video that is further on go first, so that finished videos load early.
        "weight_rule": "upstream",
    },
) as dag:
    network = {
        "pool": "downloads",
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
    }

    @task(retries=0)
    def choose_channels(params=None, dag_run=None, ti=None) -> list[str]:
        """The channels to poll, each once, as URLs."""
        from channelscribe.channels.source import normalise_channel
        from channelscribe.pools import require_reserved
        from channelscribe_airflow.conf import refuse_unknown

        with expected_errors(ti):
            refuse_unknown(dag_run.conf or {}, dag.params)
            require_reserved(get_profile(params["profile"]), PROFILE)
            return list(dict.fromkeys(normalise_channel(channel) for channel in params["channels"]))

    @task
    def pin_image(ti=None) -> str:
        """The id of the stages' image: chosen once for the run, so that no retry mixes two versions."""
        from channelscribe.stack.engine import image_id

        with expected_errors(ti):
            return image_id(SETTINGS.stages_image)

    @task(map_index_template="{{ task.op_kwargs.channel[:200] }}", **network)
    def poll_channels(channel: str, params=None, ti=None) -> list[dict]:
        """The videos that one channel lists."""
        from channelscribe.channels.listing import list_channel

        with expected_errors(ti):
            videos = list_channel(channel, since=_day(params["since"]))
        return [video.model_dump(mode="json") for video in videos]

    # Goes on with the channels that could be polled; the report names the others.
    @task(trigger_rule="all_done")
    def select_videos(polls: list[list[dict]], params=None, ti=None, run_id=None) -> list[list[str]]:
        """The ids of the videos to ingest, in batches, recorded in the workspace."""
        from channelscribe import batches
        from channelscribe.channels import selection
        from channelscribe.contracts import Video
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.queries import loaded_video_ids, record_ingest_run
        from channelscribe.workspace import Workspace

        if ti.xcom_pull(task_ids="choose_channels", map_indexes=None) is None:
            raise AirflowFailException("No channels were chosen: see choose_channels.")
        if IN_CONTAINERS and ti.xcom_pull(task_ids="pin_image", map_indexes=None) is None:
            raise AirflowFailException("There is no image for the stages: see pin_image.")
        with expected_errors(ti):
            listed = [Video.model_validate(video) for poll in polls for video in poll]
            with closing(connect(archive_dsn(SETTINGS))) as connection:
                record_ingest_run(connection, run_id, "running", params=dict(params))
                loaded = set() if params["force"] else loaded_video_ids(connection)
            chosen = selection.select_videos(
                listed,
                loaded,
                limit=params["limit"],
                newest_first=params["newest_first"],
                since=_day(params["since"]),
            )[:MAX_VIDEOS]
            for video in chosen:
                Workspace(SETTINGS.data_dir).write_video(video)
        ti.xcom_push("n_listed", len(listed))
        logger.info("%d videos listed, %d to ingest", len(listed), len(chosen))
        return batches.build(chosen, get_profile(params["profile"]), SETTINGS)

    def stage(name: str, video_ids: list[str], operator=ProcessStageOperator, **arguments):
        """One stage of a batch. Slots and time limit are those of the default profile: they can't be templates."""
        return operator(
            task_id=name,
            stage=name,
            video_ids=video_ids,
            profile="{{ params.profile }}",
            force="{{ params.force }}",
            map_index_template="{{ batch_title(task.video_ids) }}",
            execution_timeout=timedelta(minutes=PROFILE.stages[name].hard_limit_min),
            # A stage goes on with the videos that the one before did not fail for, and is skipped if there are none.
            # Not a rule that one success satisfies: Airflow 3.3 then waits for a stage to end in all the batches before
            # it maps the next one.
            trigger_rule="all_done",
            **arguments,
        )

    def model_stage(name: str, video_ids: list[str]):
        """A stage that takes the device's memory."""
        # Retries that outlast the restart of an engine.
        on_device = {"pool": VRAM_POOL, "pool_slots": PROFILE.stages[name].memory_gib}
        on_device |= {"retries": 2, "retry_exponential_backoff": 2}
        if IN_CONTAINERS:
            from channelscribe_airflow.docker_operator import DockerStageOperator

            image = "{{ ti.xcom_pull(task_ids='pin_image', map_indexes=-1) }}"
            return stage(name, video_ids, DockerStageOperator, image=image, **on_device)
        return stage(name, video_ids, **on_device)

    @task(map_index_template="{{ batch_title(task.op_kwargs.video_ids) }}", trigger_rule="all_done", retries=2)
    def load(video_ids: list[str], params=None, run_id=None) -> None:
        """The videos' results into the archive, each in one transaction."""
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.loader import load_video
        from channelscribe.workspace import Workspace
        from channelscribe_airflow.stage_task import each_video

        workspace, profile = Workspace(SETTINGS.data_dir), get_profile(params["profile"])

        def load_one(video_id: str) -> None:
            with closing(connect(archive_dsn(SETTINGS))) as connection:
                load_video(connection, workspace, video_id, profile, run_id)

        with expected_errors():
            each_video("load", video_ids, load_one)

    @task_group
    def ingest_video(video_ids: list[str]) -> None:
        """A batch of videos, from their audio to the archive."""
        (
            stage("fetch_audio", video_ids, **network)
            >> model_stage("diarize", video_ids)
            >> model_stage("transcribe", video_ids)
            >> model_stage("identify_speakers", video_ids)
            >> model_stage("embed_text", video_ids)
            >> load(video_ids=video_ids)
        )

    @task(trigger_rule="all_done", retries=0)
    def report_run(params=None, dag_run=None, ti=None) -> None:
        """What was loaded, what failed and why, and where the time went. Fails if anything did."""
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.queries import record_ingest_run
        from channelscribe_airflow.ingest_report import report_on_run

        report = report_on_run(ti, dag_run, get_profile(params["profile"]))
        for line in report.to_markdown().splitlines():
            logger.info("%s", line)
        with expected_errors(), closing(connect(archive_dsn(SETTINGS))) as connection:
            record_ingest_run(connection, ti.run_id, "success" if report.ok else "failed", counts=report.counts)
        if not report.ok:
            raise AirflowFailException(report.summary)

    def _day(text: str | None) -> date | None:
        return date.fromisoformat(text) if text else None

    selected = select_videos(poll_channels.expand(channel=choose_channels()))
    if IN_CONTAINERS:
        pin_image() >> selected
    ingest_video.expand(video_ids=selected) >> report_run()

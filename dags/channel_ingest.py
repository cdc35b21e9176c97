"""# channel_ingest

Takes channels to searchable text: who said what, and when.

**What it does.** Once a day it polls the channels, chooses the videos that the archive does not have yet, and takes
them, a batch at each index of the mapped group `ingest_video`, through `fetch_audio`, `diarize`, `transcribe`,
`identify_speakers`, `embed_text` and `load`. Finished videos load while others are still at work. `discover_speakers`
looks for unknown voices that speak in several videos. `report_run` says what was loaded, what failed and why, and where
the time went. A run that finds nothing new is green and says so.

A batch is one video, so that the first is searchable soon; where starting a container for each would cost too much, it
is more (the setting `CHANNELSCRIBE_BATCH_MINUTES`). With `CHANNELSCRIBE_RUNTIME=docker` the stages run in containers of
one image, which `pin_image` fixes for the whole run, retries included; otherwise as child processes.

`transcribe` comes after `diarize`, not beside it: a recogniser that is handed regions which never cross a change of
speaker gives every word to one voice, invents nothing on silence, and needs no detector of its own.

## Params

| param | meaning |
| --- | --- |
| `channels` | URLs (channels, playlists, podcast feeds...), or @handles or ids of YouTube; if empty, all followed |
| `limit` | new videos taken of each channel |
| `newest_first` | take the newest; the oldest if false |
| `since` | leave out what was published before this day (UTC) |

What is left empty of the last three is up to each channel's options (`channelscribe channels`, channels.yaml).

| param | meaning |
| --- | --- |
| `profile` | which engine and model does each stage |
| `force` | redo stages and load although the results are there |

For example, in the trigger form or as `conf` of `POST /api/v2/dags/channel_ingest/dagRuns`:

    {"channels": ["https://www.youtube.com/@handle"], "limit": 5, "since": "2026-01-31"}

Unknown names and bad values are refused before anything is downloaded.

## A re-run

Redoes only what is missing. Every stage keeps its result under a fingerprint of its model, its parameters and its
inputs, and finds it there. Videos in the archive are not selected again, unless `force` is set; loading twice changes
nothing. To redo stages of what is archived without fetching it again, there is the DAG `reprocess`. A video that a run
of another DAG is at work on is left out.

## When it is slow

A stage that takes longer than it should for so much audio, and a run that still goes after
`CHANNELSCRIBE_ALERT_RUN_MINUTES`, are told of while they go on, with the likely cause; what failed is told of after the
run. docs/alerts.md says how to be told, and what each alert means.

## When it fails

The log of `report_run` names every failed video and channel with the reason; the table below says what each means.
One bad video fails alone: the stage that failed is red at its index, and what follows goes on with the rest of the
batch. Correct the cause and clear the red task with what follows it: nothing is done twice. Network faults have been
retried already; bad input never is.
"""

import logging
from contextlib import closing
from datetime import date, timedelta

from airflow.sdk import (
    DAG,
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    task,
)

from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow import params as params_of
from channelscribe_airflow.deadline import run_is_late
from channelscribe_airflow.outcomes import expected_errors
from channelscribe_airflow.runbook import with_runbook
from channelscribe_airflow.video_tasks import (
    MAX_VIDEOS,
    NETWORK,
    VIDEO_DAG,
    discover_speakers,
    in_containers,
    ingest_video,
    pin_image,
)

SETTINGS = get_settings()
PROFILE = get_profile(SETTINGS.profile)

logger = logging.getLogger(__name__)

params = {
    "channels": params_of.channels("all that are followed and not paused."),
    "limit": params_of.limit(
        f"New videos taken of each channel. Empty: as its options say, or else {SETTINGS.limit}.", MAX_VIDEOS
    ),
    "newest_first": Param(
        None,
        type=["null", "boolean"],
        title="Newest first",
        description="On: the newest videos; on and off again: the oldest. Left alone: what the channel's options say.",
    ),
    "since": params_of.day(
        "Since", "Leave out what was published before this day (UTC). Empty: what the channel's options say."
    ),
    "profile": params_of.profile(SETTINGS.profile),
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
    doc_md=with_runbook(__doc__),
    # A run_immediately of zero seconds, not False: False means "if the last moment was not long ago" to Airflow 3.3,
    # and un-pausing the DAG at six in the morning would start the run of four o'clock, unasked.
    schedule=CronTriggerTimetable(SETTINGS.schedule, timezone="UTC", run_immediately=timedelta(0)),
    is_paused_upon_creation=True,
    params=params,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=SETTINGS.alert_run_minutes),
        callback=AsyncCallback(run_is_late),
    ),
    **VIDEO_DAG,
) as dag:

    @task(retries=0)
    def choose_channels(params=None, dag_run=None, ti=None) -> list[str]:
        """The channels to poll, each once, as URLs."""
        from channelscribe.pools import require_reserved
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.ingest_plan import channels_to_poll
        from channelscribe_airflow.conf import refuse_unknown

        with expected_errors(ti):
            refuse_unknown(dag_run.conf or {}, dag.params)
            require_reserved(get_profile(params["profile"]), PROFILE)
            with closing(connect(archive_dsn(SETTINGS))) as connection:
                return channels_to_poll(connection, SETTINGS, params["channels"])

    # The first poll of a channel reads all of its pages, with a pause before each.
    @task(map_index_template="{{ task.op_kwargs.channel[:200] }}", execution_timeout=timedelta(hours=1), **NETWORK)
    def poll_channels(channel: str, params=None, ti=None) -> None:
        """What one channel lists, into the archive: all of it once, then what is new."""
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.ingest_plan import poll_into_archive

        with expected_errors(ti), closing(connect(archive_dsn(SETTINGS))) as connection:
            logger.info("%d new items", poll_into_archive(connection, channel, _request(params)))

    # Goes on with the channels that could be polled; the report names the others.
    @task(trigger_rule="all_done")
    def select_videos(ti=None, params=None, dag_run=None) -> list[list[str]]:
        """The ids of the videos to ingest, in batches, recorded in the workspace."""
        from channelscribe_airflow.selection import select_new_videos

        with expected_errors(ti):
            return select_new_videos(ti, dag_run, params, _request(params), get_profile(params["profile"]))

    @task(trigger_rule="all_done", retries=0)
    def report_run(params=None, dag_run=None, ti=None) -> None:
        """What was loaded, what failed and why, and where the time went. Fails if anything did."""
        from channelscribe_airflow.ingest_report import conclude_run

        conclude_run(ti, dag_run, get_profile(params["profile"]))

    def _request(params):
        from channelscribe.store.ingest_plan import Request

        since = date.fromisoformat(params["since"]) if params["since"] else None
        return Request(params["limit"], params["newest_first"], since, params["force"])

    selected = select_videos()
    poll_channels.expand(channel=choose_channels()) >> selected
    if in_containers():
        pin_image() >> selected
    videos = ingest_video("{{ params.profile }}", dict.fromkeys(STAGES, "{{ params.force }}"))
    done, report = videos.expand(video_ids=selected), report_run()
    done >> discover_speakers("{{ params.profile }}") >> report
    done >> report

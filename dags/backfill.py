"""# backfill

Takes whole channels to searchable text, oldest video first, some every day.

**What it does.** Once a day it takes, of each channel with the option `backfill`, as many of the oldest videos as the
option says that the archive does not have yet: through the same tasks as `channel_ingest`, at the pace that the
settings for downloads allow. The channel's other options hold here, too. A channel that was never listed to its end is
listed first. `report_run` says of each channel how many videos remain, and for about how many days; when none does it
says so, and the option can go.

It keeps no state of its own: what is left to do is what the archive does not have. So it can be stopped at any time and
goes on where it was. Beside `channel_ingest`, no video is taken by both at once: what a run works on, others leave out.

## Pausing

The DAG's own switch is the pause. It is off at first, as Airflow shows it. Switched off in the middle of a run, tasks
that run come to their end, and the others wait; switched on again, the run goes on. A run that is triggered while the
DAG is paused waits, too.

## Params

| param | meaning |
| --- | --- |
| `channels` | URLs, or @handles or ids of YouTube; if empty, all followed channels with the option `backfill` |
| `limit` | videos of each channel in this run; if empty, as the option `backfill` says |

For example, 50 videos now of a channel that need not be followed:

    {"channels": ["https://www.youtube.com/@handle"], "limit": 50}

## A re-run

Takes the next ones.

## When it fails

As with `channel_ingest`: the log of `report_run` names every failed video and channel with the reason, and
the table below says what each means. What failed and may work later is taken again by the next run; after three
times in a row, for a week, after all others. What can't be had is left out.
"""

import logging
from contextlib import closing
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task

from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow import params as params_of
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

NO_CHANNEL = (
    "No channel asks for a backfill: `channelscribe channels add CHANNEL --backfill 5` does, or `backfill` in "
    "channels.yaml; or give `channels` when triggering."
)

logger = logging.getLogger(__name__)

params = {
    "channels": params_of.channels("all followed with the option `backfill`."),
    "limit": params_of.limit(
        f"Videos taken of each channel. Empty: as its option `backfill` says, or else {SETTINGS.limit}.", MAX_VIDEOS
    ),
}

with DAG(
    "backfill",
    description="Takes whole channels to the archive, oldest video first, some every day.",
    doc_md=with_runbook(__doc__),
    # Half a day after the daily run's default, so that new videos are through by then.
    schedule=CronTriggerTimetable("0 16 * * *", timezone="UTC", run_immediately=timedelta(0)),
    is_paused_upon_creation=True,
    params=params,
    **VIDEO_DAG,
) as dag:

    @task(retries=0)
    def choose_channels(params=None, dag_run=None, ti=None) -> list[str]:
        """The channels to backfill, each once, as URLs."""
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.ingest_plan import channels_to_backfill
        from channelscribe_airflow.conf import refuse_unknown

        with expected_errors(ti):
            refuse_unknown(dag_run.conf or {}, dag.params)
            with closing(connect(archive_dsn(SETTINGS))) as connection:
                return channels_to_backfill(connection, params["channels"])

    @task(map_index_template="{{ task.op_kwargs.channel[:200] }}", execution_timeout=timedelta(hours=1), **NETWORK)
    def poll_channels(channel: str, ti=None) -> None:
        """All that a channel lists, into the archive, unless it is there: what is new since is for the daily run."""
        from channelscribe.store.channels import get_channel
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.ingest_plan import Request, poll_into_archive

        with expected_errors(ti), closing(connect(archive_dsn(SETTINGS))) as connection:
            if get_channel(connection, channel).polled_to_end:
                logger.info("It was listed to its end: not asked again.")
            else:
                logger.info("%d new items", poll_into_archive(connection, channel, Request()))

    # Goes on with the channels that could be polled; the report names the others.
    @task(trigger_rule="all_done")
    def select_videos(ti=None, params=None, dag_run=None) -> list[list[str]]:
        """The ids of the oldest videos that the archive does not have, in batches, recorded in the workspace."""
        from channelscribe.store.ingest_plan import Request
        from channelscribe_airflow.selection import select_new_videos

        with expected_errors(ti):
            request = Request(limit=params["limit"], newest_first=False, backfill=True)
            return select_new_videos(ti, dag_run, params, request, PROFILE)

    @task(trigger_rule="all_done", retries=0)
    def report_run(dag_run=None, ti=None) -> None:
        """What was loaded, what remains, what failed and why. Fails if anything did."""
        from channelscribe_airflow.ingest_report import conclude_run, log_outlook

        log_outlook(ti)
        channels = ti.xcom_pull(task_ids="choose_channels", map_indexes=None)
        conclude_run(ti, dag_run, PROFILE, nothing=NO_CHANNEL if channels == [] else None)

    selected = select_videos()
    poll_channels.expand(channel=choose_channels()) >> selected
    if in_containers():
        pin_image() >> selected
    done, report = ingest_video(SETTINGS.profile, dict.fromkeys(STAGES, False)).expand(video_ids=selected), report_run()
    done >> discover_speakers(SETTINGS.profile) >> report
    done >> report

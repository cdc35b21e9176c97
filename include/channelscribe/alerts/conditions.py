"""What is wrong after a run, or at any time: videos and polls that failed, silent channels, a full disk, a backlog.

Each is told once, and again only after it was over.
"""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from channelscribe.alerts.alert import Alert
from channelscribe.settings import Settings
from channelscribe.store.claims import IsAtWork
from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.ingest_plan import channels_to_poll
from channelscribe.store.runs.alerts import end_slow_run, raise_alerts, settle, slow_runs
from channelscribe.telemetry.report import RunReport
from channelscribe.workspace import now

# Room for downloads that is too little to go on for long, in GiB.
LOW_ROOM_GIB = 5.0
# Runs in which the backlog grew, before anybody is told.
GROWING_RUNS = 3


def raise_run_alerts(connection: Connection, settings: Settings, run_id: str, report: RunReport, link: str) -> int:
    """Record what a run found wrong, and what it found to be over; returns how many alerts are new.

    Args:
        connection: to the archive, which has the run's counts already.
        settings: the targets and limits.
        run_id: the DAG and its run, as the archive knows it.
        report: its report.
        link: its page.
    """
    targets = settings.alert_targets
    failed = [
        Alert(
            "video_failed", video.video_id, f"{video.title} failed", (f"{video.stage}: {video.reason}",), link, run_id
        )
        for video in report.failed
    ]
    polls = [
        Alert("poll_failed", channel, f"{channel} could not be polled", (reason,), link, run_id)
        for channel, reason in report.failed_channels.items()
    ]
    silent = silent_channels(connection, settings, run_id, link)
    seen = {*report.loaded, *(alert.subject for alert in failed)}
    return (
        settle(connection, "video_failed", failed, targets, seen)
        + settle(connection, "poll_failed", polls, targets, _polled_or_left(connection, settings))
        + settle(connection, "channel_silent", silent, targets, _judged_for_silence(connection))
        + settle(connection, "backlog_growing", growing_backlog(connection, run_id, link), targets, None)
        + raise_disk_alert(connection, settings, link)
    )


def raise_failed_run(connection: Connection, settings: Settings, run_id: str, reason: str, link: str) -> int:
    """Record that a run ended before it had any video."""
    alert = failed_run(run_id, "A run failed before it had any video", reason, link)
    return raise_alerts(connection, [alert], settings.alert_targets)


def failed_run(run_id: str, title: str, reason: str, link: str) -> Alert:
    """The alert of a run that failed just now. It may be told hours later, and so says when that was."""
    at = f"The run {run_id} failed on {now():%Y-%m-%d at %H:%M} UTC."
    return Alert("run_failed", run_id, title, (at, reason), link, run_id)


def end_slow_runs(connection: Connection, is_at_work: IsAtWork) -> None:
    """Record of what is on record as late or slow that it is over, where its run is, whichever way that ended."""
    for run_id in slow_runs(connection):
        dag_id, _, airflows_id = run_id.partition("/")
        if not is_at_work(dag_id, airflows_id):
            end_slow_run(connection, run_id)


def raise_disk_alert(connection: Connection, settings: Settings, link: str = "") -> int:
    """Record which disks are nearly full, and that others no longer are."""
    return settle(connection, "disk_low", full_disks(settings, link), settings.alert_targets, None)


def full_disks(settings: Settings, link: str) -> list[Alert]:
    """The alerts of disks with little room: that of the data root, and the embedded Postgres's, if that is another."""
    data, database = settings.data_dir, settings.postgres_dir
    must_leave = f"downloads must leave {settings.min_free_gib:g} GiB free"
    found = _full_disk(data, settings.min_free_gib, f"{must_leave}. {_larger('CHANNELSCRIBE_DATA_ROOT')}", link)
    if _device(database) not in (None, _device(data)):
        found += _full_disk(database, 0.0, f"the embedded Postgres is there. {_larger('CHANNELSCRIBE_HOME')}", link)
    return found


def _full_disk(folder: Path, must_leave_gib: float, rest: str, link: str) -> list[Alert]:
    try:
        free_gib = shutil.disk_usage(folder).free / 2**30
    except OSError:  # nothing was written there yet
        return []
    if free_gib >= must_leave_gib + LOW_ROOM_GIB:
        return []
    left = f"{free_gib:.1f} GiB are left"
    said = f"The disk of {folder} has little room: {left}, and {rest}"
    return [Alert("disk_low", str(folder), f"The disk is nearly full: {left}", (said,), link)]


def _larger(setting: str) -> str:
    return f"Free some space, or set {setting} to a larger disk."


def _device(folder: Path) -> int | None:
    """The disk that a folder is on, by the system's number; None where there is no folder."""
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def silent_channels(connection: Connection, settings: Settings, run_id: str, link: str) -> list[Alert]:
    """The alerts of followed channels in which nothing new has come for days, by their dates or else by the polls."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.url, c.title, greatest(
                max(l.published_at) FILTER (WHERE l.published_at <= now()),
                max(l.listed_at) FILTER (WHERE l.published_at IS NULL)
            )
            FROM channels c JOIN channel_items USING (channel_id) JOIN listed_videos l USING (video_id)
            WHERE c.followed AND NOT c.paused AND c.poll_failure IS NULL
            GROUP BY c.channel_id ORDER BY c.url
            """
        )
        channels: list[tuple[str, str, datetime | None]] = cursor.fetchall()
    limit = now() - timedelta(days=settings.alert_silent_days)
    return [
        Alert(
            "channel_silent",
            url,
            f"{title} has had nothing new since {last:%Y-%m-%d}",
            (f"{url}: `channelscribe channels pause` leaves it out, if it is no more.",),
            link,
            run_id,
        )
        for url, title, last in channels
        if last is not None and last < limit
    ]


def _polled_or_left(connection: Connection, settings: Settings) -> list[str]:
    """The channels that were polled well since it was recorded that they could not be, and those nobody polls any more.

    Not those that a run was to poll: a backfill does not ask a channel again that was listed to its end.
    """
    polled = list(channels_to_poll(connection, settings, ()))
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT subject FROM alerts LEFT JOIN channels ON url = subject WHERE kind = 'poll_failed' "
            "AND ended_at IS NULL AND (polled_at > raised_at OR NOT (subject = ANY(%s) OR coalesce(paused, false)))",
            (polled,),
        )
        return [row[0] for row in cursor]


def _judged_for_silence(connection: Connection) -> list[str]:
    """The channels on record as silent of which it is known whether they still are: the last poll of them went well.

    What nobody follows any more is not silent either.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT subject FROM alerts WHERE kind = 'channel_silent' AND ended_at IS NULL AND NOT EXISTS ("
            "SELECT FROM channels WHERE url = subject AND followed AND NOT paused AND poll_failure IS NOT NULL)"
        )
        return [row[0] for row in cursor]


def growing_backlog(connection: Connection, run_id: str, link: str) -> list[Alert]:
    """The alert of a backlog that grew in each of the last runs over all that is followed."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce((counts->>'waiting')::int, 0) - coalesce((counts->>'held')::int, 0) FROM ingest_runs "
            "WHERE finished_at IS NOT NULL AND counts ? 'waiting' "
            "AND coalesce(params->'channels', '[]') = '[]'::jsonb AND run_id !~ '^(backfill|reprocess)/' "
            "ORDER BY started_at DESC LIMIT %s",
            (GROWING_RUNS + 1,),
        )
        waiting = [row[0] for row in cursor][::-1]
    if not grows(waiting):
        return []
    counts = ", ".join(map(str, waiting))
    return [
        Alert(
            "backlog_growing",
            "",
            f"The GPU falls behind: {waiting[-1]} videos wait",
            (
                f"More videos come than are ingested: after the last runs {counts} were left over. Raise the limit of "
                "the channels (`channelscribe channels`, CHANNELSCRIBE_LIMIT) if runs are short, or run more often "
                "(CHANNELSCRIBE_SCHEDULE); else give it another GPU, or follow less.",
            ),
            link,
            run_id,
        )
    ]


def grows(waiting: Sequence[int]) -> bool:
    """Whether each of enough runs left more over than the one before it."""
    recent = waiting[-(GROWING_RUNS + 1) :]
    return len(recent) > GROWING_RUNS and all(a < b for a, b in pairwise(recent))

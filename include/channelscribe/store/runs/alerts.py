"""The record of alerts: what is wrong, once for as long as it goes on, and who was told when."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from channelscribe.alerts.alert import Alert, Kind
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.staging import clean

# What could not be told for longer is no news.
GIVE_UP_AFTER_DAYS = 3
# Above what one target may take to answer for all that waits for it.
_LOCK_TIMEOUT_S = 60

_WAITING = """
SELECT a.alert_id, a.kind, a.subject, a.title, a.lines, a.link, a.run_id
FROM alert_deliveries d JOIN alerts a USING (alert_id)
WHERE d.target = %(target)s AND d.delivered_at IS NULL AND a.ended_at IS NULL
  AND a.raised_at > now() - make_interval(days => %(days)s)
  AND NOT EXISTS (
      SELECT FROM alert_deliveries told JOIN alerts same USING (alert_id)
      WHERE told.target = d.target AND told.delivered_at IS NOT NULL AND same.kind = a.kind AND same.run_id = a.run_id
  )
ORDER BY a.kind, a.run_id, a.raised_at, a.alert_id
"""

# What goes on no longer than its run.
_SLOW = "kind IN ('run_late', 'stage_slow') AND ended_at IS NULL"


@dataclass(frozen=True)
class RecordedAlert:
    """An alert and what became of it.

    Args:
        alert: as it was raised.
        raised_at: when.
        ended_at: when it was found to be over; None if it never was.
        told: when each target got it.
        untold: why each of the others has not, or an empty text where nobody tried.
    """

    alert: Alert
    raised_at: datetime
    ended_at: datetime | None
    told: dict[str, datetime]
    untold: dict[str, str]


def raise_alerts(connection: Connection, alerts: Iterable[Alert], targets: Sequence[str]) -> int:
    """Record alerts for the targets, in one transaction; returns how many are new: what goes on already is not."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        return sum(_raise(cursor, alert, targets) for alert in alerts)


def settle(
    connection: Connection, kind: Kind, alerts: Sequence[Alert], targets: Sequence[str], among: Collection[str] | None
) -> int:
    """Record what is wrong of one kind now, and that the rest is over; returns how many alerts are new.

    Args:
        connection: to the archive.
        kind: of all the alerts.
        alerts: what is wrong.
        targets: who is to be told.
        among: the subjects that were looked at; None for all that there may be.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE alerts SET ended_at = now() WHERE kind = %(kind)s AND ended_at IS NULL "
            "AND subject <> ALL(%(wrong)s) AND (%(among)s IS NULL OR subject = ANY(%(among)s::text[]))",
            {
                "kind": kind, "wrong": [clean(alert.subject) for alert in alerts],
                "among": None if among is None else list(among),
            },
        )  # fmt: skip
        return sum(_raise(cursor, alert, targets) for alert in alerts)


def slow_runs(connection: Connection) -> list[str]:
    """The runs, as the archive knows them, that are on record as late or as being at work on a slow stage."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT run_id FROM alerts WHERE {_SLOW} AND run_id IS NOT NULL"  # noqa: S608 - a constant
        )
        return [row[0] for row in cursor]


def end_slow_run(connection: Connection, run_id: str) -> None:
    """Record that a run is over: neither it nor a stage of it goes on any more."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE alerts SET ended_at = now() WHERE {_SLOW} AND run_id = %s", (run_id,))  # noqa: S608 - a constant


def tell(connection: Connection, target: str, send: Callable[[Sequence[Alert]], str | None]) -> int:
    """Send a target what waits for it, a message for each kind and run, and record how that went.

    While this goes on nobody else sends it anything, so that nothing is told twice. What a message says goes for the
    whole run: alerts of its kind that are raised in the run afterwards are recorded, and not sent.

    Args:
        connection: to the archive.
        target: name of the target.
        send: sends alerts of one kind and run as one message; returns why it could not, or None.

    Returns:
        How many messages were sent. After the first that was not, the others wait for the next time.

    Raises:
        TryAgainError: somebody else is sending it messages, and does not get done.
    """
    key = f"channelscribe alerts {target}"
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'")
        # Of the session, not of the transaction: each message is recorded as soon as it is sent.
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        cursor.execute(_WAITING, {"target": target, "days": GIVE_UP_AFTER_DAYS})
        waiting = [(row[0], _alert(row)) for row in cursor]
    try:
        return _send_groups(connection, target, waiting, send)
    finally:
        with errors_in_words(), connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))


def recent_alerts(connection: Connection, limit: int) -> list[RecordedAlert]:
    """The alerts that were raised last, the newest first, and who was told."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT alert_id, kind, subject, title, lines, link, run_id, raised_at, ended_at FROM alerts "
            "ORDER BY raised_at DESC, alert_id DESC LIMIT %s",
            (limit,),
        )
        rows = cursor.fetchall()
        cursor.execute(
            "SELECT alert_id, target, delivered_at, failure FROM alert_deliveries WHERE alert_id = ANY(%s) "
            "ORDER BY target",
            ([row[0] for row in rows],),
        )
        deliveries = cursor.fetchall()
    return [
        RecordedAlert(
            alert=_alert(row),
            raised_at=row[7],
            ended_at=row[8],
            told={target: at for alert_id, target, at, _ in deliveries if alert_id == row[0] and at},
            untold={target: why or "" for alert_id, target, at, why in deliveries if alert_id == row[0] and not at},
        )
        for row in rows
    ]


def _send_groups(
    connection: Connection,
    target: str,
    waiting: Sequence[tuple[int, Alert]],
    send: Callable[[Sequence[Alert]], str | None],
) -> int:
    n_sent = 0
    for _, group in groupby(waiting, key=lambda pair: (pair[1].kind, pair[1].run_id)):
        ids, alerts = zip(*group, strict=True)
        failure = send(alerts)
        with errors_in_words(), connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE alert_deliveries SET tried_at = now(), failure = %(failure)s, "
                "delivered_at = CASE WHEN %(failure)s IS NULL THEN now() END "
                "WHERE target = %(target)s AND alert_id = ANY(%(ids)s)",
                {"failure": None if failure is None else clean(failure), "target": target, "ids": list(ids)},
            )
        if failure is not None:
            break
        n_sent += 1
    return n_sent


def _alert(row: tuple[Any, ...]) -> Alert:
    kind, subject, title, lines, link, run_id = row[1:7]
    return Alert(kind, subject, title, tuple(lines), link, run_id)


def _raise(cursor: Cursor, alert: Alert, targets: Sequence[str]) -> bool:
    cursor.execute(
        "INSERT INTO alerts (kind, subject, run_id, title, lines, link) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (kind, subject) WHERE ended_at IS NULL DO NOTHING RETURNING alert_id",
        (
            alert.kind, clean(alert.subject), alert.run_id, clean(alert.title), [clean(line) for line in alert.lines],
            alert.link,
        ),
    )  # fmt: skip
    row = cursor.fetchone()
    if row:
        for target in dict.fromkeys(targets):
            cursor.execute("INSERT INTO alert_deliveries (alert_id, target) VALUES (%s, %s)", (row[0], target))
    return row is not None

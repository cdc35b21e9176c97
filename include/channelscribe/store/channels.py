"""The channels that are followed, and how their polls went."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg2.extras import Json

from channelscribe.channels.options import ChannelOptions
from channelscribe.channels.patience import FIRST, MOST
from channelscribe.channels.source import SiteNames
from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.staging import clean


@dataclass(frozen=True)
class Channel:
    """A channel of the archive."""

    url: str
    title: str
    followed: bool
    paused: bool
    in_file: bool
    options: ChannelOptions
    polled_at: datetime | None
    polled_to_end: bool
    poll_failure: str | None
    not_before: datetime | None
    n_listed: int = 0
    n_loaded: int = 0
    n_unavailable: int = 0

    @property
    def waits(self) -> bool:
        """Its site asked for patience, and the time is not over."""
        return self.not_before is not None and self.not_before > datetime.now(UTC)


# The file may be gone, which nothing here can know.
_WITHOUT_FILE = "if there is no such file any more, `channelscribe channels sync` frees it."
_COLUMNS = (
    "c.url, c.title, c.followed, c.paused, c.in_file, c.options, c.polled_at, c.polled_to_end, c.poll_failure, "
    "c.poll_not_before"
)


def follow(connection: Connection, url: str, options: ChannelOptions) -> bool:
    """Follow a channel, or change the options of one; returns whether it is new.

    Raises:
        BadInputError: channels.yaml has it, and says what its options are.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT followed, in_file FROM channels WHERE url = %s", (url,))
        before = cursor.fetchone()
        if before and before[1]:
            raise BadInputError(f"{url} stands in channels.yaml: change it there; {_WITHOUT_FILE}")
        _put(cursor, url, options, in_file=False)
        return not (before and before[0])


def set_paused(connection: Connection, url: str, *, paused: bool) -> None:
    """Leave a followed channel out of the daily run, or take it in again.

    Raises:
        BadInputError: it is not followed.
    """
    _change(connection, url, "paused = %(value)s", paused)


def unfollow(connection: Connection, url: str) -> None:
    """Follow a channel no more. What was loaded of it stays.

    Raises:
        BadInputError: it is not followed, or channels.yaml has it.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM channels WHERE url = %s AND in_file", (url,))
        if cursor.fetchone():
            raise BadInputError(f"{url} stands in channels.yaml: remove it there; {_WITHOUT_FILE}")
    _change(connection, url, "followed = %(value)s, paused = false, options = '{}'", False)


def sync_file(connection: Connection, channels: Mapping[str, ChannelOptions]) -> list[str]:
    """Make the channels of the file followed, with its options, and unfollow those that it no longer has.

    Returns:
        The URLs of the latter.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        for url, options in channels.items():
            _put(cursor, url, options, in_file=True)
        cursor.execute(
            "UPDATE channels SET followed = false, in_file = false, options = '{}' WHERE in_file AND url <> ALL(%s) "
            "RETURNING url",
            (list(channels),),
        )
        return sorted(row[0] for row in cursor)


def free_from_file(connection: Connection) -> list[str]:
    """Let the channels of a file that is gone be changed one by one; they stay followed, with their options.

    Returns:
        Their URLs.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("UPDATE channels SET in_file = false WHERE in_file RETURNING url")
        return sorted(row[0] for row in cursor)


def list_channels(connection: Connection) -> list[Channel]:
    """All channels that are followed, by title."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS}, count(l.video_id), count(v.video_id), "  # noqa: S608 - constants
            "count(l.video_id) FILTER (WHERE l.availability <> 'public') FROM channels c "
            "LEFT JOIN channel_items i USING (channel_id) LEFT JOIN listed_videos l ON l.video_id = i.video_id "
            "LEFT JOIN videos v ON v.video_id = i.video_id "
            "WHERE c.followed GROUP BY c.channel_id ORDER BY lower(c.title), c.url"
        )
        return [_channel(row) for row in cursor]


def get_channel(connection: Connection, url: str) -> Channel:
    """One channel; one that the archive has never heard of has no options, and was never polled."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM channels c WHERE c.url = %s", (url,))  # noqa: S608 - constants
        row = cursor.fetchone()
    return _channel(row) if row else _channel((url, url, False, False, False, {}, None, False, None, None))


def require_one_name(connection: Connection, url: str, names: SiteNames) -> None:
    """Refuse to poll a channel that is followed by another name: all of it would be listed twice.

    Of several that are followed, the one that the archive has known longest is polled. A site has more names for a
    channel than it tells: those that were polled before are known by the channel's id, which is kept with each.

    Args:
        connection: to the archive.
        url: canonical URL.
        names: how the site knows the channel.

    Raises:
        BadInputError: it is followed by another name.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        given = {"url": url, "id": names.channel_id, "others": list(names.others)}
        cursor.execute(
            "UPDATE channels SET site_channel_id = coalesce(%(id)s, site_channel_id) WHERE url = %(url)s", given
        )
        # An id is that of all tabs, and another tab is another channel: the end of the URL.
        cursor.execute(
            "SELECT o.url FROM channels o LEFT JOIN channels c ON c.url = %(url)s AND c.followed "
            "WHERE o.followed AND (c.channel_id IS NULL OR o.channel_id < c.channel_id) "
            "AND (o.url = ANY(%(others)s) OR o.url <> %(url)s AND o.site_channel_id = %(id)s "
            "AND substring(o.url FROM '[^/]*$') = substring(%(url)s FROM '[^/]*$')) "
            "ORDER BY o.channel_id LIMIT 1",
            given,
        )
        if row := cursor.fetchone():
            raise BadInputError(f"{url} is followed as {row[0]} already: name it so, and remove the other.")


def record_failed_poll(connection: Connection, url: str, reason: str, *, rate_limited: bool) -> None:
    """Keep why a poll failed. Where the site asked for patience, the channel waits: an hour, then twice as long.

    A download that the site answered with that counts as a poll.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels AS c (url, title, poll_failure, n_refusals, poll_not_before) "
            "VALUES (%(url)s, %(url)s, %(reason)s, %(limited)s::int, CASE WHEN %(limited)s THEN now() + %(first)s END) "
            "ON CONFLICT (url) DO UPDATE SET poll_failure = excluded.poll_failure, "
            "n_refusals = c.n_refusals + %(limited)s::int, poll_not_before = CASE WHEN %(limited)s "
            "THEN now() + least(%(first)s * power(2, least(c.n_refusals, 10)), %(most)s) END",
            {
                "url": url, "reason": clean(reason), "limited": rate_limited,
                "first": FIRST, "most": MOST,
            },
        )  # fmt: skip


def _put(cursor: Cursor, url: str, options: ChannelOptions, *, in_file: bool) -> None:
    cursor.execute(
        "INSERT INTO channels (url, title, followed, in_file, options) "
        "VALUES (%(url)s, %(url)s, true, %(file)s, %(o)s) "
        "ON CONFLICT (url) DO UPDATE SET followed = true, in_file = excluded.in_file, options = excluded.options",
        {"url": url, "file": in_file, "o": Json(options.model_dump(mode="json", exclude_defaults=True))},
    )


def _change(connection: Connection, url: str, change: str, value: bool) -> None:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE channels SET {change} WHERE url = %(url)s AND followed", {"url": url, "value": value})  # noqa: S608
        if not cursor.rowcount:
            raise BadInputError(f"{url} is not followed: `channelscribe channels list` shows those that are.")


def _channel(row: tuple[Any, ...]) -> Channel:
    values: list[Any] = list(row)
    values[5] = ChannelOptions.model_validate(values[5])
    return Channel(*values)

"""All items that the polls of channels have listed, and what the sites said of them."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from psycopg2.extras import execute_values

from channelscribe.channels.polling import Answers, Listing
from channelscribe.contracts import Availability, ListedVideo, Video
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.staging import clean

# When an item is asked for again that can't be had: what is about to come at every poll, the rest slowly.
RECHECK: Mapping[str, timedelta] = {
    "upcoming": timedelta(0),
    "live": timedelta(0),
    "private": timedelta(days=30),
    "members_only": timedelta(days=30),
    "removed": timedelta(days=90),
    "age_restricted": timedelta(days=30),
    "geo_restricted": timedelta(days=30),
    "unusable": timedelta(days=90),
}
# A loaded video that its listing no longer has is asked for, and if it is there still, again after this.
RECHECK_UNLISTED = timedelta(days=365)
# Items asked for singly in one poll: those that are due, and those without a date where one is wanted.
MAX_RECHECKS, MAX_DATE_LOOKUPS = 10, 50

_OF_CHANNEL = """
FROM channel_items i JOIN listed_videos l USING (video_id) JOIN channels c ON c.channel_id = i.channel_id
WHERE c.url = %(url)s
"""
_VIDEO = "l.video_id, l.source_id, l.url, l.title, c.url, c.title, l.published_at, l.duration_s"
_FIELDS = ("video_id", "source_id", "url", "title", "channel_url", "channel_title", "published_at", "duration_s")


def known_ids(connection: Connection, url: str) -> set[str]:
    """Items that polls of a channel have listed."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT l.video_id {_OF_CHANNEL}", {"url": url})
        return {row[0] for row in cursor}


def listed_videos(connection: Connection, url: str) -> list[ListedVideo]:
    """All items that polls of a channel have listed, newest first."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_VIDEO}, l.kind, l.availability, l.reason {_OF_CHANNEL} ORDER BY i.place DESC", {"url": url}
        )
        return [ListedVideo(video=_video(row[:8]), kind=row[8], availability=row[9], reason=row[10]) for row in cursor]


def due_for_recheck(connection: Connection, url: str) -> list[Video]:
    """Items of a channel whose time has come to be asked for again: first those that have waited longest."""
    query = f"SELECT {_VIDEO} {_OF_CHANNEL} AND l.recheck_at <= now() ORDER BY l.recheck_at, l.video_id LIMIT %(most)s"
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(query, {"url": url, "most": MAX_RECHECKS})
        return [_video(row) for row in cursor]


def without_date(connection: Connection, url: str, *, every: bool = False) -> list[Video]:
    """Items of a channel, the newest first, that were listed without a date, and not asked for one yet, nor loaded.

    As many as one poll asks for, or every one.
    """
    query = (
        f"SELECT {_VIDEO} {_OF_CHANNEL} AND l.published_at IS NULL AND NOT l.date_asked "  # noqa: S608
        "AND l.availability = 'public' AND NOT EXISTS (SELECT FROM videos v WHERE v.video_id = l.video_id) "
        "ORDER BY i.place DESC LIMIT %(most)s"
    )
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(query, {"url": url, "most": None if every else MAX_DATE_LOOKUPS})
        return [_video(row) for row in cursor]


def record_listing(connection: Connection, url: str, listing: Listing) -> int:
    """Keep what a poll listed; returns how many items are new to the channel."""
    title = next((one.video.channel_title for one in listing.listed), url)
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels AS c (url, title) VALUES (%(url)s, %(title)s) ON CONFLICT (url) DO UPDATE SET "
            "title = CASE WHEN %(has_title)s THEN excluded.title ELSE c.title END RETURNING channel_id",
            {"url": url, "title": clean(title), "has_title": bool(listing.listed)},
        )
        ((channel_id,),) = cursor.fetchall()
        n_new = _put(cursor, channel_id, listing.listed)
        # A listing says "public" for want of anything else. What a look at the item itself has found counts for more:
        # it has a reason.
        cursor.execute(
            "SELECT video_id FROM listed_videos "
            "WHERE video_id = ANY(%s) AND availability <> 'public' AND reason IS NULL",
            ([one.video.video_id for one in listing.listed],),
        )
        of_listings = {row[0] for row in cursor}
        for one in listing.listed:
            if one.availability != "public" or one.video.video_id in of_listings:
                _note(cursor, one.video.video_id, one.availability, one.reason)
        _look_for_missing(cursor, channel_id, listing)
        cursor.execute(
            "UPDATE channels SET polled_at = now(), polled_to_end = polled_to_end OR %s, n_refusals = 0, "
            "poll_failure = NULL, poll_not_before = NULL WHERE channel_id = %s",
            (listing.to_end, channel_id),
        )
        return n_new


def record_answers(connection: Connection, answers: Answers) -> None:
    """Keep what the site said of single items. Those of which nothing was found out have their turn again tomorrow."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        for one in answers.found:
            _note(cursor, one.video.video_id, one.availability, one.reason)
            cursor.execute(
                "UPDATE listed_videos SET published_at = coalesce(published_at, %s), "
                "duration_s = coalesce(%s, duration_s), date_asked = true WHERE video_id = %s",
                (one.video.published_at, one.video.duration_s, one.video.video_id),
            )
        cursor.execute(
            "UPDATE listed_videos SET date_asked = true, "
            "recheck_at = CASE WHEN recheck_at IS NOT NULL THEN now() + interval '1 day' END WHERE video_id = ANY(%s)",
            (answers.unanswered,),
        )


def record_date(cursor: Cursor, video: Video) -> None:
    """Keep when a loaded video was published: its own page says it, where its listing may have guessed."""
    if video.published_at is not None:
        cursor.execute(
            "UPDATE listed_videos SET published_at = %(at)s WHERE video_id = %(id)s "
            "AND published_at IS DISTINCT FROM %(at)s",
            {"at": video.published_at, "id": video.video_id},
        )


def note_availability(connection: Connection, found: Iterable[tuple[str, Availability, str]]) -> None:
    """Keep what became of items, as (video_id, availability, reason), where it was not a poll that asked."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        for video_id, availability, reason in found:
            _note(cursor, video_id, availability, reason)


def _put(cursor: Cursor, channel_id: int, listed: list[ListedVideo]) -> int:
    """Add the new items above those that are there, and bring what the listing says of the others up to date."""
    ids = [one.video.video_id for one in listed]
    cursor.execute("SELECT coalesce(max(place), 0) FROM channel_items WHERE channel_id = %s", (channel_id,))
    ((highest,),) = cursor.fetchall()
    cursor.execute("SELECT video_id FROM channel_items WHERE channel_id = %s AND video_id = ANY(%s)", (channel_id, ids))
    present = {row[0] for row in cursor}
    new = [video_id for video_id in ids if video_id not in present]
    rows: list[tuple[Any, ...]] = [
        (
            one.video.video_id, clean(one.video.source_id), clean(one.video.url), clean(one.video.title),
            one.video.published_at, one.video.duration_s, one.kind,
        )
        for one in sorted(listed, key=lambda one: one.video.video_id)  # two polls at once lock rows in one order
    ]  # fmt: skip
    execute_values(
        cursor,
        "INSERT INTO listed_videos AS l "
        "(video_id, source_id, url, title, published_at, duration_s, kind, availability) VALUES %s "
        "ON CONFLICT (video_id) DO UPDATE SET title = excluded.title, url = excluded.url, kind = excluded.kind, "
        "duration_s = coalesce(excluded.duration_s, l.duration_s) "
        "WHERE (l.title, l.url, l.kind, l.duration_s) IS DISTINCT FROM "
        "(excluded.title, excluded.url, excluded.kind, coalesce(excluded.duration_s, l.duration_s))",
        rows,
        template="(%s, %s, %s, %s, %s, %s, %s, 'public')",
    )
    execute_values(
        cursor,
        "INSERT INTO channel_items (channel_id, video_id, place) VALUES %s",
        [(channel_id, video_id, highest + len(new) - index) for index, video_id in enumerate(new)],
    )
    return len(new)


def _look_for_missing(cursor: Cursor, channel_id: int, listing: Listing) -> None:
    """Have the loaded videos asked for that a listing, as far as it was read, no longer has: were they removed?

    Or the channel lists its newest items alone. What is not loaded shows it when it is fetched.
    """
    ids = [one.video.video_id for one in listing.listed]
    oldest = 0
    if not listing.to_end:
        if listing.n_pages > 1:
            return  # the items of one page stand among those of another that were not read
        cursor.execute(
            "SELECT min(place) FROM channel_items WHERE channel_id = %s AND video_id = ANY(%s)", (channel_id, ids)
        )
        ((oldest,),) = cursor.fetchall()
    cursor.execute(
        "UPDATE listed_videos l SET recheck_at = now() FROM channel_items i JOIN videos v USING (video_id) "
        "WHERE i.channel_id = %s AND l.video_id = i.video_id AND l.availability = 'public' AND l.recheck_at IS NULL "
        "AND i.video_id <> ALL(%s) AND i.place > %s",
        (channel_id, ids, oldest),
    )


def _note(cursor: Cursor, video_id: str, availability: str, reason: str | None) -> None:
    cursor.execute(
        "WITH changed AS (UPDATE listed_videos l SET availability = %(a)s, reason = %(reason)s, "
        "recheck_at = now() + CASE WHEN %(a)s = 'public' AND o.availability = 'public' THEN %(unlisted)s "
        "ELSE %(recheck)s END FROM listed_videos o WHERE l.video_id = %(id)s AND o.video_id = l.video_id "
        "AND (l.availability <> %(a)s OR l.recheck_at IS NOT NULL) RETURNING l.video_id, o.availability AS was) "
        "INSERT INTO availability_changes (video_id, seen_at, availability) "
        "SELECT video_id, now(), %(a)s FROM changed WHERE was <> %(a)s ON CONFLICT DO NOTHING",
        {
            "id": video_id, "a": availability, "reason": reason and clean(reason),
            "recheck": RECHECK.get(availability), "unlisted": RECHECK_UNLISTED,
        },
    )  # fmt: skip


def _video(row: tuple[Any, ...]) -> Video:
    return Video(**dict(zip(_FIELDS, row, strict=True)))

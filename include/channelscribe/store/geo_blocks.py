"""Channels of which nothing can be had from this country: one video is tried now and then, and no more."""

from datetime import datetime, timedelta

from channelscribe.store.connection import Connection, errors_in_words

# A channel with some blocked videos among others is none of these: so of the last so many, all, and at least so many.
LAST, LEAST = 10, 3
PAUSE = timedelta(days=7)


def blocked_channels(connection: Connection) -> dict[str, datetime]:
    """When another video may be tried, by URL of each channel whose last tried videos were all refused to this country.

    What runs of the DAG `reprocess` did counts for nothing, as they fetch nothing.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT url, max(started_at) + %(pause)s FROM (
                SELECT c.url, l.availability, r.started_at,
                       row_number() OVER (PARTITION BY c.channel_id ORDER BY r.started_at DESC, v.place DESC) AS nth
                FROM run_videos v JOIN ingest_runs r USING (run_id) JOIN listed_videos l USING (video_id)
                JOIN channel_items i USING (video_id) JOIN channels c USING (channel_id)
                WHERE split_part(r.run_id, '/', 1) <> 'reprocess'
            ) tried
            WHERE nth <= %(last)s GROUP BY url
            HAVING count(*) >= %(least)s AND bool_and(availability = 'geo_restricted')
            """,
            {"pause": PAUSE, "last": LAST, "least": LEAST},
        )
        return dict(cursor.fetchall())


def says_why(until: datetime) -> str:
    """Why a channel is left alone, for people."""
    return f"held until {until:%Y-%m-%d}, as the last videos tried are not available from this country"

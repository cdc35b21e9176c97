"""One name for each channel of YouTube: rows that were named in an older form get the URL that commands go by."""

import re
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from alembic import op
from sqlalchemy import text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE channels ADD COLUMN site_channel_id text",
    "COMMENT ON COLUMN channels.site_channel_id IS "
    "'Id of a YouTube channel, as its latest poll gave it: the same in all names that the channel has.'",
    # Of several rows with one name the oldest is kept; of those that are followed it has the options of the oldest.
    # What the file says goes before that.
    """
    CREATE TEMPORARY TABLE same_channel ON COMMIT DROP AS
    SELECT channel_id, n.url, min(channel_id) OVER named AS kept_id, count(*) OVER named AS n_rows,
           first_value(channel_id) OVER (
               PARTITION BY n.url ORDER BY c.followed DESC, c.in_file DESC, channel_id
           ) AS ruling_id
    FROM channels c JOIN new_names n USING (channel_id)
    WINDOW named AS (PARTITION BY n.url)
    """,
    # What only the list of an older poll has is gone from the site since, or older than what the newer one read.
    """
    CREATE TEMPORARY TABLE merged_items ON COMMIT DROP AS
    SELECT kept_id, video_id, row_number() OVER (PARTITION BY kept_id ORDER BY age DESC, place) AS place FROM (
        SELECT DISTINCT ON (kept_id, video_id) kept_id, video_id, place, age
        FROM channel_items i JOIN (
            SELECT channel_id, kept_id, n_rows, row_number() OVER (
                PARTITION BY kept_id ORDER BY polled_at DESC NULLS LAST, channel_id
            ) AS age
            FROM same_channel JOIN channels USING (channel_id)
        ) polled USING (channel_id)
        WHERE n_rows > 1 ORDER BY kept_id, video_id, age
    ) item
    """,
    "DELETE FROM channel_items i USING same_channel s WHERE s.channel_id = i.channel_id AND s.n_rows > 1",
    "INSERT INTO channel_items (channel_id, video_id, place) SELECT kept_id, video_id, place FROM merged_items",
    """
    UPDATE videos v SET channel_id = s.kept_id FROM same_channel s
    WHERE s.channel_id = v.channel_id AND s.kept_id <> s.channel_id
    """,
    """
    UPDATE channels c SET
        followed = r.followed, paused = r.paused, in_file = r.in_file, options = r.options,
        title = CASE WHEN r.title = r.url THEN c.title ELSE r.title END, added_at = p.added_at,
        polled_at = p.polled_at, polled_to_end = p.polled_to_end, n_refusals = p.n_refusals,
        poll_failure = r.poll_failure, poll_not_before = p.poll_not_before
    FROM (SELECT DISTINCT kept_id, ruling_id FROM same_channel WHERE n_rows > 1) s
    JOIN channels r ON r.channel_id = s.ruling_id
    JOIN (
        SELECT kept_id, min(added_at) AS added_at, max(polled_at) AS polled_at,
               bool_or(polled_to_end) AS polled_to_end, max(n_refusals) AS n_refusals,
               max(poll_not_before) AS poll_not_before
        FROM same_channel JOIN channels USING (channel_id) GROUP BY kept_id
    ) p USING (kept_id)
    WHERE c.channel_id = s.kept_id
    """,
    "DELETE FROM channels c USING same_channel s WHERE s.channel_id = c.channel_id AND s.kept_id <> s.channel_id",
    # A title that is a URL is of a channel that was never polled.
    """
    UPDATE channels c SET url = s.url, title = CASE WHEN c.title = c.url THEN s.url ELSE c.title END
    FROM same_channel s WHERE s.channel_id = c.channel_id AND c.url <> s.url
    """,
)

# As in channels.source, of this version.
_YOUTUBE = "https://www.youtube.com"
_HOSTS = ("youtube.com", "www.youtube.com", "m.youtube.com")
_HANDLE = re.compile(r"@[\w.·-]{1,60}")
_CHANNEL = re.compile(r"/(@[^/]{1,200}|(?:channel|c|user)/[^/]{1,100})(?:/([a-z]+))?")


def upgrade() -> None:
    """Rename the rows; of several that then have one name, one is left, with the items and videos of all."""
    connection = op.get_bind()
    op.execute("CREATE TEMPORARY TABLE new_names (channel_id bigint PRIMARY KEY, url text NOT NULL) ON COMMIT DROP")
    for channel_id, url in connection.execute(text("SELECT channel_id, url FROM channels")).all():
        connection.execute(
            text("INSERT INTO new_names VALUES (:channel_id, :url)"), {"channel_id": channel_id, "url": _name(url)}
        )
    for statement in STATEMENTS:
        op.execute(statement)


def _name(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in _HOSTS:
        return url
    path, query = parts.path.rstrip("/"), parts.query
    if page := _CHANNEL.fullmatch(path):
        name, tab = page.group(1), page.group(2) or "videos"
        if _HANDLE.fullmatch(unquote(name)):
            name = unquote(name).lower()
        tab = "videos" if tab == "featured" else tab
        path, query = f"/{name}/{tab}", "" if tab in ("videos", "shorts", "streams") else query
    elif path == "/playlist" and (ids := parse_qs(query).get("list")):
        query = urlencode({"list": ids[0]})
    return f"{_YOUTUBE}{path or '/'}{f'?{query}' if query else ''}"

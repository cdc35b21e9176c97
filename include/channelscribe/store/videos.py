"""What is in the archive, video by video."""

from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg2 import sql

from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.search.narrowing import narrow

_VIDEOS = """
SELECT v.video_id, v.title, n.title, v.url, v.published_at, v.audio_s, v.language, l.availability,
       ARRAY(SELECT coalesce(s.name, k.cluster) FROM clusters k LEFT JOIN speakers s USING (speaker_id)
             WHERE k.video_id = v.video_id GROUP BY 1 ORDER BY sum(k.speech_s) DESC, 1)
FROM videos v JOIN channels n USING (channel_id) LEFT JOIN listed_videos l USING (video_id)
WHERE {of_videos}
ORDER BY v.published_at DESC NULLS LAST, v.video_id
LIMIT %(limit)s OFFSET %(offset)s
"""


@dataclass(frozen=True)
class ArchivedVideo:
    """A video of the archive.

    Args:
        video_id: its id.
        title: as it was published.
        channel: title of its channel.
        url: where it is seen.
        published_at: when it appeared, if known.
        audio_s: its length.
        language: that is spoken, as far as known.
        availability: what the site said last, as `contracts.Availability`; None where it was never listed.
        speakers: by name or else by cluster, those first who speak most.
    """

    video_id: str
    title: str
    channel: str
    url: str
    published_at: datetime | None
    audio_s: float
    language: str | None
    availability: str | None
    speakers: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The same fields, for ``json.dumps``."""
        return {**asdict(self), "published_at": self.published_at.isoformat() if self.published_at else None}


def list_videos(
    connection: Connection,
    *,
    limit: int,
    offset: int = 0,
    channel: str | None = None,
    speaker: str | None = None,
    since: date | None = None,
) -> list[ArchivedVideo]:
    """Videos, newest first; filters that are None let all through.

    Args:
        connection: to a migrated archive.
        limit: most to return.
        offset: of the first.
        channel: title, URL or handle.
        speaker: name or cluster.
        since: day (UTC) of the oldest.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        narrowing = narrow(cursor, speaker=speaker, channel=channel, video=None, since=since, until=None)
        statement = sql.SQL(_VIDEOS).format(of_videos=narrowing.of_videos("v"))
        cursor.execute(statement, {**narrowing.parameters, "limit": limit, "offset": offset})
        return [
            ArchivedVideo(
                video_id, title, of_channel, url, published_at, audio_s, language, availability,
                tuple(speakers),
            )
            for video_id, title, of_channel, url, published_at, audio_s, language, availability, speakers in cursor
        ]  # fmt: skip

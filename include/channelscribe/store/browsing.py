"""What a filter of the pages may have: titles of channels, and names of speakers."""

from channelscribe.store.connection import Connection, errors_in_words

_CHANNELS = """
SELECT DISTINCT c.title FROM channels c WHERE EXISTS (SELECT FROM videos v WHERE v.channel_id = c.channel_id)
"""
_NAMES = """
SELECT s.name FROM speakers s WHERE EXISTS (SELECT FROM clusters k WHERE k.speaker_id = s.speaker_id)
   OR EXISTS (SELECT FROM utterances u WHERE u.speaker_id = s.speaker_id) OR NOT s.discovered
ORDER BY s.discovered, CASE WHEN s.discovered THEN s.number END, lower(s.name)
"""


def channel_titles(connection: Connection) -> list[str]:
    """Titles of the channels that the archive has videos of."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_CHANNELS)
        return sorted((row[0] for row in cursor), key=str.casefold)


def speaker_names(connection: Connection) -> list[str]:
    """Names of the speakers, those that were discovered and not named last, by number."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_NAMES)
        return [row[0] for row in cursor]

"""Why a search may have found nothing: the archive is empty, or nobody and nothing has the name that was asked for."""

from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.search.narrowing import VIDEO_FILTERS, channel_names

# Over the tables that hold the names: far fewer rows than utterances.
_KNOWN_SPEAKER = """
SELECT EXISTS (SELECT FROM speakers WHERE lower(name) = lower(%(speaker)s))
    OR EXISTS (SELECT FROM clusters WHERE lower(cluster) = lower(%(speaker)s))
"""
_KNOWN_CHANNEL = f"SELECT EXISTS (SELECT FROM channels n WHERE {VIDEO_FILTERS['channel']})"  # noqa: S608 - a constant
_KNOWN_VIDEO = f"SELECT EXISTS (SELECT FROM videos v WHERE {VIDEO_FILTERS['video']})"  # noqa: S608 - a constant


def has_chunks(connection: Connection) -> bool:
    """Whether there is anything at all to search."""
    return _ask(connection, "SELECT EXISTS (SELECT FROM chunks)")


def unknown_names(connection: Connection, speaker: str | None, channel: str | None, video: str | None) -> list[str]:
    """A sentence, with the remedy, for each filter of a search that names what the archive does not know."""
    sentences = []
    if speaker is not None and not _ask(connection, _KNOWN_SPEAKER, speaker=speaker):
        sentences.append(f"Nobody is known as {speaker!r}: `channelscribe speakers` lists who is.")
    if channel is not None and not _ask(connection, _KNOWN_CHANNEL, **channel_names(channel)):
        sentences.append(f"No channel is known as {channel!r}: `channelscribe channels list` lists them.")
    if video is not None and not _ask(connection, _KNOWN_VIDEO, video=video):
        sentences.append(f"No video has the id or URL {video!r}: `channelscribe videos` lists them.")
    return sentences


def _ask(connection: Connection, question: str, **names: str | None) -> bool:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(question, names)
        row = cursor.fetchone()
    return bool(row and row[0])

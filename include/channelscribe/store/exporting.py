"""Videos as they leave the archive: who said what and when, with names, for the writers in ``formats``."""

from collections.abc import Iterator

from channelscribe.channels.source import normalise_channel
from channelscribe.contracts import Turn, Word
from channelscribe.errors import BadInputError
from channelscribe.formats.recording import Recording, SpokenUtterance, Voice
from channelscribe.store.connection import Connection, Cursor, errors_in_words

_VIDEO = """
SELECT v.video_id, v.title, v.url, c.title, c.url, v.published_at, v.audio_s, v.language, v.word_timing,
       l.availability
FROM videos v JOIN channels c USING (channel_id) LEFT JOIN listed_videos l USING (video_id)
WHERE v.video_id = %s
"""
# A cluster that mixes voices has no name of its own; its utterances may have.
_VOICES = """
SELECT k.cluster, s.name, k.speech_s FROM clusters k LEFT JOIN speakers s USING (speaker_id)
WHERE k.video_id = %s ORDER BY k.cluster
"""
_TURNS = "SELECT start_s, end_s, cluster FROM turns WHERE video_id = %s AND NOT exclusive ORDER BY turn_index"
_UTTERANCES = """
SELECT u.utterance_index, u.cluster, k.label, u.start_s, u.end_s, u.text, u.words, u.suspicions
FROM utterances u JOIN utterance_speakers k USING (video_id, utterance_index)
WHERE u.video_id = %s ORDER BY u.utterance_index
"""
# A handle stands for all the tabs of its channel that were polled.
_CHANNELS = """
SELECT channel_id FROM channels
WHERE lower(title) = lower(%(given)s) OR lower(rtrim(url, '/')) = lower(rtrim(%(given)s, '/')) OR url = %(url)s
   OR %(given)s LIKE '@_%%' AND strpos(lower(url) || '/', '/' || lower(%(given)s) || '/') > 0
"""
_NO_CHANNEL = (
    "The archive has no channel {!r}: give its title, URL or @handle, as in `channelscribe channels list` or in the "
    "`channel` of `channelscribe search WORDS --json`."
)


def read_recording(connection: Connection, video_id: str) -> Recording:
    """A video with all that was said in it, as it was at one moment.

    Raises:
        BadInputError: the archive has no such video.
    """
    recording = _find(connection, video_id)
    if recording is None:
        raise BadInputError(
            f"The archive has no video {video_id!r}: `channelscribe videos` lists the ids of all that are there."
        )
    return recording


def recordings_of_channel(connection: Connection, channel: str) -> Iterator[Recording]:
    """Every video of a channel, newest first, one at a time; none where nothing of it was loaded yet.

    Args:
        connection: to a migrated archive.
        channel: its title, URL or @handle, in any case of letters; several channels where it fits them all.

    Raises:
        BadInputError: the archive has never heard of the channel.
    """
    for video_id in _videos_of_channel(connection, channel):
        recording = _find(connection, video_id)
        # One that another transaction deleted in between is left out.
        if recording is not None:
            yield recording


def _videos_of_channel(connection: Connection, channel: str) -> list[str]:
    # Bytes that are no text, which Postgres could not be asked for, are unprintable, too.
    if not channel.strip() or not channel.isprintable():
        raise BadInputError(_NO_CHANNEL.format(channel))
    try:
        url = normalise_channel(channel)
    except BadInputError:  # a title
        url = None
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_CHANNELS, {"given": channel.strip(), "url": url})
        channel_ids = [row[0] for row in cursor]
        if not channel_ids:
            raise BadInputError(_NO_CHANNEL.format(channel))
        cursor.execute(
            "SELECT video_id FROM videos WHERE channel_id = ANY(%s) ORDER BY published_at DESC NULLS LAST, video_id",
            (channel_ids,),
        )
        return [row[0] for row in cursor]


def _find(connection: Connection, video_id: str) -> Recording | None:
    if not video_id.isprintable():
        return None
    with errors_in_words(), connection, connection.cursor() as cursor:
        # A load in between must not give the old turns and the new utterances.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(_VIDEO, (video_id,))
        row = cursor.fetchone()
        return _recording(cursor, row) if row else None


def _recording(cursor: Cursor, row: tuple) -> Recording:  # type: ignore[type-arg]
    video_id, title, url, channel, channel_url, *facts = row
    published_at, audio_s, language, word_timing, availability = facts
    cursor.execute(_VOICES, (video_id,))
    voices = tuple(Voice(*values) for values in cursor)
    cursor.execute(_TURNS, (video_id,))
    turns = tuple(Turn(start_s=start_s, end_s=end_s, cluster=cluster) for start_s, end_s, cluster in cursor)
    cursor.execute(_UTTERANCES, (video_id,))
    return Recording(
        video_id=video_id,
        title=title,
        url=url,
        channel=channel,
        channel_url=channel_url,
        published_at=published_at,
        duration_s=audio_s,
        language=language,
        word_timing=word_timing,
        availability=availability,
        voices=voices,
        turns=turns,
        utterances=tuple(_utterance(values) for values in cursor),
    )


def _utterance(values: tuple) -> SpokenUtterance:  # type: ignore[type-arg]
    index, cluster, speaker, start_s, end_s, text, words, suspicions = values
    return SpokenUtterance(
        index=index,
        cluster=cluster,
        speaker=speaker,
        start_s=start_s,
        end_s=end_s,
        text=text,
        words=tuple(Word.model_validate(word) for word in words),
        suspicions=tuple(suspicions),
    )

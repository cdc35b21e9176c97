"""A video's transcript as a page shows it: its voices, who speaks when, and a part of what was said."""

from dataclasses import dataclass
from datetime import datetime

from channelscribe.store.connection import Connection, Cursor, errors_in_words

# So much is rendered in a tenth of a second, however long the video is.
PART_UTTERANCES = 500

_VIDEO = """
SELECT v.video_id, v.title, v.url, c.title, v.published_at, v.audio_s, v.language, l.availability,
       (SELECT count(*) FROM utterances u WHERE u.video_id = v.video_id)
FROM videos v JOIN channels c USING (channel_id) LEFT JOIN listed_videos l USING (video_id)
WHERE v.video_id = %s
"""
_VOICES = """
SELECT k.cluster, s.name, coalesce(s.discovered, false), k.speech_s, k.speaker_variance,
       (SELECT count(*) FROM clusters o WHERE o.speaker_id = k.speaker_id)
FROM clusters k LEFT JOIN speakers s USING (speaker_id)
WHERE k.video_id = %s ORDER BY k.speech_s DESC, k.cluster
"""
_TURNS = "SELECT cluster, start_s, end_s FROM turns WHERE video_id = %s AND NOT exclusive ORDER BY turn_index"
_LAST_BEFORE = """
SELECT count(*) - 1 FROM utterances WHERE video_id = %s AND start_s <= %s
"""
# The seconds from which on, and up to which, `_LAST_BEFORE` is in a part; none at the ends of the video.
_SPAN = """
SELECT (SELECT start_s FROM utterances WHERE video_id = %(id)s AND %(first)s > 0
        ORDER BY start_s LIMIT 1 OFFSET %(first)s),
       (SELECT start_s FROM utterances WHERE video_id = %(id)s ORDER BY start_s LIMIT 1 OFFSET %(behind)s)
"""
_LINES = """
SELECT u.utterance_index, u.cluster, k.label, k.name, u.start_s, u.end_s, u.text, u.words, u.suspicions
FROM utterances u JOIN utterance_speakers k USING (video_id, utterance_index)
WHERE u.video_id = %s ORDER BY u.utterance_index LIMIT %s OFFSET %s
"""


@dataclass(frozen=True)
class TranscriptVoice:
    """A cluster of the video.

    Args:
        cluster: its label.
        name: of its speaker, None where it has none as a whole.
        discovered: the speaker was found by comparing voices, and nobody named it.
        speech_s: seconds that it speaks.
        speaker_variance: the spread of its voice embeddings, where there are enough.
        n_clusters: clusters of the archive that are the same speaker's; 0 without one.
    """

    cluster: str
    name: str | None
    discovered: bool
    speech_s: float
    speaker_variance: float | None
    n_clusters: int

    @property
    def label(self) -> str:
        """The name, or else the cluster."""
        return self.name or self.cluster


@dataclass(frozen=True)
class Line:
    """An utterance.

    Args:
        index: its number in the video.
        cluster: whose it is.
        label: who says it, by name or else by cluster.
        name: of who says it, None where that is not known.
        start_s: when it begins.
        end_s: when it ends.
        text: what is said.
        word_starts_s: when each of the words begins.
        suspicions: why the text may be wrong.
    """

    index: int
    cluster: str
    label: str
    name: str | None
    start_s: float
    end_s: float
    text: str
    word_starts_s: tuple[float, ...]
    suspicions: tuple[str, ...]


@dataclass(frozen=True)
class TranscriptPart:
    """A video and a part of its transcript.

    Args:
        video_id: its id.
        title: its title.
        url: where it is.
        channel: title of its channel.
        published_at: when it appeared, if known.
        audio_s: its length in seconds.
        language: ISO 639 code of what is spoken, if known.
        availability: whether the site still hands it out; None where no poll has listed it.
        n_utterances: of the whole video.
        voices: who speaks most first.
        turns: cluster, start and end in seconds of the whole video; they may overlap.
        part: which part this is, from 1 on.
        from_s: when it begins, None of the first.
        until_s: when the next one does, None of the last.
        lines: of this part.
    """

    video_id: str
    title: str
    url: str
    channel: str
    published_at: datetime | None
    audio_s: float
    language: str | None
    availability: str | None
    n_utterances: int
    voices: tuple[TranscriptVoice, ...]
    turns: tuple[tuple[str, float, float], ...]
    part: int
    from_s: float | None
    until_s: float | None
    lines: tuple[Line, ...]

    @property
    def n_parts(self) -> int:
        """Parts of the transcript; one at least."""
        return max(1, -(-self.n_utterances // PART_UTTERANCES))


def read_transcript(
    connection: Connection, video_id: str, *, part: int = 1, at_s: float | None = None
) -> TranscriptPart | None:
    """A video with a part of its transcript, as it was at one moment; None where the archive has no such video.

    Args:
        connection: to a migrated archive, outside a transaction.
        video_id: which video.
        part: which part, from 1 on; the last one if there are fewer.
        at_s: the part in which this second is, whatever `part` says.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        # A load in between must not give the old voices and the new utterances.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(_VIDEO, (video_id,))
        row = cursor.fetchone()
        return _read(cursor, row, part, at_s) if row else None


def _read(cursor: Cursor, row: tuple, part: int, at_s: float | None) -> TranscriptPart:  # type: ignore[type-arg]
    video_id, *facts, n_utterances = row
    if at_s is not None:
        cursor.execute(_LAST_BEFORE, (video_id, at_s))
        found = cursor.fetchone()
        part = max(0, found[0] if found else 0) // PART_UTTERANCES + 1
    part = max(1, min(part, -(-n_utterances // PART_UTTERANCES)))
    cursor.execute(_VOICES, (video_id,))
    voices = tuple(TranscriptVoice(*values) for values in cursor)
    cursor.execute(_TURNS, (video_id,))
    turns = tuple((cluster, start_s, end_s) for cluster, start_s, end_s in cursor)
    first = PART_UTTERANCES * (part - 1)
    cursor.execute(_SPAN, {"id": video_id, "first": first, "behind": first + PART_UTTERANCES})
    ((from_s, until_s),) = cursor.fetchall()
    cursor.execute(_LINES, (video_id, PART_UTTERANCES, first))
    title, url, channel, published_at, audio_s, language, availability = facts
    return TranscriptPart(
        video_id, title, url, channel, published_at, audio_s, language, availability, n_utterances, voices, turns, part,
        from_s, until_s, tuple(map(_line, cursor)),
    )  # fmt: skip


def _line(values: tuple) -> Line:  # type: ignore[type-arg]
    index, cluster, label, name, start_s, end_s, text, words, suspicions = values
    starts = tuple(float(word["start_s"]) for word in words)
    return Line(index, cluster, label, name, start_s, end_s, text, starts, tuple(suspicions))

"""Speakers as pages show them: where they speak, how alike their clusters are, a sample to hear, and who may be one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from channelscribe.speakers.duplicates import near_pairs
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.models import find_model
from channelscribe.store.speakers.enrollments import HEARD
from channelscribe.store.speakers.labels import operating_point

_MOST_PAIRS = 50

_SUMMARIES = f"""
WITH totals AS ({HEARD}), clips AS (
    SELECT speaker_id, count(DISTINCT clip_sha256) AS n_clips FROM enrollments GROUP BY speaker_id
), shown AS (
    SELECT s.speaker_id, s.name, s.discovered, coalesce(c.n_clips, 0) AS n_clips, coalesce(t.n_videos, 0) AS n_videos,
           coalesce(t.speech_s, 0) AS speech_s, t.speaker_variance
    FROM speakers s LEFT JOIN totals t USING (speaker_id) LEFT JOIN clips c USING (speaker_id)
    WHERE (t.speaker_id IS NOT NULL OR c.speaker_id IS NOT NULL)
      AND (%(ids)s IS NULL OR s.speaker_id = ANY(%(ids)s::bigint[]))
      AND (%(part)s IS NULL OR strpos(lower(s.name), lower(%(part)s)) > 0)
    ORDER BY speech_s DESC, lower(s.name)
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT shown.*, longest.*
FROM shown
LEFT JOIN LATERAL (
    SELECT k.video_id, k.cluster FROM clusters k WHERE k.speaker_id = shown.speaker_id
    ORDER BY k.speech_s DESC, k.video_id, k.cluster LIMIT 1
) main ON true
LEFT JOIN LATERAL (
    SELECT t.video_id, v.title, t.start_s, t.end_s FROM turns t JOIN videos v USING (video_id)
    WHERE t.video_id = main.video_id AND t.cluster = main.cluster AND t.exclusive
    ORDER BY t.end_s - t.start_s DESC, t.turn_index LIMIT 1
) longest ON true
ORDER BY shown.speech_s DESC, lower(shown.name)
"""  # noqa: S608 - a constant
# Mixed clusters say nothing of one voice. Every cluster and every stretch of a clip counts alike.
_MEAN_VOICES = """
SELECT speaker_id, avg(embedding) FROM (
    SELECT k.speaker_id, e.embedding FROM clusters k JOIN cluster_voice_embeddings e USING (video_id, cluster)
    WHERE e.model_id = %(model_id)s AND k.speaker_id IS NOT NULL
      AND coalesce(k.speaker_variance, 0) <= %(max_variance)s
    UNION ALL
    SELECT speaker_id, embedding FROM enrollments WHERE model_id = %(model_id)s
) known GROUP BY speaker_id ORDER BY speaker_id
"""
# Those who speak in one video, and those of whom somebody said it.
_TWO = """
SELECT w.first, w.second FROM unnest(%s::bigint[], %s::bigint[]) AS w(first, second)
JOIN clusters a ON a.speaker_id = w.first JOIN clusters b ON b.video_id = a.video_id AND b.speaker_id = w.second
UNION
SELECT first_id, second_id FROM distinct_speakers
"""


@dataclass(frozen=True)
class Sample:
    """Where somebody speaks longest without a pause, in the video that they speak most in."""

    video_id: str
    title: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class SpeakerSummary:
    """A speaker of the archive.

    Args:
        speaker_id: its number in the archive.
        name: its name.
        discovered: found by comparing unknown voices, and not named by anybody.
        n_clips: clips that the voice was enrolled from.
        n_videos: videos in which the speaker speaks.
        speech_s: seconds that the speaker speaks in them.
        speaker_variance: the greatest of the speaker's clusters; None where none could be told.
        sample: where to hear the voice; None where no cluster is the speaker's.
    """

    speaker_id: int
    name: str
    discovered: bool
    n_clips: int
    n_videos: int
    speech_s: float
    speaker_variance: float | None
    sample: Sample | None


@dataclass(frozen=True)
class NearSpeakers:
    """Two speakers that may be one, and the cosine similarity of their mean voices. A name comes before a number."""

    first: SpeakerSummary
    second: SpeakerSummary
    similarity: float


def speaker_summaries(
    connection: Connection, *, part: str | None = None, limit: int, offset: int = 0
) -> list[SpeakerSummary]:
    """Speakers, who speaks most first; with `part`, those whose names hold it."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        return _summaries(cursor, ids=None, part=part, limit=limit, offset=offset)


def greatest_variance(connection: Connection, model: tuple[str, str]) -> float | None:
    """Speaker variance above which a cluster of a voice model mixes voices; None where nobody measured it."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        point = operating_point(cursor, model)
    return point.max_variance if point else None


def near_speakers(connection: Connection, model: tuple[str, str]) -> list[NearSpeakers] | None:
    """Pairs of speakers whose voices are as near as a known one must be to be named, the nearest first.

    Two that speak in one video are two, and those of whom somebody said so. None where nobody measured how near that is
    for the model.

    Args:
        connection: to a migrated archive, outside a transaction.
        model: name and revision of the voice model.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        # Somebody may merge speakers meanwhile.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        point, found = operating_point(cursor, model), find_model(cursor, "voice", *model)
        if point is None:
            return None
        if found is None:
            return []
        cursor.execute(_MEAN_VOICES, {"model_id": found.model_id, "max_variance": point.max_variance})
        rows = cursor.fetchall()
        if not rows:
            return []
        ids = [row[0] for row in rows]
        voices = np.array([row[1].to_numpy() for row in rows], np.float32)
        voices /= np.linalg.norm(voices, axis=1, keepdims=True).clip(1e-12)
        # More than are shown, as some are left out.
        pairs = [(ids[a], ids[b], score) for a, b, score in near_pairs(voices, point.threshold, 20 * _MOST_PAIRS)]
        two = _known_to_be_two(cursor, pairs)
        near = [pair for pair in pairs if pair[:2] not in two][:_MOST_PAIRS]
        wanted = sorted({speaker for pair in near for speaker in pair[:2]})
        of = {s.speaker_id: s for s in _summaries(cursor, ids=wanted, part=None, limit=len(wanted), offset=0)}
    return [_pair(of[a], of[b], score) for a, b, score in near]


def _pair(one: SpeakerSummary, other: SpeakerSummary, similarity: float) -> NearSpeakers:
    first, second = sorted((one, other), key=lambda speaker: (speaker.discovered, -speaker.speech_s))
    return NearSpeakers(first, second, similarity)


def _known_to_be_two(cursor: Cursor, pairs: Sequence[tuple[int, int, float]]) -> set[tuple[int, int]]:
    cursor.execute(_TWO, ([pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    return {(first, second) for first, second in cursor}


def _summaries(
    cursor: Cursor, *, ids: Sequence[int] | None, part: str | None, limit: int, offset: int
) -> list[SpeakerSummary]:
    cursor.execute(_SUMMARIES, {"ids": ids, "part": part, "limit": limit, "offset": offset})
    return [_summary(values) for values in cursor.fetchall()]


def _summary(values: tuple) -> SpeakerSummary:  # type: ignore[type-arg]
    speaker_id, name, discovered, n_clips, n_videos, speech_s, variance, *longest = values
    sample = Sample(*longest) if longest[0] is not None else None
    return SpeakerSummary(speaker_id, name, discovered, n_clips, n_videos, speech_s, variance, sample)

"""The voices that people enrolled, what they are compared by, and how to be rid of them."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg2.extras import execute_values

from channelscribe.contracts import Calibration, EnrollmentVoices
from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.links import link_at
from channelscribe.store.models import register_model
from channelscribe.store.speakers.labels import lock_voices
from channelscribe.store.staging import clean

_MAX_NAME = 100
# What a voice is called that nobody named: in a video, and across videos.
_NAMELESS = re.compile(r"SPEAKER[_ ]\d+", re.IGNORECASE)

# In how many videos and for how long each speaker is heard, by `speaker_id`. As in the view, the speaker of a cluster
# hides those of its utterances.
HEARD = """
SELECT speaker_id, count(DISTINCT video_id) AS n_videos, sum(speech_s) AS speech_s,
       max(speaker_variance) AS speaker_variance
FROM (
    SELECT speaker_id, video_id, speech_s, speaker_variance FROM clusters WHERE speaker_id IS NOT NULL
    UNION ALL
    SELECT u.speaker_id, u.video_id, u.end_s - u.start_s, NULL
    FROM utterances u JOIN clusters k USING (video_id, cluster)
    WHERE u.speaker_id IS NOT NULL AND k.speaker_id IS NULL
) said GROUP BY speaker_id
"""
_SPEAKERS = f"""
WITH heard AS ({HEARD}), enrolled AS (
    SELECT e.speaker_id, count(DISTINCT e.clip_sha256) AS n_clips, count(*) AS n_embeddings,
           array_agg(DISTINCT m.name ORDER BY m.name) AS models
    FROM enrollments e JOIN embedding_models m USING (model_id) GROUP BY e.speaker_id
)
SELECT s.name, s.discovered, coalesce(e.n_clips, 0), coalesce(e.n_embeddings, 0), coalesce(h.n_videos, 0),
       coalesce(h.speech_s, 0), coalesce(e.models, '{{}}')
FROM speakers s LEFT JOIN heard h USING (speaker_id) LEFT JOIN enrolled e USING (speaker_id)
WHERE h.speaker_id IS NOT NULL OR e.speaker_id IS NOT NULL
ORDER BY s.discovered, CASE WHEN s.discovered THEN s.number END, lower(s.name), s.name
"""  # noqa: S608 - constants of this module


_PLACES = """
SELECT k.video_id, k.cluster, v.title, k.speech_s, NOT k.speaker_matched, k.speaker_variance, v.url, longest.start_s,
       longest.end_s
FROM clusters k JOIN videos v USING (video_id)
LEFT JOIN LATERAL (
    SELECT t.start_s, t.end_s FROM turns t WHERE t.video_id = k.video_id AND t.cluster = k.cluster AND t.exclusive
    ORDER BY t.end_s - t.start_s DESC, t.turn_index LIMIT 1
) longest ON true
WHERE k.speaker_id = %s ORDER BY k.speech_s DESC, k.video_id, k.cluster
"""


@dataclass(frozen=True)
class Speaker:
    """A speaker of the archive: enrolled, or only named by hand or discovered, and then without clips.

    Args:
        name: the speaker's.
        discovered: found by comparing unknown voices, and not named by anybody.
        n_clips: clips that the voice was enrolled from.
        n_voice_embeddings: those taken of them.
        n_videos: videos in which the speaker speaks.
        speech_s: seconds that the speaker speaks in them.
        models: voice models that the voice is enrolled with.
    """

    name: str
    discovered: bool
    n_clips: int
    n_voice_embeddings: int
    n_videos: int
    speech_s: float
    models: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A cluster that is a speaker's.

    Args:
        video_id: which video.
        cluster: its label there.
        title: of the video.
        speech_s: seconds that the cluster speaks.
        by_hand: a person said so.
        speaker_variance: the spread of the cluster's voice embeddings, where there are enough.
        longest_s: from when to when it speaks longest without a pause; None where it never speaks alone.
        link: opens the video there.
    """

    video_id: str
    cluster: str
    title: str
    speech_s: float
    by_hand: bool
    speaker_variance: float | None
    longest_s: tuple[float, float] | None
    link: str | None


@dataclass(frozen=True)
class Forgotten:
    """What was removed of a speaker.

    Args:
        name: as it was spelt in the archive.
        n_clips: clips whose voice embeddings were deleted.
        n_clusters: clusters that had the name.
        n_utterances: utterances that had the name: those of the clusters, and others.
        n_by_hand: clusters among them that a person had named so.
    """

    name: str
    n_clips: int
    n_clusters: int
    n_utterances: int
    n_by_hand: int


def checked_name(name: str) -> str:
    """A speaker's name with its spaces put in order.

    Raises:
        BadInputError: it is empty, too long, or what an unknown voice is called.
    """
    result = " ".join(name.split())
    if not result or not result.isprintable():
        raise BadInputError("A speaker needs a name: give one, such as 'Ada Lovelace'.")
    if len(result) > _MAX_NAME:
        raise BadInputError(f"A name of {len(result)} characters is too long: give one of {_MAX_NAME} at most.")
    if _NAMELESS.fullmatch(result):
        raise BadInputError(f"{result} is what an unknown voice is called: give the speaker's own name.")
    return result


def enroll(connection: Connection, name: str, found: EnrollmentVoices, embeddings: npt.NDArray[np.float32]) -> str:
    """Add a voice's accepted clips to those enrolled under a name, in one transaction.

    Clips that were enrolled before take the place of what they were.

    Args:
        connection: to a migrated archive, outside a transaction.
        name: as `checked_name` gives it; capitals don't tell two speakers apart.
        found: clips, and the stretches that voice embeddings were taken of.
        embeddings: (n_rows, dim) float32, L2-normalised.

    Returns:
        The name as it is spelt in the archive.

    Raises:
        BadInputError: a clip is enrolled under another name.
    """
    with errors_in_words():
        model = register_model(connection, "voice", found.model, found.revision, embeddings.shape[1])
        with connection, connection.cursor() as cursor:
            lock_voices(cursor, exclusive=True)
            speaker_id, spelling = find_speaker(cursor, name) or _new_speaker(cursor, name)
            sources = {clip.sha256: clip.source for clip in found.clips if clip.refused is None}
            _refuse_other_name(cursor, speaker_id, sources)
            cursor.execute(
                "DELETE FROM enrollments WHERE model_id = %s AND clip_sha256 = ANY(%s)", (model.model_id, list(sources))
            )
            rows = {}
            for row, vector in zip(found.rows, embeddings, strict=True):
                clip = found.clips[row.clip_index]
                # By content: a clip that was given twice counts once.
                rows[clip.sha256, row.start_s, row.end_s] = (
                    speaker_id, clean(clip.source), clip.speech_s, model.model_id, vector, clip.sha256, row.start_s,
                    row.end_s, clip.snr_db,
                )  # fmt: skip
            execute_values(
                cursor,
                "INSERT INTO enrollments (speaker_id, source, speech_s, model_id, embedding, clip_sha256, start_s, "
                "end_s, snr_db) VALUES %s",
                list(rows.values()),
            )
    return spelling


def find_speaker(cursor: Cursor, name: str) -> tuple[int, str] | None:
    """Number and spelling of the speaker of a name, in whatever capitals; None where nobody is called so."""
    cursor.execute(
        "SELECT speaker_id, name FROM speakers WHERE lower(name) = lower(%(name)s) ORDER BY name = %(name)s DESC, name "
        "LIMIT 1",
        {"name": clean(name)},
    )
    row = cursor.fetchone()
    return (int(row[0]), str(row[1])) if row else None


def require_speaker(cursor: Cursor, name: str) -> tuple[int, str]:
    """As `find_speaker`.

    Raises:
        BadInputError: nobody is called so.
    """
    found = find_speaker(cursor, name.strip())
    if found is None:
        raise nobody_called(name)
    return found


def nobody_called(name: str) -> BadInputError:
    """The error of a name that no speaker has."""
    return BadInputError(f"Nobody is called {name!r}: `channelscribe speakers` lists the names.")


def dismiss_speaker(cursor: Cursor, speaker_id: int) -> None:
    """Remove a speaker. Of one that was discovered the number stays, nameless, so that no other gets it."""
    cursor.execute(
        "UPDATE speakers SET name = 'Speaker ' || number, discovered = true "
        "WHERE speaker_id = %s AND number IS NOT NULL",
        (speaker_id,),
    )
    cursor.execute("DELETE FROM speakers WHERE speaker_id = %s AND number IS NULL", (speaker_id,))


def list_speakers(connection: Connection) -> list[Speaker]:
    """All speakers, by name; those discovered by number, after the others."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_SPEAKERS)
        return [
            Speaker(name, discovered, n_clips, n_voice_embeddings, n_videos, speech_s, tuple(models))
            for name, discovered, n_clips, n_voice_embeddings, n_videos, speech_s, models in cursor.fetchall()
        ]


def where_heard(connection: Connection, name: str) -> tuple[str, list[Place]]:
    """The spelling of a speaker's name, and the clusters that are the speaker's, the longest first.

    Raises:
        BadInputError: there is no such speaker.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        found = require_speaker(cursor, name)
        cursor.execute(_PLACES, (found[0],))
        return found[1], [_place(values) for values in cursor.fetchall()]


def forget(connection: Connection, name: str) -> Forgotten:
    """Delete a speaker: enrollments, every label, and what could be undone of anybody, in one transaction.

    Identify the voices anew afterwards: somebody else may be nearest now.

    Raises:
        BadInputError: there is no such speaker, or it is one that nobody named.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        # Nobody loads or labels meanwhile, so that the name cannot come back.
        lock_voices(cursor, exclusive=True)
        speaker_id, spelling = require_speaker(cursor, name)
        if _count(cursor, "speakers WHERE speaker_id = %s AND discovered", speaker_id):
            raise BadInputError(f"{spelling} is a voice that nobody named: there is nothing to forget.")
        n_utterances = _count(cursor, "utterance_speakers WHERE speaker_id = %s", speaker_id)
        n_clips = _count(cursor, "enrollments WHERE speaker_id = %s", speaker_id, "DISTINCT clip_sha256")
        n_by_hand = _count(cursor, "clusters WHERE speaker_id = %s AND NOT speaker_matched", speaker_id)
        cursor.execute("DELETE FROM enrollments WHERE speaker_id = %s", (speaker_id,))
        n_clusters = _remove_labels(cursor, speaker_id)
        # All of them: a name may stand in any, by way of speakers that were merged.
        cursor.execute("DELETE FROM speaker_edits")
        cursor.execute("DELETE FROM distinct_speakers WHERE %(id)s IN (first_id, second_id)", {"id": speaker_id})
        dismiss_speaker(cursor, speaker_id)
    return Forgotten(spelling, n_clips, n_clusters, n_utterances, n_by_hand)


def store_calibration(connection: Connection, calibration: Calibration) -> None:
    """Let a calibration decide from now on. Relabel the model afterwards."""
    values = calibration.model_dump()
    columns = ", ".join(values)
    with errors_in_words(), connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        cursor.execute(
            f"INSERT INTO speaker_calibrations ({columns}) VALUES %s",  # noqa: S608 - the contract's fields
            (tuple(values.values()),),
        )


def _place(values: tuple) -> Place:  # type: ignore[type-arg]
    video_id, cluster, title, speech_s, by_hand, variance, url, start_s, end_s = values
    heard = start_s is not None
    longest_s, link = ((start_s, end_s), link_at(url, start_s)) if heard else (None, None)
    return Place(video_id, cluster, title, speech_s, by_hand, variance, longest_s, link)


def _new_speaker(cursor: Cursor, name: str) -> tuple[int, str]:
    cursor.execute("INSERT INTO speakers (name) VALUES (%s) RETURNING speaker_id", (name,))
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives a row or the statement fails
    return int(row[0]), name


def _refuse_other_name(cursor: Cursor, speaker_id: int, sources: dict[str, str]) -> None:
    cursor.execute(
        "SELECT e.clip_sha256, s.name FROM enrollments e JOIN speakers s USING (speaker_id) "
        "WHERE e.speaker_id <> %s AND e.clip_sha256 = ANY(%s) ORDER BY e.enrollment_id LIMIT 1",
        (speaker_id, list(sources)),
    )
    if row := cursor.fetchone():
        raise BadInputError(
            f"{sources[row[0]]} is enrolled as {row[1]} already: leave it out, or `channelscribe forget` that name "
            "first."
        )


def _remove_labels(cursor: Cursor, speaker_id: int) -> int:
    """Take a speaker off all that has the name; returns how many clusters that were."""
    cursor.execute(
        "UPDATE clusters SET speaker_id = NULL, speaker_score = NULL, speaker_margin = NULL, speaker_matched = false "
        "WHERE speaker_id = %s RETURNING video_id",
        (speaker_id,),
    )
    of_clusters = [row[0] for row in cursor]
    cursor.execute(
        "UPDATE utterances SET speaker_id = NULL, speaker_score = NULL, speaker_margin = NULL WHERE speaker_id = %s "
        "RETURNING video_id",
        (speaker_id,),
    )
    changed: Collection[str] = {*of_clusters, *(row[0] for row in cursor)}
    cursor.execute("UPDATE videos SET loaded_at = now() WHERE video_id = ANY(%s)", (sorted(changed),))
    return len(of_clusters)


def _count(cursor: Cursor, rows: str, speaker_id: int, what: str = "*") -> int:
    cursor.execute(f"SELECT count({what}) FROM {rows}", (speaker_id,))  # noqa: S608 - constants of this module
    row = cursor.fetchone()
    return int(row[0]) if row else 0

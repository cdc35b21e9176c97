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
from channelscribe.store.labels import lock_voices
from channelscribe.store.models import register_model
from channelscribe.store.staging import clean

_MAX_NAME = 100
_CLUSTER = re.compile(r"SPEAKER_\d+", re.IGNORECASE)

# As in the view, the speaker of a cluster hides those of its utterances.
_SPEAKERS = """
WITH clips AS (
    SELECT DISTINCT ON (speaker_id, clip_sha256) speaker_id, speech_s FROM enrollments
    ORDER BY speaker_id, clip_sha256, enrollment_id
), spoken AS (
    SELECT speaker_id, video_id FROM clusters WHERE speaker_id IS NOT NULL
    UNION
    SELECT u.speaker_id, u.video_id FROM utterances u JOIN clusters k USING (video_id, cluster)
    WHERE u.speaker_id IS NOT NULL AND k.speaker_id IS NULL
)
SELECT s.name,
       (SELECT count(*) FROM clips c WHERE c.speaker_id = s.speaker_id),
       (SELECT count(*) FROM enrollments e WHERE e.speaker_id = s.speaker_id),
       (SELECT coalesce(sum(speech_s), 0) FROM clips c WHERE c.speaker_id = s.speaker_id),
       (SELECT count(*) FROM spoken p WHERE p.speaker_id = s.speaker_id),
       ARRAY(SELECT DISTINCT m.name FROM enrollments e JOIN embedding_models m USING (model_id)
             WHERE e.speaker_id = s.speaker_id ORDER BY m.name)
FROM speakers s ORDER BY lower(s.name), s.name
"""


@dataclass(frozen=True)
class Speaker:
    """A speaker of the archive: enrolled, or named by hand only, and then without clips.

    Args:
        name: the speaker's.
        n_clips: clips that the voice was enrolled from.
        n_voice_embeddings: those taken of them.
        speech_s: seconds of speech in the clips.
        n_videos: videos in which the speaker speaks.
        models: voice models that the voice is enrolled with.
    """

    name: str
    n_clips: int
    n_voice_embeddings: int
    speech_s: float
    n_videos: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Forgotten:
    """What was removed of a speaker.

    Args:
        name: as it was spelt in the archive.
        n_clips: clips whose voice embeddings were deleted.
        n_clusters: clusters that matching had named so.
        n_utterances: utterances that matching had named so: those of the clusters, and others.
        n_kept: clusters that a person named so, and that keep the name.
        models: name and revision of the models that the voice was enrolled with.
    """

    name: str
    n_clips: int
    n_clusters: int
    n_utterances: int
    n_kept: int
    models: tuple[tuple[str, str], ...]


def checked_name(name: str) -> str:
    """A speaker's name with its spaces put in order.

    Raises:
        BadInputError: it is empty, too long, or the label of a cluster.
    """
    result = " ".join(name.split())
    if not result or not result.isprintable():
        raise BadInputError("A speaker needs a name: give one, such as 'Ada Lovelace'.")
    if len(result) > _MAX_NAME:
        raise BadInputError(f"A name of {len(result)} characters is too long: give one of {_MAX_NAME} at most.")
    if _CLUSTER.fullmatch(result):
        raise BadInputError(f"{result} is what an unknown voice of a video is called: give the speaker's own name.")
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
            speaker_id, spelling = _speaker(cursor, name) or _new_speaker(cursor, name)
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


def list_speakers(connection: Connection) -> list[Speaker]:
    """All speakers, by name."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_SPEAKERS)
        return [
            Speaker(name, n_clips, n_voice_embeddings, speech_s, n_videos, tuple(models))
            for name, n_clips, n_voice_embeddings, speech_s, n_videos, models in cursor.fetchall()
        ]


def forget(connection: Connection, name: str) -> Forgotten:
    """Delete a speaker's enrollments and every label that came of them, in one transaction.

    What a person named stays as it is. Relabel the models afterwards: somebody else may be nearest now.

    Raises:
        BadInputError: there is no such speaker.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        # Nobody loads or labels meanwhile, so that the name cannot come back.
        lock_voices(cursor, exclusive=True)
        found = _speaker(cursor, name.strip())
        if found is None:
            raise BadInputError(f"Nobody is called {name!r}: `channelscribe speakers` lists the names.")
        speaker_id, spelling = found
        models = _models_of(cursor, speaker_id)
        n_utterances = _count(
            cursor,
            "utterance_speakers u JOIN clusters k USING (video_id, cluster) WHERE u.speaker_id = %s "
            "AND (k.speaker_id IS NULL OR k.speaker_matched)",
            speaker_id,
        )
        n_clips = _count(cursor, "enrollments WHERE speaker_id = %s", speaker_id, "DISTINCT clip_sha256")
        cursor.execute("DELETE FROM enrollments WHERE speaker_id = %s", (speaker_id,))
        n_clusters = _remove_labels(cursor, speaker_id)
        n_kept = _count(cursor, "clusters WHERE speaker_id = %s", speaker_id)
        if not n_kept:
            cursor.execute("DELETE FROM speakers WHERE speaker_id = %s", (speaker_id,))
    return Forgotten(spelling, n_clips, n_clusters, n_utterances, n_kept, models)


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


def _speaker(cursor: Cursor, name: str) -> tuple[int, str] | None:
    cursor.execute(
        "SELECT speaker_id, name FROM speakers WHERE lower(name) = lower(%(name)s) ORDER BY name = %(name)s DESC, name "
        "LIMIT 1",
        {"name": clean(name)},
    )
    row = cursor.fetchone()
    return (int(row[0]), str(row[1])) if row else None


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


def _models_of(cursor: Cursor, speaker_id: int) -> tuple[tuple[str, str], ...]:
    cursor.execute(
        "SELECT DISTINCT m.name, m.revision FROM enrollments e JOIN embedding_models m USING (model_id) "
        "WHERE e.speaker_id = %s ORDER BY 1, 2",
        (speaker_id,),
    )
    return tuple((row[0], row[1]) for row in cursor)


def _remove_labels(cursor: Cursor, speaker_id: int) -> int:
    """Take a speaker off all that matching named; returns how many clusters that were."""
    cursor.execute(
        "UPDATE clusters SET speaker_id = NULL, speaker_score = NULL, speaker_margin = NULL, speaker_matched = false "
        "WHERE speaker_id = %s AND speaker_matched RETURNING video_id",
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

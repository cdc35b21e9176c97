"""Speakers that nobody enrolled: unknown voices that speak in several videos.

They are found anew from all unknown voices of a model, so that the order in which videos came makes no difference, and
keep their numbers. A speaker that a person named, merged or split is known by its clusters from then on, as an enrolled
one is by its clips, and is no longer looked for.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from channelscribe.speakers.identification import mixes_voices
from channelscribe.speakers.operating_points import OperatingPoint
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.models import find_model
from channelscribe.store.speakers.labels import (
    Labelled,
    is_identified,
    lock_voices,
    note_changes,
    operating_point,
    relabel,
)
from channelscribe.store.speakers.names import choose_heirs

logger = logging.getLogger(__name__)

# Seconds of speech below which a cluster's voice is not compared: no shorter ones were measured.
MIN_SPEECH_S = 8.0

_UNKNOWN = """
SELECT k.video_id, k.cluster, k.speech_s, k.speaker_variance, k.speaker_id, e.embedding
FROM stage_runs r
JOIN videos v USING (video_id)
JOIN clusters k USING (video_id)
LEFT JOIN cluster_voice_embeddings e
  ON e.video_id = k.video_id AND e.cluster = k.cluster AND e.model_id = %(model_id)s
LEFT JOIN speakers s USING (speaker_id)
WHERE r.stage = 'identify_speakers' AND r.model = %(name)s AND r.revision = %(revision)s
  AND (k.speaker_id IS NULL OR (k.speaker_matched AND s.discovered))
ORDER BY v.published_at, k.video_id, k.cluster
"""
_SET = """
UPDATE clusters k SET speaker_id = w.speaker_id, speaker_matched = w.speaker_id IS NOT NULL
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS w(video_id, cluster, speaker_id)
WHERE k.video_id = w.video_id AND k.cluster = w.cluster
"""


@dataclass(frozen=True)
class Discovered:
    """What looking for speakers found: how many there are, how many are new, and clusters that changed theirs."""

    n_speakers: int = 0
    n_new: int = 0
    n_clusters: int = 0

    def __add__(self, other: "Discovered") -> "Discovered":
        return Discovered(
            self.n_speakers + other.n_speakers, self.n_new + other.n_new, self.n_clusters + other.n_clusters
        )


@dataclass(frozen=True)
class _Unknown:
    """A cluster that nobody is known by."""

    video_id: str
    cluster: str
    speech_s: float
    speaker_variance: float | None
    speaker_id: int | None
    embedding: npt.NDArray[np.float32] | None

    def is_comparable(self, point: OperatingPoint) -> bool:
        """Whether its mean voice is one person's, and enough of it."""
        return (
            self.embedding is not None
            and self.speech_s >= MIN_SPEECH_S
            and not mixes_voices(self.speaker_variance, point)
        )


def discover(connection: Connection, model: tuple[str, str]) -> Discovered:
    """Find the unknown voices that speak in several videos, in one transaction; only clusters that change are written.

    A group of voices keeps the number that most of its speech had before.

    Args:
        connection: to a migrated archive, outside a transaction.
        model: name and revision of the voice model.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        point = operating_point(cursor, model)
        unknown = _read_unknown(cursor, model)
        if unknown and (point is None or point.same_voice is None):
            logger.warning(
                "No speakers are looked for by %s (%s): run `channelscribe calibrate` to measure when voices are one.",
                *model,
            )
        groups = _group(unknown, point)
        speakers, n_new = _speakers_of(cursor, unknown, groups)
        wanted = [speakers.get(group) for group in groups]
        changed = [
            (row.video_id, row.cluster, speaker)
            for row, speaker in zip(unknown, wanted, strict=True)
            if speaker != row.speaker_id
        ]
        if changed:
            cursor.execute(_SET, tuple(map(list, zip(*changed, strict=True))))
            note_changes(cursor, {row[0] for row in changed})
    return Discovered(len(speakers), n_new, len(changed))


def identify_all(connection: Connection, model: tuple[str, str] | None = None) -> tuple[Labelled, Discovered]:
    """Identify voices anew by those that are known now, and look for speakers among the others.

    Args:
        connection: to a migrated archive, outside a transaction.
        model: name and revision of the voice model whose videos it is about; those of all models without one.
    """
    labelled, found = Labelled(), Discovered()
    for each in [model] if model else _models_in_use(connection):
        labelled += relabel(connection, each)
        found += discover(connection, each)
    return labelled, found


def identify_changed(connection: Connection, model: tuple[str, str]) -> tuple[Labelled, Discovered]:
    """The same, at less cost where nothing changed: loads identify by what is known, and only what they miss is done.

    They miss videos that were loaded before a voice was known by another one's clusters, and what an interrupted
    identification left.
    """
    labelled = Labelled() if is_identified(connection, model) else relabel(connection, model)
    return labelled, discover(connection, model)


def new_number(cursor: Cursor) -> tuple[int, str]:
    """A number that no discovered speaker ever had, and the name made of it."""
    cursor.execute("SELECT coalesce(max(number), 0) FROM speakers")
    row = cursor.fetchone()
    number = int(row[0]) if row else 0
    while True:
        number += 1
        name = f"Speaker {number}"
        cursor.execute("SELECT FROM speakers WHERE lower(name) = lower(%s)", (name,))
        if not cursor.rowcount:
            return number, name


def _models_in_use(connection: Connection) -> list[tuple[str, str]]:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT model, revision FROM stage_runs WHERE stage = 'identify_speakers' ORDER BY 1, 2"
        )
        return [(row[0], row[1]) for row in cursor]


def _read_unknown(cursor: Cursor, model: tuple[str, str]) -> list[_Unknown]:
    found = find_model(cursor, "voice", *model)
    names = {"name": model[0], "revision": model[1], "model_id": found.model_id if found else None}
    cursor.execute(_UNKNOWN, names)
    return [
        _Unknown(video_id, cluster, speech_s, variance, speaker_id, None if vector is None else vector.to_numpy())
        for video_id, cluster, speech_s, variance, speaker_id, vector in cursor.fetchall()
    ]


def _group(unknown: Sequence[_Unknown], point: OperatingPoint | None) -> list[int]:
    """The number of the group of each, -1 for none."""
    result = [-1] * len(unknown)
    if point is None or point.same_voice is None:
        return result
    rows = [index for index, row in enumerate(unknown) if row.is_comparable(point)]
    if rows:
        # Here, not above: SciPy costs a third of a second, and most commands do without.
        from channelscribe.speakers.discovery import group_voices

        vectors = np.array([unknown[index].embedding for index in rows], np.float32)
        _, videos = np.unique([unknown[index].video_id for index in rows], return_inverse=True)
        for index, group in zip(rows, group_voices(vectors, videos, point.same_voice).tolist(), strict=True):
            result[index] = group
    return result


def _speakers_of(cursor: Cursor, unknown: Sequence[_Unknown], groups: Sequence[int]) -> tuple[dict[int, int], int]:
    """The speaker of each group, known or made, and how many were made."""
    shared: dict[tuple[str, str], float] = {}
    for row, group in zip(unknown, groups, strict=True):
        if group >= 0 and row.speaker_id is not None:
            key = (str(row.speaker_id), str(group))
            shared[key] = shared.get(key, 0.0) + row.speech_s
    heirs = choose_heirs([(*key, seconds) for key, seconds in shared.items()])
    speakers = {int(group): int(speaker) for speaker, group in heirs.items()}
    new = sorted({group for group in groups if group >= 0} - speakers.keys())
    for group in new:
        cursor.execute(
            "INSERT INTO speakers (number, name, discovered) VALUES (%s, %s, true) RETURNING speaker_id",
            new_number(cursor),
        )
        made = cursor.fetchone()
        assert made is not None  # noqa: S101 - RETURNING gives a row or the statement fails
        speakers[group] = int(made[0])
    return speakers, len(new)

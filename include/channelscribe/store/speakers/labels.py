"""Names for what is in the archive: its voice embeddings against the enrolled voices, without touching audio.

A cluster has a speaker as a whole, or, where its speaker variance says that it mixes voices, each of its utterances has
one of its own. The view ``utterance_speakers`` puts the two together. A speaker that a person gave to a cluster is
never touched, and nothing below it is named.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from psycopg2.extras import execute_values

from channelscribe.speakers.identification import (
    UNKNOWN,
    Match,
    Voices,
    match_utterances,
    match_voices,
    mean_voices,
    mixes_voices,
)
from channelscribe.speakers.operating_points import OPERATING_POINTS, OperatingPoint
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.models import find_model
from channelscribe.store.speakers.names import lock_video

logger = logging.getLogger(__name__)

ClusterKey = tuple[str, str]
UtteranceKey = tuple[str, int]

# Bounds the memory: of these videos the voice embeddings are held at once.
BATCH_VIDEOS = 25
_VOICES_LOCK = 7_231_846_507

# Clips, and clusters of one voice that a person gave to a speaker. Of a long one no more counts than of a good clip:
# several recordings say more of a voice than much of one.
_MOST_S = 60.0
_KNOWN = """
(SELECT speaker_id, end_s - start_s, embedding FROM enrollments WHERE model_id = %(model_id)s ORDER BY enrollment_id)
UNION ALL
(SELECT k.speaker_id, least(k.speech_s, %(most_s)s), e.embedding
 FROM clusters k JOIN cluster_voice_embeddings e USING (video_id, cluster)
 WHERE e.model_id = %(model_id)s AND k.speaker_id IS NOT NULL AND NOT k.speaker_matched
   AND coalesce(k.speaker_variance, 0) <= %(max_variance)s
 ORDER BY video_id, cluster)
"""
_CLUSTERS = """
SELECT k.video_id, k.cluster, k.speaker_variance, e.embedding
FROM clusters k LEFT JOIN cluster_voice_embeddings e
  ON e.video_id = k.video_id AND e.cluster = k.cluster AND e.model_id = %(model_id)s
WHERE k.video_id = ANY(%(video_ids)s) AND (k.speaker_id IS NULL OR k.speaker_matched)
ORDER BY k.video_id, k.cluster
"""
_MIXED = "unnest(%(videos)s::text[], %(clusters)s::text[]) AS mixed(video_id, cluster)"
_TURNS = f"""
SELECT video_id, cluster, start_s, end_s, embedding FROM turn_voice_embeddings JOIN {_MIXED} USING (video_id, cluster)
WHERE model_id = %(model_id)s ORDER BY video_id, cluster, embedded_turn_index
"""  # noqa: S608 - constants of this module
_UTTERANCES = f"""
SELECT video_id, cluster, utterance_index, start_s, end_s FROM utterances JOIN {_MIXED} USING (video_id, cluster)
ORDER BY video_id, cluster, utterance_index
"""  # noqa: S608 - constants of this module
# Rows that are right already are not written. The values before come from a second look at the same row. A voice that
# is nobody's may be a discovered speaker's: `store.speakers.discovered` decides that.
_SET_CLUSTERS = """
UPDATE clusters k SET speaker_id = n.speaker_id, speaker_score = n.speaker_score, speaker_margin = n.speaker_margin,
                      speaker_matched = n.speaker_id IS NOT NULL
FROM (
    SELECT video_id, cluster, coalesce(w.speaker_id, s.speaker_id) AS speaker_id, w.speaker_score, w.speaker_margin,
           old.speaker_id AS old_id,
           ROW(old.speaker_id, old.speaker_score, old.speaker_margin, old.speaker_matched) AS old_values
    FROM wanted_clusters w
    JOIN clusters old USING (video_id, cluster)
    LEFT JOIN speakers s ON s.speaker_id = old.speaker_id AND s.discovered
) n
WHERE k.video_id = n.video_id AND k.cluster = n.cluster
  AND n.old_values
      IS DISTINCT FROM ROW(n.speaker_id, n.speaker_score, n.speaker_margin, n.speaker_id IS NOT NULL)
RETURNING k.video_id, k.cluster, n.old_id IS DISTINCT FROM n.speaker_id
"""
_SET_UTTERANCES = """
UPDATE utterances u SET speaker_id = w.speaker_id, speaker_score = w.speaker_score, speaker_margin = w.speaker_margin
FROM utterances old LEFT JOIN wanted_utterances w USING (video_id, utterance_index)
WHERE old.video_id = ANY(%(video_ids)s) AND u.video_id = old.video_id AND u.utterance_index = old.utterance_index
  AND ROW(old.speaker_id, old.speaker_score, old.speaker_margin)
      IS DISTINCT FROM ROW(w.speaker_id, w.speaker_score, w.speaker_margin)
RETURNING u.video_id, u.cluster, old.speaker_id IS DISTINCT FROM w.speaker_id
"""


_OF_MODEL = "stage = 'identify_speakers' AND model = %(name)s AND revision = %(revision)s"
_VIDEOS_OF_MODEL = f"""
SELECT video_id FROM stage_runs WHERE {_OF_MODEL} AND video_id > %(last)s ORDER BY video_id LIMIT {BATCH_VIDEOS}
"""  # noqa: S608 - constants of this module
_STILL_OF_MODEL = f"SELECT video_id FROM stage_runs WHERE {_OF_MODEL} AND video_id = ANY(%(video_ids)s)"  # noqa: S608


@dataclass(frozen=True)
class Identifier:
    """All that a voice of one model is identified by.

    Args:
        model_id: of the model in the archive, or None where it has no vectors: then all are unknown.
        voices: those enrolled.
        point: what decides, or None where nobody measured it: then nobody is named.
    """

    model_id: int | None
    voices: Voices
    point: OperatingPoint | None

    @property
    def digest(self) -> str:
        """Of all that decides: equal digests identify every voice alike."""
        point = self.point and (self.point.threshold, self.point.margin, self.point.max_variance)
        known = repr((self.voices.speaker_ids, point)).encode()
        return hashlib.sha256(known + self.voices.directions.tobytes()).hexdigest()


@dataclass(frozen=True)
class Labelled:
    """What labelling changed: rows written at all, and clusters and utterances that have another speaker now."""

    n_rows: int = 0
    n_clusters: int = 0
    n_utterances: int = 0

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(
            self.n_rows + other.n_rows, self.n_clusters + other.n_clusters, self.n_utterances + other.n_utterances
        )


def lock_voices(cursor: Cursor, *, exclusive: bool) -> None:
    """Keep the enrolled voices as they are until the transaction ends, or, exclusively, wait until nobody needs that.

    So a video is labelled by the present voices when it is seen, whatever else goes on. Taken before any video's lock.
    """
    cursor.execute(f"SELECT pg_advisory_xact_lock{'' if exclusive else '_shared'}(%s)", (_VOICES_LOCK,))


def operating_point(cursor: Cursor, model: tuple[str, str]) -> OperatingPoint | None:
    """What decides for a voice model: its newest calibration, else what was measured for the release."""
    cursor.execute(
        "SELECT threshold, margin, max_variance, same_voice FROM speaker_calibrations "
        "WHERE model = %s AND revision = %s ORDER BY calibration_id DESC LIMIT 1",
        model,
    )
    row = cursor.fetchone()
    return OperatingPoint(*row) if row else OPERATING_POINTS.get(model)


def note_changes(cursor: Cursor, video_ids: Iterable[str]) -> None:
    """Note that something below these videos changed."""
    cursor.execute("UPDATE videos SET loaded_at = now() WHERE video_id = ANY(%s)", (sorted(video_ids),))


def read_identifier(cursor: Cursor, model: tuple[str, str]) -> Identifier:
    """What voices of a model (name, revision) are identified by at present: clips, and clusters that people named."""
    found, point = find_model(cursor, "voice", *model), operating_point(cursor, model)
    rows: list[tuple[int, float, npt.NDArray[np.float32]]] = []
    if found:
        max_variance = point.max_variance if point else None
        cursor.execute(_KNOWN, {"model_id": found.model_id, "max_variance": max_variance, "most_s": _MOST_S})
        rows = [(speaker_id, seconds, vector.to_numpy()) for speaker_id, seconds, vector in cursor]
    embeddings = np.array([row[2] for row in rows], np.float32).reshape(len(rows), found.dimension if found else 0)
    voices = mean_voices([row[0] for row in rows], embeddings, [row[1] for row in rows])
    return Identifier(found.model_id if found else None, voices, point)


def warn_without_operating_point(identifier: Identifier, model: tuple[str, str]) -> None:
    """Say why nobody is named although voices are enrolled."""
    if identifier.point is None and identifier.voices.speaker_ids:
        logger.warning("Nobody is named by %s (%s): run `channelscribe calibrate` to measure its threshold.", *model)


def label_videos(cursor: Cursor, video_ids: Sequence[str], identifier: Identifier) -> Labelled:
    """Identify the clusters of videos, and the utterances of those that mix voices; only rows that differ are written.

    Args:
        cursor: of a transaction that holds the locks of the voices and of the videos.
        video_ids: videos whose present voice embeddings are those of the identifier's model.
        identifier: what decides.
    """
    whole, mixed = _match_clusters(cursor, video_ids, identifier)
    utterances = _match_utterances(cursor, mixed, identifier) if mixed else {}
    _stage(cursor, "wanted_clusters", "cluster text", {**whole, **dict.fromkeys(mixed, UNKNOWN)}.items())
    cursor.execute(_SET_CLUSTERS)
    clusters = cursor.fetchall()
    _stage(cursor, "wanted_utterances", "utterance_index integer", utterances.items())
    cursor.execute(_SET_UTTERANCES, {"video_ids": list(video_ids)})
    own = cursor.fetchall()
    note_changes(cursor, {row[0] for row in (*clusters, *own)})
    renamed = {(video_id, cluster) for video_id, cluster, changed in clusters if changed}
    n_own = sum(changed and (video_id, cluster) not in renamed for video_id, cluster, changed in own)
    return Labelled(len(clusters) + len(own), len(renamed), n_own + _count_utterances(cursor, renamed))


def relabel(connection: Connection, model: tuple[str, str]) -> Labelled:
    """Identify anew every video whose voice embeddings are of a model, batch by batch, each in one transaction.

    What was done before an interruption stays, and calling it again does the rest.

    Args:
        connection: to a migrated archive, outside a transaction.
        model: name and revision of the voice model.
    """
    result, last, digests = Labelled(), "", set()
    with errors_in_words():
        while True:
            with connection, connection.cursor() as cursor:
                lock_voices(cursor, exclusive=False)
                identifier = read_identifier(cursor, model)
                digests.add(identifier.digest)
                if not last:
                    warn_without_operating_point(identifier, model)
                cursor.execute(_VIDEOS_OF_MODEL, {"name": model[0], "revision": model[1], "last": last})
                video_ids = [row[0] for row in cursor]
                if not video_ids:
                    if len(digests) == 1:  # all by the same voices
                        _note_identified(cursor, model, identifier)
                    return result
                for video_id in video_ids:
                    lock_video(cursor, video_id)
                # Whoever held a video's lock may have loaded it with another model meanwhile.
                cursor.execute(_STILL_OF_MODEL, {"name": model[0], "revision": model[1], "video_ids": video_ids})
                result += label_videos(cursor, [row[0] for row in cursor], identifier)
                last = video_ids[-1]


def is_identified(connection: Connection, model: tuple[str, str]) -> bool:
    """Whether every video of a model was identified by the voices that are known now: then loads have done the rest."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=False)
        cursor.execute("SELECT digest FROM voice_identifications WHERE model = %s AND revision = %s", model)
        row = cursor.fetchone()
        return row is not None and row[0] == read_identifier(cursor, model).digest


def _note_identified(cursor: Cursor, model: tuple[str, str], identifier: Identifier) -> None:
    cursor.execute(
        "INSERT INTO voice_identifications AS v VALUES (%s, %s, %s) ON CONFLICT (model, revision) DO UPDATE "
        "SET digest = excluded.digest WHERE v.digest <> excluded.digest",
        (*model, identifier.digest),
    )


def _match_clusters(
    cursor: Cursor, video_ids: Sequence[str], identifier: Identifier
) -> tuple[dict[ClusterKey, Match], list[ClusterKey]]:
    """The speakers of the clusters, and the clusters that are to be taken turn by turn."""
    cursor.execute(_CLUSTERS, {"model_id": identifier.model_id, "video_ids": list(video_ids)})
    matches: dict[ClusterKey, Match] = {}
    mixed, keys, vectors = [], [], []
    for video_id, cluster, variance, vector in cursor:
        if vector is None:
            matches[video_id, cluster] = UNKNOWN
        elif identifier.voices.speaker_ids and mixes_voices(variance, identifier.point):
            mixed.append((video_id, cluster))
        else:
            keys.append((video_id, cluster))
            vectors.append(vector.to_numpy())
    matches.update(zip(keys, match_voices(np.array(vectors), identifier.voices, identifier.point), strict=True))
    return matches, mixed


def _match_utterances(cursor: Cursor, mixed: Sequence[ClusterKey], identifier: Identifier) -> dict[UtteranceKey, Match]:
    names = {"videos": [key[0] for key in mixed], "clusters": [key[1] for key in mixed]}
    cursor.execute(_TURNS, {**names, "model_id": identifier.model_id})
    turns = [(row[:2], row[2:4], row[4].to_numpy()) for row in cursor]
    matches = match_voices(np.array([vector for *_, vector in turns]), identifier.voices, identifier.point)
    of_cluster: dict[ClusterKey, list[tuple[tuple[float, float], Match]]] = {}
    for (key, span, _), match in zip(turns, matches, strict=True):
        of_cluster.setdefault(key, []).append((span, match))
    cursor.execute(_UTTERANCES, names)
    result: dict[UtteranceKey, Match] = {}
    for key, rows in groupby(cursor.fetchall(), key=lambda row: (row[0], row[1])):
        utterances, known = list(rows), of_cluster.get(key, [])
        spans = np.array([span for span, _ in known], np.float64).reshape(-1, 2)
        times = np.array([row[3:5] for row in utterances], np.float64)
        found = match_utterances(times, spans, [match for _, match in known])
        result.update(((row[0], row[2]), match) for row, match in zip(utterances, found, strict=True))
    return result


def _stage(cursor: Cursor, table: str, key: str, matches: Iterable[tuple[tuple[object, ...], Match]]) -> None:
    """Put matches into a temporary table, which is gone at the end of the transaction."""
    cursor.execute(
        f"CREATE TEMP TABLE {table} (video_id text, {key}, speaker_id bigint, speaker_score float8, "
        "speaker_margin float8) ON COMMIT DROP"
    )
    rows = ((*of, match.speaker_id, match.score, match.margin) for of, match in matches)
    execute_values(cursor, f"INSERT INTO {table} VALUES %s", rows, page_size=1000)  # noqa: S608 - one of two names


def _count_utterances(cursor: Cursor, clusters: set[ClusterKey]) -> int:
    names = {"videos": [key[0] for key in clusters], "clusters": [key[1] for key in clusters]}
    cursor.execute(f"SELECT count(*) FROM utterances JOIN {_MIXED} USING (video_id, cluster)", names)  # noqa: S608
    row = cursor.fetchone()
    return int(row[0]) if row else 0

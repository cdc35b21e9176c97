"""Names that a person gave to clusters, kept when the clusters themselves are made anew."""

import logging
from collections.abc import Sequence

from psycopg2.extras import execute_values

from channelscribe.store.connection import Cursor

logger = logging.getLogger(__name__)

_OVERLAPS = """
SELECT old.cluster, new.cluster, sum(least(old.end_s, new.end_s) - greatest(old.start_s, new.start_s))
FROM clusters named
JOIN turns old ON old.video_id = named.video_id AND old.cluster = named.cluster AND NOT old.exclusive
JOIN staging_turns new ON NOT new.exclusive AND new.start_s < old.end_s AND new.end_s > old.start_s
WHERE named.video_id = %s AND named.speaker_id IS NOT NULL AND NOT named.speaker_matched
GROUP BY 1, 2
"""


def lock_video(cursor: Cursor, video_id: str) -> None:
    """Wait until nobody else changes this video, until the transaction ends. Whoever names a cluster takes it too."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ("video " + video_id,))


def turns_differ(cursor: Cursor, video_id: str) -> bool:
    """Whether the staged turns are others than those in the archive."""
    columns = "exclusive, turn_index, start_s, end_s, cluster"
    old, new = f"SELECT {columns} FROM turns WHERE video_id = %(id)s", f"SELECT {columns} FROM staging_turns"  # noqa: S608
    cursor.execute(f"SELECT EXISTS (({old} EXCEPT {new}) UNION ALL ({new} EXCEPT {old}))", {"id": video_id})
    row = cursor.fetchone()
    return bool(row and row[0])


def drop_discovered(cursor: Cursor, video_id: str) -> int:
    """Take discovered speakers off a video whose turns differ: a label may mean another voice now. Returns how many."""
    cursor.execute(
        "UPDATE clusters k SET speaker_id = NULL, speaker_matched = false FROM speakers s "
        "WHERE k.video_id = %s AND s.speaker_id = k.speaker_id AND s.discovered",
        (video_id,),
    )
    return cursor.rowcount


def named_clusters(cursor: Cursor, video_id: str, *, turns_changed: bool) -> dict[str, int]:
    """Speakers that a person gave to clusters, by the staged clusters that they shall belong to now.

    With the same turns a label means the same voice. With others a name goes to the new cluster that speaks
    most at the time of the old one, since a new diarization numbers its clusters as it likes. What can be undone of
    names goes with them.
    """
    cursor.execute(
        "SELECT cluster, speaker_id FROM clusters "
        "WHERE video_id = %s AND speaker_id IS NOT NULL AND NOT speaker_matched",
        (video_id,),
    )
    named: dict[str, int] = dict(cursor.fetchall())
    if not turns_changed:
        return named
    cursor.execute(_OVERLAPS, (video_id,))
    heirs = choose_heirs(cursor.fetchall())
    for cluster in sorted(named.keys() - heirs.keys()):
        logger.warning("%s: no voice is where the named %s was; its name is gone", video_id, cluster)
    _move_edits(cursor, video_id, heirs)
    return {heirs[cluster]: speaker_id for cluster, speaker_id in named.items() if cluster in heirs}


def set_names(cursor: Cursor, video_id: str, named: dict[str, int]) -> int:
    """Let just these clusters have a speaker that a person gave; returns how many rows that changed."""
    cursor.execute(
        """
        UPDATE clusters k
        SET speaker_id = w.speaker_id, speaker_score = NULL, speaker_margin = NULL, speaker_matched = false
        FROM clusters old LEFT JOIN unnest(%s::text[], %s::bigint[]) AS w(cluster, speaker_id) USING (cluster)
        WHERE old.video_id = %s AND k.video_id = old.video_id AND k.cluster = old.cluster
          AND CASE WHEN w.cluster IS NULL THEN old.speaker_id IS NOT NULL AND NOT old.speaker_matched
                   ELSE old.speaker_matched OR old.speaker_id IS DISTINCT FROM w.speaker_id END
        """,
        (list(named), list(named.values()), video_id),
    )
    return cursor.rowcount


def _move_edits(cursor: Cursor, video_id: str, heirs: dict[str, str]) -> None:
    cursor.execute(
        "DELETE FROM speaker_edit_clusters WHERE video_id = %s "
        "RETURNING edit_id, video_id, cluster, speaker_id, speaker_matched",
        (video_id,),
    )
    moved = [(edit, video, heirs[old], *before) for edit, video, old, *before in cursor.fetchall() if old in heirs]
    if moved:
        execute_values(cursor, "INSERT INTO speaker_edit_clusters VALUES %s", moved)


def choose_heirs(overlaps: Sequence[tuple[str, str, float]]) -> dict[str, str]:
    """Which new cluster takes the place of which old one.

    Args:
        overlaps: old cluster, new cluster, seconds in which both speak.

    Returns:
        New cluster by old one. Each old one goes where most of it went; where several went to one, the
        longest takes it, and the others have no heir.
    """
    # Equal seconds: the same label first, then by name, so that the choice never depends on the order of rows.
    ordered = sorted(overlaps, key=lambda item: (-item[2], item[0] != item[1], item[0], item[1]))
    best: dict[str, str] = {}
    taken: set[str] = set()
    heirs: dict[str, str] = {}
    for old, new, _ in ordered:
        if old in best:
            continue
        best[old] = new
        if new not in taken:
            taken.add(new)
            heirs[old] = new
    return heirs

"""What people say of speakers: names, merges, splits, and who is not whom.

Each is noted with what was before, and the last can be undone. A cluster that an edit decided is the speaker's by hand:
no run takes it away, and the voice is known by it from then on. All of them leave the rest of the archive to be
identified anew (`store.speakers.discovered.identify_all`).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import Json

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.speakers.discovered import new_number
from channelscribe.store.speakers.enrollments import (
    checked_name,
    dismiss_speaker,
    find_speaker,
    nobody_called,
    require_speaker,
)
from channelscribe.store.speakers.labels import lock_voices, note_changes
from channelscribe.store.speakers.restoring import remove_if_unused, restore_clusters, restore_speaker

ClusterKey = tuple[str, str]

_CLUSTER = re.compile(r"(?P<video>[^/]+)/(?P<cluster>SPEAKER_\d+)", re.IGNORECASE)
_KEYS = "unnest(%s::text[], %s::text[]) AS w(video_id, cluster)"
_NOTE_CLUSTERS = f"""
INSERT INTO speaker_edit_clusters
SELECT %s, video_id, cluster, speaker_id, speaker_matched FROM clusters JOIN {_KEYS} USING (video_id, cluster)
"""  # noqa: S608 - constants of this module
_GIVE_CLUSTERS = f"""
UPDATE clusters k SET speaker_id = %s, speaker_score = NULL, speaker_margin = NULL, speaker_matched = false
FROM {_KEYS} WHERE k.video_id = w.video_id AND k.cluster = w.cluster
"""  # noqa: S608 - constants of this module
# Who is not the one is not the other either, once they are one.
_KEEP_APART = """
INSERT INTO distinct_speakers (first_id, second_id, edit_id)
SELECT least(other, %(kept)s), greatest(other, %(kept)s), %(edit_id)s
FROM (
    SELECT CASE first_id WHEN %(gone)s THEN second_id ELSE first_id END AS other FROM distinct_speakers
    WHERE %(gone)s IN (first_id, second_id)
) others
WHERE other <> %(kept)s
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Edit:
    """What somebody said of speakers, and when."""

    edit_id: int
    description: str
    made_at: datetime


@dataclass(frozen=True)
class _Speaker:
    speaker_id: int
    name: str
    discovered: bool
    enrolled: bool


def cluster_key(text: str) -> ClusterKey | None:
    """The cluster that a text such as `VIDEO_ID/SPEAKER_01` names; None where it names none."""
    match = _CLUSTER.fullmatch(text.strip())
    return (match["video"], match["cluster"].upper()) if match else None


def speaker_of(connection: Connection, key: ClusterKey) -> str | None:
    """The name of a cluster's speaker; None where it has none as a whole.

    Raises:
        BadInputError: there is no such cluster.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        _require_clusters(cursor, [key])
        cursor.execute(
            "SELECT s.name FROM clusters k JOIN speakers s USING (speaker_id) WHERE k.video_id = %s AND k.cluster = %s",
            key,
        )
        row = cursor.fetchone()
    return str(row[0]) if row else None


def is_somebody_else(connection: Connection, name: str, other: str) -> bool:
    """Whether the second name is a speaker's, and another one's than the first."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        found, first = find_speaker(cursor, " ".join(other.split())), find_speaker(cursor, name.strip())
    return found is not None and found != first


def name_speaker(connection: Connection, name: str, new_name: str) -> str:
    """Give a speaker another name, and keep a discovered one's clusters for good; returns what was done.

    Raises:
        BadInputError: there is no such speaker, or somebody else has that name.
    """
    new_name = checked_name(new_name)
    with _transaction(connection) as cursor:
        speaker = _existing(cursor, name)
        other = find_speaker(cursor, new_name)
        if other and other[0] != speaker.speaker_id:
            raise BadInputError(
                f"{other[1]} is a speaker already: `channelscribe speakers merge` makes {speaker.name} the same one."
            )
        what = f"{speaker.name} is called {new_name}"
        keys = _clusters_of(cursor, speaker) if speaker.discovered else []
        _note(cursor, what, [speaker.speaker_id], keys)
        cursor.execute("UPDATE speakers SET name = %s WHERE speaker_id = %s", (new_name, speaker.speaker_id))
        _give(cursor, keys, speaker.speaker_id)
    return what


def name_cluster(connection: Connection, key: ClusterKey, name: str) -> str:
    """Say whose voice one cluster is; the speaker is made if the name is new. Returns what was done.

    Raises:
        BadInputError: there is no such cluster.
    """
    name = checked_name(name)
    with _transaction(connection) as cursor:
        _require_clusters(cursor, [key])
        found = find_speaker(cursor, name)
        what = f"{key[0]}/{key[1]} is {found[1] if found else name}"
        speaker_id = found[0] if found else _create(cursor, name)
        _note(cursor, what, [speaker_id], [key], created=[] if found else [speaker_id])
        _give(cursor, [key], speaker_id)
    return what


def merge_speakers(connection: Connection, name: str, into: str) -> str:
    """Make two speakers one, with the second's name; returns what was done.

    Raises:
        BadInputError: one of them is not there, or they are one already.
    """
    with _transaction(connection) as cursor:
        gone, kept = _existing(cursor, name), _existing(cursor, into)
        if gone.speaker_id == kept.speaker_id:
            raise BadInputError(f"{gone.name} is one speaker already: name two.")
        what = f"{gone.name} is {kept.name}"
        keys = _clusters_of(cursor, gone) + (_clusters_of(cursor, kept) if kept.discovered else [])
        edit_id = _note(cursor, what, [gone.speaker_id, kept.speaker_id], keys)
        cursor.execute(_KEEP_APART, {"gone": gone.speaker_id, "kept": kept.speaker_id, "edit_id": edit_id})
        cursor.execute(
            "UPDATE enrollments SET speaker_id = %s WHERE speaker_id = %s", (kept.speaker_id, gone.speaker_id)
        )
        _give(cursor, keys, kept.speaker_id)
        dismiss_speaker(cursor, gone.speaker_id)
    return what


def split_speaker(connection: Connection, name: str, keys: Collection[ClusterKey], new_name: str | None) -> str:
    """Take clusters from a speaker, and give them to another: one of that name, or a new one; returns what was done.

    Raises:
        BadInputError: a cluster is not this speaker's, or nothing would be left.
    """
    wanted = sorted(set(keys))
    new_name = checked_name(new_name) if new_name is not None else None
    with _transaction(connection) as cursor:
        speaker = _existing(cursor, name)
        own = _clusters_of(cursor, speaker)
        _require_clusters(cursor, wanted)
        for key in wanted:
            if key not in own:
                raise BadInputError(
                    f'{"/".join(key)} is not {speaker.name}: `channelscribe speakers show "{speaker.name}"` lists '
                    "what is."
                )
        if len(wanted) == len(own) and not speaker.enrolled:
            raise BadInputError(f"That is all of {speaker.name}: `channelscribe speakers name` gives another name.")
        found = find_speaker(cursor, new_name) if new_name is not None else None
        if found and found[0] == speaker.speaker_id:
            raise BadInputError(f"{speaker.name} is whom the clusters are taken from: give another name.")
        other_id, other = found or _create_named_or_numbered(cursor, new_name)
        n = len(wanted)
        what = f"{n} cluster{'' if n == 1 else 's'} of {speaker.name} {'is' if n == 1 else 'are'} {other}"
        # The rest stays by hand, too, or the new speaker's voice would draw it.
        decided = own if speaker.discovered else wanted
        _note(cursor, what, [speaker.speaker_id, other_id], decided, created=[] if found else [other_id])
        _give(cursor, decided, speaker.speaker_id)
        _give(cursor, wanted, other_id)
    return what


def tell_apart(connection: Connection, name: str, other: str) -> str:
    """Say that two speakers are two, however alike their voices; returns what was done.

    Raises:
        BadInputError: one of them is not there, they are one, or it was said already.
    """
    with _transaction(connection) as cursor:
        one, two = _existing(cursor, name), _existing(cursor, other)
        if one.speaker_id == two.speaker_id:
            raise BadInputError(f"{one.name} is one speaker: name two.")
        pair = sorted((one.speaker_id, two.speaker_id))
        cursor.execute("SELECT FROM distinct_speakers WHERE first_id = %s AND second_id = %s", pair)
        if cursor.rowcount:
            raise BadInputError(
                f"{one.name} and {two.name} are two already: `channelscribe speakers merge` makes them one."
            )
        what = f"{one.name} and {two.name} are two"
        # What is found anew after each run would be one again some day.
        keys = {speaker.speaker_id: _clusters_of(cursor, speaker) for speaker in (one, two) if speaker.discovered}
        edit_id = _note(cursor, what, pair, [key for own in keys.values() for key in own])
        for speaker_id, own in keys.items():
            _give(cursor, own, speaker_id)
        cursor.execute("INSERT INTO distinct_speakers VALUES (%s, %s, %s)", (*pair, edit_id))
    return what


def last_edit(connection: Connection) -> Edit | None:
    """What `undo` would take back; None where there is nothing."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT edit_id, description, made_at FROM speaker_edits WHERE undone_at IS NULL "
            "ORDER BY edit_id DESC LIMIT 1"
        )
        row = cursor.fetchone()
    return Edit(*row) if row else None


def undo(connection: Connection, edit_id: int | None = None) -> str:
    """Take back the last edit that was not undone; returns what it was, and what of it could not come back.

    Args:
        connection: to a migrated archive, outside a transaction.
        edit_id: the edit that is meant; whichever is the last without one.

    Raises:
        BadInputError: there is none, or it is not the one that is meant.
    """
    with _transaction(connection) as cursor:
        cursor.execute(
            "SELECT edit_id, description, speakers_before, enrollments_before FROM speaker_edits "
            "WHERE undone_at IS NULL ORDER BY edit_id DESC LIMIT 1"
        )
        row = cursor.fetchone()
        if row is None:
            raise BadInputError("There is nothing to undo.")
        last_id, what, speakers, enrollments = row
        if edit_id not in (None, last_id):
            raise BadInputError(f"Something else was said since, and must be undone first: {what}.")
        restored = [
            restore_speaker(cursor, int(speaker_id), before)
            for speaker_id, before in speakers.items()
            if before is not None
        ]
        if enrollments:
            cursor.execute(
                "UPDATE enrollments e SET speaker_id = w.speaker_id "
                "FROM unnest(%s::bigint[], %s::bigint[]) AS w(enrollment_id, speaker_id) "
                "WHERE e.enrollment_id = w.enrollment_id",
                (list(map(int, enrollments)), list(enrollments.values())),
            )
        restore_clusters(cursor, last_id)
        cursor.execute("DELETE FROM distinct_speakers WHERE edit_id = %s", (last_id,))
        for speaker_id, before in speakers.items():
            if before is None:
                remove_if_unused(cursor, int(speaker_id))
        cursor.execute("UPDATE speaker_edits SET undone_at = now() WHERE edit_id = %s", (last_id,))
    return "; ".join([str(what), *filter(None, restored)])


@contextmanager
def _transaction(connection: Connection) -> Iterator[Cursor]:
    """Nobody loads or labels meanwhile."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        yield cursor


def _existing(cursor: Cursor, name: str) -> _Speaker:
    found = require_speaker(cursor, name)
    cursor.execute(
        "SELECT discovered, EXISTS (SELECT FROM clusters k WHERE k.speaker_id = s.speaker_id), "
        "EXISTS (SELECT FROM enrollments e WHERE e.speaker_id = s.speaker_id) FROM speakers s WHERE speaker_id = %s",
        (found[0],),
    )
    ((discovered, speaks, enrolled),) = cursor.fetchall()
    if discovered and not speaks:  # a number that no voice has any more
        raise nobody_called(name)
    return _Speaker(*found, discovered=discovered, enrolled=enrolled)


def _create(cursor: Cursor, name: str, number: int | None = None) -> int:
    cursor.execute("INSERT INTO speakers (name, number) VALUES (%s, %s) RETURNING speaker_id", (name, number))
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives a row or the statement fails
    return int(row[0])


def _create_named_or_numbered(cursor: Cursor, name: str | None) -> tuple[int, str]:
    number = None
    if name is None:
        number, name = new_number(cursor)
    return _create(cursor, name, number), name


def _clusters_of(cursor: Cursor, speaker: _Speaker) -> list[ClusterKey]:
    cursor.execute("SELECT video_id, cluster FROM clusters WHERE speaker_id = %s ORDER BY 1, 2", (speaker.speaker_id,))
    return [(row[0], row[1]) for row in cursor]


def _require_clusters(cursor: Cursor, keys: Sequence[ClusterKey]) -> None:
    for key in keys:
        cursor.execute("SELECT FROM clusters WHERE video_id = %s AND cluster = %s", key)
        if not cursor.rowcount:
            raise BadInputError(
                f"The archive has no voice {'/'.join(key)}: give the video's id and a label of its transcript, such as "
                "youtube-abc/SPEAKER_01."
            )


def _note(
    cursor: Cursor, what: str, speaker_ids: list[int], keys: Sequence[ClusterKey], *, created: Collection[int] = ()
) -> int:
    """Keep what is before an edit; returns its number."""
    cursor.execute(
        "SELECT speaker_id, jsonb_build_object('name', name, 'number', number, 'discovered', discovered) "
        "FROM speakers WHERE speaker_id = ANY(%s)",
        (speaker_ids,),
    )
    speakers = {speaker_id: None if speaker_id in created else before for speaker_id, before in cursor}
    cursor.execute("SELECT enrollment_id, speaker_id FROM enrollments WHERE speaker_id = ANY(%s)", (speaker_ids,))
    enrollments = dict(cursor.fetchall())
    cursor.execute(
        "INSERT INTO speaker_edits (description, speaker_ids, speakers_before, enrollments_before) "
        "VALUES (%s, %s, %s, %s) RETURNING edit_id",
        (what, speaker_ids, Json(speakers), Json(enrollments)),
    )
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives a row or the statement fails
    edit_id = int(row[0])
    cursor.execute(_NOTE_CLUSTERS, (edit_id, *_columns(keys)))
    return edit_id


def _give(cursor: Cursor, keys: Sequence[ClusterKey], speaker_id: int) -> None:
    """Let clusters be a speaker's by hand, who is known by them from now on, and not looked for."""
    cursor.execute("UPDATE speakers SET discovered = false WHERE speaker_id = %s AND discovered", (speaker_id,))
    cursor.execute(_GIVE_CLUSTERS, (speaker_id, *_columns(keys)))
    note_changes(cursor, {video_id for video_id, _ in keys})


def _columns(keys: Sequence[ClusterKey]) -> tuple[list[str], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys]

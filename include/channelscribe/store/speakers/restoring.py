"""Bringing back what was before an edit of speakers (see ``edits``)."""

from channelscribe.store.connection import Cursor
from channelscribe.store.speakers.enrollments import dismiss_speaker
from channelscribe.store.speakers.labels import note_changes


def restore_speaker(cursor: Cursor, speaker_id: int, before: dict[str, object]) -> str | None:
    """Bring a speaker's row back; returns what differs from before, for people."""
    cursor.execute("SELECT FROM enrollments WHERE speaker_id = %s", (speaker_id,))
    if before["discovered"] and cursor.rowcount:
        return f"but clips were enrolled since, so {before['name']} keeps the name"
    name = _free_name(cursor, str(before["name"]), speaker_id)
    cursor.execute(
        "INSERT INTO speakers (speaker_id, name, number, discovered) OVERRIDING SYSTEM VALUE "
        "VALUES (%(id)s, %(name)s, %(number)s, %(discovered)s) ON CONFLICT (speaker_id) DO UPDATE "
        "SET name = excluded.name, number = excluded.number, discovered = excluded.discovered",
        {**before, "id": speaker_id, "name": name},
    )
    return None if name == before["name"] else f"but {before['name']} is somebody else's name now: it is {name}"


def _free_name(cursor: Cursor, name: str, speaker_id: int) -> str:
    """The name, or with a number where somebody else has it."""
    wanted, n = name, 1
    while True:
        cursor.execute("SELECT FROM speakers WHERE lower(name) = lower(%s) AND speaker_id <> %s", (wanted, speaker_id))
        if not cursor.rowcount:
            return wanted
        n += 1
        wanted = f"{name} ({n})"


def restore_clusters(cursor: Cursor, edit_id: int) -> None:
    """Give the clusters that an edit decided back to whose they were."""
    cursor.execute(
        "UPDATE clusters k SET speaker_id = s.speaker_id, "
        # By hand a voice is only of somebody who was named.
        "speaker_matched = s.speaker_id IS NOT NULL AND (e.speaker_matched OR s.discovered) "
        "FROM speaker_edit_clusters e LEFT JOIN speakers s ON s.speaker_id = e.speaker_id "
        "WHERE e.edit_id = %s AND k.video_id = e.video_id AND k.cluster = e.cluster RETURNING k.video_id",
        (edit_id,),
    )
    note_changes(cursor, {row[0] for row in cursor})


def remove_if_unused(cursor: Cursor, speaker_id: int) -> None:
    """Remove a speaker that an edit made, unless somebody was enrolled or named so since."""
    cursor.execute(
        "SELECT FROM enrollments WHERE speaker_id = %(id)s "
        "UNION ALL SELECT FROM clusters WHERE speaker_id = %(id)s AND NOT speaker_matched",
        {"id": speaker_id},
    )
    if not cursor.rowcount:
        dismiss_speaker(cursor, speaker_id)

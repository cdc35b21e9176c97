"""The audio of archived videos, as long as the workspace keeps it."""

from collections.abc import Collection
from pathlib import Path

from channelscribe.contracts import Audio
from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.workspace import Workspace

_FINGERPRINTS = "SELECT video_id, fingerprint FROM stage_runs WHERE video_id = ANY(%s) AND stage = 'fetch_audio'"


def kept_audio(connection: Connection, workspace: Workspace, video_ids: Collection[str]) -> dict[str, Path]:
    """The files that the videos' present content was made from, of those videos whose file is still there.

    Args:
        connection: to a migrated archive, outside a transaction.
        workspace: holds the artifacts.
        video_ids: which videos.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_FINGERPRINTS, (list(video_ids),))
        found = {video_id: _file(workspace, video_id, fingerprint) for video_id, fingerprint in cursor}
    return {video_id: path for video_id, path in found.items() if path}


def _file(workspace: Workspace, video_id: str, fingerprint: str) -> Path | None:
    """None also for what leads out of the workspace, whatever wrote it there."""
    try:
        artifact = workspace.find(video_id, "fetch_audio", fingerprint)
        if artifact is None:
            return None
        path = (artifact.folder / artifact.read("audio.json", Audio).file_name).resolve()
    except (BadInputError, OSError, ValueError):
        return None
    return path if path.is_relative_to(artifact.folder.resolve()) and _is_within(path, workspace) else None


def _is_within(path: Path, workspace: Workspace) -> bool:
    return path.is_relative_to((workspace.data_root / "videos").resolve()) and path.is_file()

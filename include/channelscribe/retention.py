"""What the workspace no longer needs: artifacts that others took the place of, and what killed attempts left."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from channelscribe.profiles import PROFILES, STAGES
from channelscribe.workspace import LEFTOVER_PREFIXES, Workspace


def unused(workspace: Workspace, older_than: datetime) -> Iterator[Path]:
    """Folders that nothing would read again.

    An artifact is unused once its stage has another that a profile finds for the present inputs, and no profile finds
    this one. Where no profile finds any, as the audio was deleted, say, nothing is: it may be all that is left of the
    work.

    Args:
        workspace: where to look.
        older_than: what was written since stays; a stage may be at it.
    """
    for video_dir in sorted((workspace.data_root / "videos").glob("*")):
        made = [workspace.artifacts(video_dir.name, profile) for profile in PROFILES.values()]
        for stage in STAGES:
            current = {artifact.folder for by_stage in made if (artifact := by_stage[stage])}
            for folder in sorted(path for path in (video_dir / stage).glob("*") if path.is_dir()):
                replaced = bool(current) and folder not in current
                if (replaced or folder.name.startswith(LEFTOVER_PREFIXES)) and _written_at(folder) < older_than:
                    yield folder


def remove(folder: Path) -> int:
    """Remove a folder; returns the bytes of its files. What somebody else removes meanwhile is no error."""
    n_bytes = 0
    with suppress(FileNotFoundError):
        for path in folder.rglob("*"):
            n_bytes += path.stat().st_size if path.is_file() else 0
    shutil.rmtree(folder, onerror=_pass_over_what_is_gone)
    return n_bytes


def _pass_over_what_is_gone(_function: object, _path: object, raised: tuple[object, BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def _written_at(folder: Path) -> datetime:
    """When anything in a folder was last written: never long ago where something vanishes meanwhile."""
    try:
        last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:  # a download or a stage is at it
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(last, UTC)

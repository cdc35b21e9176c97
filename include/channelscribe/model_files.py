"""The folder of the models that come from hubs: what lies where, and whether it is whole.

Each model has a folder of its own, ``MODELS/<owner>--<name>/<revision>``. ``channelscribe models pull`` gives it that
name only when all of it is there and checked, with a record of its files inside. A folder without a record was put
there by hand; it is used as it is.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from channelscribe.contracts import Contract
from channelscribe.errors import MisconfiguredError
from channelscribe.model_registry import MODELS, HubModel, folder_name
from channelscribe.settings import get_settings

# In the folder, not beside it: who copies a model to another machine takes its checksums along.
RECORD = "channelscribe.json"

_BLOCK_BYTES = 2**20

State = Literal["present", "missing", "damaged", "unrecorded"]


class ModelFile(Contract):
    """A file of a model, by its path below the model's folder."""

    path: str
    size_bytes: int
    sha256: str


class ModelRecord(Contract):
    """What was fetched, where from, and the checksums of all files."""

    model: str
    revision: str
    source: str
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Finding:
    """What lies in a model's folder.

    Args:
        state: ``damaged`` where a file is missing or other than it was; ``unrecorded`` where nobody can tell.
        reason: what is wrong, for people; empty where nothing is.
    """

    state: State
    reason: str = ""


def revision_of(model: str) -> str:
    """The pinned revision of a model. It reads nothing: it is the same on every machine, fetched or not."""
    return MODELS[model].revision


def model_folder(model: str, revision: str) -> Path:
    """Folder of a fetched model, after a look at its files' sizes, which costs next to nothing.

    Raises:
        MisconfiguredError: it was not fetched, or is not whole.
    """
    pinned = MODELS.get(model)
    folder = get_settings().models_dir / folder_name(model, revision)
    finding = inspect(folder)
    if finding.state in ("missing", "damaged"):
        raise MisconfiguredError(
            f"The model {model} is {finding.state} ({finding.reason}): "
            f"run `channelscribe models pull --profile {pinned.profile if pinned else 'gpu'}`."
        )
    return folder


def inspect(folder: Path, *, checksums: bool = False) -> Finding:
    """Look whether a model is there and whole.

    Args:
        folder: the model's folder.
        checksums: read all files, too, instead of only looking at their sizes.
    """
    if not folder.is_dir():
        return Finding("missing", f"there is no {folder}")
    try:
        record = ModelRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Finding("unrecorded", f"{folder} was put there by hand")
    except (OSError, ValidationError, UnicodeDecodeError):
        return Finding("damaged", f"{folder / RECORD} can't be read")
    for file in record.files:
        if reason := _fault(folder / file.path, file, checksums=checksums):
            return Finding("damaged", reason)
    return Finding("present")


def write_record(folder: Path, model: HubModel, source: str) -> None:
    """Write down what a model's folder holds, with checksums."""
    files = tuple(
        ModelFile(path=str(path.relative_to(folder)), size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    )
    record = ModelRecord(model=model.name, revision=model.revision, source=source, files=files)
    (folder / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """What git calls a file of this content: the SHA-1 of a header and the content, in hexadecimal."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _fault(path: Path, file: ModelFile, *, checksums: bool) -> str:
    try:
        size = path.stat().st_size
        if size != file.size_bytes:
            return f"{path} has {size} bytes instead of {file.size_bytes}"
        if checksums and sha256_of(path) != file.sha256:
            return f"{path} is not what was fetched"
    except FileNotFoundError:
        return f"{path} is gone"
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return ""

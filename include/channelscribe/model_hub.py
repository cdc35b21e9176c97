"""What models a hub offers, and fetching their files: the network's side of ``channelscribe models pull``.

It speaks to the hub by its own library, which knows addresses, tokens, mirrors and refusals. What the library no longer
does is to go on with a file that another call began, so files are written here.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from channelscribe.errors import ChannelscribeError, MisconfiguredError, TryAgainError
from channelscribe.model_files import git_blob_of, sha256_of
from channelscribe.model_registry import HUB, HubModel

# Beside what is fetched: other programs on the disk go on writing.
SPARE_BYTES = 10**9

_TOKENS = f"{HUB}/settings/tokens"
_TIMEOUT_S = 30


@dataclass(frozen=True)
class RemoteFile:
    """A file that the hub offers.

    Args:
        path: below the model's folder.
        url: where it lies.
        size_bytes: its size.
        sha256: checksum that it must have; None of a small one that is not pinned: the hub knows git's alone.
        git_blob: git's checksum of it, as the hub says.
    """

    path: str
    url: str
    size_bytes: int
    sha256: str | None = None
    git_blob: str | None = None

    def is_at(self, path: Path) -> bool:
        """Whether a file is this one, by its size and checksum."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        return sha256_of(path) == self.sha256 if self.sha256 else git_blob_of(path) == self.git_blob


class Hub:
    """The hub at the address of ``HF_ENDPOINT``, asked with the user's token if there is one."""

    def __init__(self) -> None:
        self.endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        self._token = get_token()
        self._api = HfApi(endpoint=self.endpoint, token=self._token)

    def list_files(self, model: HubModel) -> list[RemoteFile]:
        """The files of a model that are needed, after a look whether they may be fetched.

        Raises:
            ChannelscribeError: in one line, why not and what to do.
        """
        try:
            return self._file_at_url(model) if model.url else self._files_at_hub(model)
        except (HTTPError, OSError, ValueError, KeyError, TypeError) as error:  # the last three: no hub's answer
            raise self._explained(error, model) from error

    def fetch(self, model: HubModel, file: RemoteFile, target: Path) -> None:
        """Fetch a file, or the rest of one that was begun, and check it. Only then it gets its name.

        Raises:
            ChannelscribeError: in one line, why not and what to do.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            if part.is_file() and part.stat().st_size > file.size_bytes:
                part.unlink()
            with part.open("ab") as stream:
                http_get(
                    file.url,
                    stream,
                    resume_size=stream.tell(),
                    headers=self._headers(model),
                    expected_size=file.size_bytes,
                    displayed_filename=file.path,
                )
        except (HTTPError, OSError, ValueError) as error:
            raise self._explained(error, model) from error
        if not file.is_at(part):
            part.unlink()
            raise TryAgainError(
                f"{file.path} of {model.name} came damaged from {self._host(model)} (wrong checksum), and was removed: "
                "call this again; if that does not help, something on the way changes files."
            )
        part.replace(target)

    def _files_at_hub(self, model: HubModel) -> list[RemoteFile]:
        info = self._api.model_info(model.name, revision=model.revision, files_metadata=True, timeout=_TIMEOUT_S)
        found = []
        for sibling in info.siblings or []:
            path = sibling.rfilename
            if path in model.pinned or any(fnmatch(path, pattern) for pattern in model.files):
                url = hf_hub_url(model.name, path, revision=model.revision, endpoint=self.endpoint)
                # Of a small file the hub knows no SHA-256: whether it is the pinned one shows when it is there.
                sha256 = sibling.lfs.sha256 if sibling.lfs else model.pinned.get(path)
                size = sibling.lfs.size if sibling.lfs else sibling.size
                if not is_below(path) or size is None:
                    raise ValueError(f"it lists {path!r} of {size} bytes")
                found.append(RemoteFile(path, url, size, sha256, sibling.blob_id))
        require_pinned(model, info.sha, found, self.endpoint)
        # The list is open to all, also where the files are not.
        get_hf_file_metadata(found[0].url, headers=self._headers(model), endpoint=self.endpoint)
        return found

    def _file_at_url(self, model: HubModel) -> list[RemoteFile]:
        ((path, sha256),) = model.pinned.items()
        url = str(model.url)
        answer = get_session().head(url, headers=self._headers(model), timeout=_TIMEOUT_S)
        hf_raise_for_status(answer)
        return [RemoteFile(path, url, int(answer.headers["Content-Length"]), sha256)]

    def _headers(self, model: HubModel) -> dict[str, str]:
        """Those of a request. The token is the hub's alone."""
        headers: dict[str, str] = {} if model.url else build_hf_headers(token=self._token or False)
        return {**headers, "Accept-Encoding": "identity"}  # a compressed file has no ranges to go on from

    def _host(self, model: HubModel) -> str:
        return (model.url or self.endpoint).split("/")[2]

    def _explained(self, error: Exception, model: HubModel) -> ChannelscribeError:
        """The error as one line with its remedy."""
        host = self._host(model)
        if isinstance(error, GatedRepoError):
            return MisconfiguredError(self._how_to_get_access(model))
        if isinstance(error, RevisionNotFoundError):
            return MisconfiguredError(
                f"{host} has no revision {model.revision} of {model.name}: upgrade Channelscribe, which pins it."
            )
        if isinstance(error, EntryNotFoundError):
            return MisconfiguredError(f"{host} lacks a file of {model.name} that it lists: try another HF_ENDPOINT.")
        if isinstance(error, HfHubHTTPError):
            return self._explained_status(error, model)
        if isinstance(error, HTTPError):
            return TryAgainError(
                f"No connection to {host} ({_said(error)}): check the network, HTTPS_PROXY and HF_ENDPOINT, then call "
                "this again; it goes on where it stopped."
            )
        if isinstance(error, OSError) and error.errno is not None:
            return TryAgainError(
                f"{error.filename or 'The disk'}: {error.strerror}: make room, or set CHANNELSCRIBE_MODELS_ROOT to a "
                "folder of yours on a larger disk, then call this again; it goes on where it stopped."
            )
        return TryAgainError(
            f"{host} sent something else than {model.name} ({_said(error)}): call this again, or try another "
            "HF_ENDPOINT."
        )

    def _explained_status(self, error: HfHubHTTPError, model: HubModel) -> ChannelscribeError:
        host, status = self._host(model), error.response.status_code
        # Without an account the hub answers 401 for what it does not have.
        if status == 401 and self._token:
            return MisconfiguredError(f"{host} does not know your token: make a new one at {_TOKENS}, as HF_TOKEN.")
        if isinstance(error, RepositoryNotFoundError) or status == 404:
            remedy = "upgrade Channelscribe" if model.url else "try another HF_ENDPOINT, or none"
            return MisconfiguredError(f"{host} does not have {model.name}: {remedy}.")
        if status == 403:
            return MisconfiguredError(f"{host} refuses {model.name} to your token: make another at {_TOKENS}.")
        if status == 429:
            return TryAgainError(f"{host} asks for a pause (status 429): call this again in a few minutes.")
        return TryAgainError(f"{host} answered with status {status}: call this again later.")

    def _how_to_get_access(self, model: HubModel) -> str:
        accept = f"{model.name} is gated: accept its conditions at {model.page}"
        if self._token:
            return f"{accept} with the account of your token, and let the token read gated repositories ({_TOKENS})."
        return f"{accept}, make a token at {_TOKENS}, and give it as HF_TOKEN or by `hf auth login`."


def require_pinned(model: HubModel, revision: str | None, found: Sequence[RemoteFile], endpoint: str) -> None:
    """Refuse another revision, another file than the pinned one, or a list that lacks a file.

    Raises:
        MisconfiguredError: the hub offers something else than what is pinned.
    """
    remedy = "try another HF_ENDPOINT, or none."
    if revision != model.revision:
        raise MisconfiguredError(f"{endpoint} offers the revision {revision} of {model.name} for another: {remedy}")
    offered = {file.path: file.sha256 for file in found}
    for path, sha256 in model.pinned.items():
        if offered.get(path) != sha256:
            raise MisconfiguredError(f"{endpoint} offers another {path} of {model.name} than the pinned one: {remedy}")
    for pattern in model.files:
        if not any(fnmatch(path, pattern) for path in offered):
            raise MisconfiguredError(f"{endpoint} has no {pattern} of {model.name}: {remedy}")


def require_room(folder: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk can't hold.

    Raises:
        TryAgainError: there is not enough room.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes and needed_bytes + SPARE_BYTES > free:
        raise TryAgainError(
            f"{folder} has {free / 1e9:.1f} GB free, but {(needed_bytes + SPARE_BYTES) / 1e9:.1f} GB are needed: make "
            "room, or set CHANNELSCRIBE_MODELS_ROOT to a folder on a larger disk."
        )


def is_below(path: str) -> bool:
    """Whether a path that a server named stays in the folder it is put into."""
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

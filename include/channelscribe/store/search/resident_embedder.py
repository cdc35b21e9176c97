"""The client of the running stack's embedder, which has text models in memory (`models.embedder_server`)."""

import io
import os
import select
import socket
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channelscribe.contracts import Query

Say = Callable[[str], None]

# As long as a model may take to be loaded: it took a minute where six times more was to do than there were cores for.
# What hangs for longer is given up.
PATIENCE_S = 120.0
# An embedder that has its model answers sooner.
_SOON_S = 1.0
_CONFLICT, _OK = 409, 200


class NoAnswerError(Exception):
    """The embedder gave no vector; the text says why, as a sentence."""


class NotYetError(NoAnswerError):
    """The embedder is at it still: the model is being loaded, or another query is answered first."""


def ask_embedder(
    socket_path: Path, query: Query, say: Say, *, patience_s: float | None = None
) -> npt.NDArray[np.float32]:
    """Have the running embedder embed a query.

    Args:
        socket_path: where it listens.
        query: the words, and the model that the vector must be of.
        say: told if the answer takes longer than usual.
        patience_s: how long to wait, if not as long as loading may take. An embedder that is at it goes on.

    Returns:
        (dim,) float32, L2-normalised.

    Raises:
        NoAnswerError: there is none, it knows no such model, or it gave no vector.
        NotYetError: it gave none in time.
    """
    patience_s = PATIENCE_S if patience_s is None else patience_s
    try:
        with closing(_UnixConnection(socket_path)) as connection:
            connection.request("POST", "/", query.model_dump_json().encode())
            if not _answers(connection, min(_SOON_S, patience_s)):
                say("Waiting for the text model, which is being loaded.")
                if not _answers(connection, max(0.0, patience_s - _SOON_S)):
                    raise NotYetError(f"The embedder did not answer within {patience_s:g} s.")
            response = connection.getresponse()
            body = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoAnswerError("No embedder runs: with the stack up (`make up`), a search takes a fraction.") from None
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NoAnswerError(f"The embedder failed ({reason}).") from error
    if response.status == _CONFLICT:
        raise NoAnswerError("The embedder is of another version: `make down` and `make up` change that.")
    if response.status != _OK:
        raise NoAnswerError(f"The embedder failed ({response.status} {response.reason}).")
    return as_vector(io.BytesIO(body))


def as_vector(file: io.BytesIO | Path) -> npt.NDArray[np.float32]:
    """Read a vector from numpy's format.

    Raises:
        NoAnswerError: it is something else.
    """
    try:
        vector = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise NoAnswerError(f"The words' embedding cannot be read ({error}).") from error
    if vector.ndim != 1 or not np.issubdtype(vector.dtype, np.floating) or not np.isfinite(vector).all():
        raise NoAnswerError("The words' embedding is not one vector of numbers.")
    result: npt.NDArray[np.float32] = vector.astype(np.float32)
    return result


class _UnixConnection(HTTPConnection):
    """HTTP by a Unix socket. The whole of a path has no more than 107 bytes to name one, so its folder is opened."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def _answers(connection: HTTPConnection, within_s: float) -> bool:
    ready, _, _ = select.select([connection.sock], [], [], within_s)
    return bool(ready)

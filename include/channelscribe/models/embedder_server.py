"""Server that keeps text models in memory to embed queries: gunicorn on a Unix socket, in the stages' environment.

``python -m channelscribe.models.embedder_server --idle-s SECONDS --folder DIR`` listens on ``DIR/socket``, which nobody
but its user can open. A query is the JSON of a ``Query`` in a POST; the answer is a (dim,) float32 array,
L2-normalised, in numpy's format, or 409 if no profile has the query's model.

Gunicorn's one worker loads a model when it is first asked for it, which is one but for an archive that changes from one
to another, and ends itself when it was not asked for a while: what torch has taken goes back to the system with the
process and not before. Gunicorn starts another one, without a model, and holds the socket meanwhile, so that a query
that comes just then waits and is not lost.
"""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from gunicorn.app.base import BaseApplication
from pydantic import ValidationError

from channelscribe.contracts import Query
from channelscribe.errors import ChannelscribeError, ExitCode
from channelscribe.models import TextEmbedder
from channelscribe.profiles import StageSpec, profiles_with
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

SOCKET = "socket"
# A worker that is silent for longer is taken for hung, and replaced. A large model is loaded from a cold disk in less.
HUNG_AFTER_S = 180
# Far more than any model reads of a query.
MAX_QUERY_BYTES = 1_000_000


class QueryEmbedder:
    """The WSGI application of one worker; gunicorn's ``sync`` worker calls it for one query at a time.

    Args:
        idle_s: seconds without a query after which the process ends itself; never before a model is asked for.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._models: dict[tuple[str, str], TextEmbedder] = {}
        self._end: threading.Timer | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer a request."""
        status, kind, body = self._answer(environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        try:
            query = Query.model_validate_json(environ["wsgi.input"].read(MAX_QUERY_BYTES))
        except ValidationError:
            return _said("400 Bad Request", "no query")
        profiles = profiles_with("embed_text", query.model, query.revision)
        if not profiles:
            return _said("409 Conflict", f"no profile has {query.model} ({query.revision})")
        if self._end:
            self._end.cancel()
        try:
            file = io.BytesIO()
            np.save(file, self._loaded(profiles[0].stages["embed_text"]).embed_query(query.words))
        except ChannelscribeError as error:
            return _said("503 Service Unavailable", str(error))
        finally:
            # By the signal that gunicorn itself would send: a query that has just come is answered first.
            self._end = threading.Timer(self._idle_s, os.kill, (os.getpid(), signal.SIGTERM))
            self._end.daemon = True
            self._end.start()
        return "200 OK", "application/octet-stream", file.getvalue()

    def _loaded(self, spec: StageSpec) -> TextEmbedder:
        # Now, not when the worker starts: torch takes seconds and 1 GB, which are due when somebody searches.
        key = spec.model, spec.revision
        if key not in self._models:
            self._models[key] = cast(TextEmbedder, load_engine(spec, "cpu", Clock()))
        return self._models[key]


def _said(status: str, reason: str) -> tuple[str, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{reason}\n".encode()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        super().__init__()

    def load_config(self) -> None:
        options = {
            # Relative, as a path has no more than 107 bytes to name a socket.
            "bind": f"unix:{SOCKET}",
            "umask": 0o077,
            "workers": 1,
            "worker_class": "sync",
            "timeout": HUNG_AFTER_S,
            "control_socket_disable": True,
            "proc_name": "channelscribe-embedder",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> QueryEmbedder:
        return QueryEmbedder(self._idle_s)


def main() -> int:
    """Serve until a signal asks for the end; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-s", type=float, required=True, help="seconds without a query, then unload")
    parser.add_argument("--folder", type=Path, required=True, help="where the socket is made")
    options = parser.parse_args()
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        options.folder.chmod(0o700)
        os.chdir(options.folder)
    except OSError as error:
        sys.stderr.write(f"{options.folder} can't be used for the embedder's socket: {error.strerror}.\n")
        return int(ExitCode.MISCONFIGURED)
    _Server(options.idle_s).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A server on this machine that answers as a model hub does, and misbehaves on demand."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_one_who_accepted"


@dataclass
class FakeHub:
    """What the server has, how it misbehaves, and what it was asked for."""

    name: str
    revision: str
    files: dict[str, bytes]
    gated: bool = False
    announced_bytes: int | None = None
    sent_instead: bytes | None = None
    cut_after: list[int] = field(default_factory=list)
    pause_s: float = 0
    fails_with: int | None = None
    former_name: str | None = None
    page: bytes | None = None
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    port: int = 0

    def cdn_requests(self) -> list[tuple[str | None, str | None]]:
        """Range and Authorization of each request for the weights themselves."""
        return [(span, authorization) for _, path, span, authorization in self.requests if path.startswith("/cdn/")]


class Handler(BaseHTTPRequestHandler):
    """The hub's answers: listing, gate, a redirect of large files to another host, and ranges there."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        authorization = self.headers.get("Authorization")
        hub.requests.append((self.command, path, self.headers.get("Range"), authorization))
        if hub.fails_with:
            return self._refuse(hub.fails_with)
        if hub.page is not None:
            return self._send(hub.page)
        if hub.former_name and hub.former_name in path:
            return self._redirect(self.path.replace(hub.former_name, hub.name), 307)
        if path.startswith("/cdn/"):
            return self._send_weights(path.removeprefix("/cdn/"))
        if authorization not in (None, f"Bearer {TOKEN}", "Bearer hf_of_another"):
            return self._refuse(401, message="Invalid credentials in Authorization header")
        if path == f"/api/models/{hub.name}/revision/{hub.revision}":
            return self._send(json.dumps(self._listing()).encode())
        if path.startswith(f"/api/models/{hub.name}/"):
            return self._refuse(404, "RevisionNotFound")
        prefix = f"/{hub.name}/resolve/{hub.revision}/"
        if not path.startswith(prefix):
            return self._refuse(404 if authorization else 401, "RepoNotFound")
        if hub.gated and authorization != f"Bearer {TOKEN}":
            return self._refuse(403 if authorization else 401, "GatedRepo")
        return self._resolve(path.removeprefix(prefix))

    def _listing(self) -> dict[str, object]:
        siblings = []
        for path, content in self.hub.files.items():
            size = len(content)
            sibling: dict[str, object] = {"rfilename": path, "size": size, "blobId": git_blob(content)}
            if path.endswith(".bin"):
                size = self.hub.announced_bytes or size
                sibling |= {"size": size, "lfs": {"sha256": sha256(content), "size": size, "pointerSize": 130}}
            siblings.append(sibling)
        return {"id": self.hub.name, "sha": self.hub.revision, "siblings": siblings, "gated": self.hub.gated}

    def _resolve(self, path: str) -> None:
        content = self.hub.files[path]
        headers = {"X-Repo-Commit": self.hub.revision, "ETag": f'"{git_blob(content)}"'}
        if not path.endswith(".bin"):
            return self._send(content, headers)
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256(content)}"'}
        self._redirect(f"http://localhost:{self.hub.port}/cdn/{path}", 302, headers)

    def _send_weights(self, path: str) -> None:
        content = self.hub.files[path] if self.hub.sent_instead is None else self.hub.sent_instead
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = self.hub.cut_after.pop(0) if self.hub.cut_after else len(content)
        for position in range(start, stop, 2**20):
            self.wfile.write(content[position : min(position + 2**20, stop)])
            time.sleep(self.hub.pause_s)
        self.close_connection = stop < len(content)

    def _send(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _redirect(self, to: str, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Location": to, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, code: str | None = None, message: str | None = None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer on a free port for as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HandlerOfHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

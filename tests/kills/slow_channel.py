"""A podcast on loopback whose recordings come slowly, so that a download can be killed in its middle, and resumed."""

import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHUNK = 16_384


def cut(source: Path, target: Path, first_s: float, last_s: float) -> None:
    """Write a stretch of a WAV file as another one."""
    with wave.open(str(source), "rb") as read, wave.open(str(target), "wb") as write:
        write.setparams(read.getparams())
        read.setpos(int(first_s * read.getframerate()))
        write.writeframes(read.readframes(int((last_s - first_s) * read.getframerate())))


@contextmanager
def serve(files: dict[str, Path], seconds: float) -> Iterator[int]:
    """Serve a feed of WAV files, each of which takes so many seconds; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").removesuffix(".wav")
            if name == "feed.xml":
                self._send(_feed(self.server.server_address[1], list(files)), "application/rss+xml", 0.0)
            elif name in files:
                self._send(files[name].read_bytes(), "audio/wav", seconds)
            else:
                self.send_error(404)

        def _send(self, body: bytes, kind: str, seconds: float) -> None:
            wanted = self.headers.get("Range")
            first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            if first and first >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            with suppress(ConnectionError):
                for at in range(first, len(body), CHUNK):
                    self.wfile.write(body[at : at + CHUNK])
                    time.sleep(seconds * CHUNK / len(body))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _feed(port: int, names: list[str]) -> bytes:
    items = "".join(
        f"<item><title>About {name}</title><guid>urn:made:{name}</guid>"
        f"<pubDate>Sat, {day:02} Aug 2026 10:00:00 GMT</pubDate>"
        f"<enclosure type='audio/wav' url='http://127.0.0.1:{port}/{name}.wav'/></item>"
        for day, name in enumerate(names, 1)
    )
    return f"<rss version='2.0'><channel><title>Slow</title>{items}</channel></rss>".encode()

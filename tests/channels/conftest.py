"""A web site on loopback that misbehaves on demand, and recordings to put on it."""

import io
import runpy
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape

import av
import numpy as np
import pytest

from channelscribe.settings import get_settings


@dataclass
class Page:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    break_off_after: int | None = None  # bytes, of every answer
    hides_length: bool = False
    delay_s: float = 0.0


class Site:
    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.youtube: Any = None
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            do_POST = do_GET  # noqa: N815 - the server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append((handler.path, wanted))
        page = self.pages.get(handler.path.split("?")[0], Page(status=404))
        if self.youtube and (made := self.youtube.answer(handler.path, body)):
            page = Page(made[0], status=made[2], headers={"Content-Type": made[1]})
        time.sleep(page.delay_s)
        body, status = page.body, page.status
        first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        if wanted and status == 200:
            status = 206 if first < len(body) else 416
        try:
            handler.send_response(status)
            if status == 206:
                handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                body = body[first:]
            for name, value in page.headers.items():
                handler.send_header(name, value)
            if not page.hides_length:
                handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[: page.break_off_after])
        except ConnectionError:
            pass  # yt-dlp reads the beginning of a file, then hangs up

    def serve(self, path: str, body: bytes | str, kind: str = "audio/wav", **options: object) -> str:
        content = body.encode() if isinstance(body, str) else body
        self.pages[path] = Page(content, headers={"Content-Type": kind}, **options)  # type: ignore[arg-type]
        return self.url + path

    def serve_feed(self, path: str, *items: str, title: str = "A podcast") -> str:
        feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>{escape(title)}</title>{"".join(items)}'
        return self.serve(path, feed + "</channel></rss>", "application/rss+xml")

    def item(self, path: str, title: str = "An item", guid: str | None = None, date: str | None = None) -> str:
        parts = [f"<title>{escape(title)}</title>", f'<enclosure url="{escape(self.url + path)}" type="audio/wav"/>']
        parts += [f'<guid isPermaLink="false">{escape(guid)}</guid>'] if guid else []
        parts += [f"<pubDate>{date}</pubDate>"] if date else []
        return f"<item>{''.join(parts)}</item>"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


_HERE = Path(__file__).parent
_PLUGINS = _HERE / "ytdlp_plugins"


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """What a made YouTube consists of."""
    return SimpleNamespace(**runpy.run_path(str(_HERE / "made_youtube.py")))


@pytest.fixture
def youtube(site: Site, made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A made YouTube, which yt-dlp asks instead of the real one: in this process, and in programs that it starts."""
    from yt_dlp import YoutubeDL
    from yt_dlp.networking import common

    YoutubeDL({"quiet": True}).close()  # its own handlers and plugins are there now
    handlers, preferences = dict(common._REQUEST_HANDLERS), set(common._RH_PREFERENCES)
    runpy.run_path(str(_PLUGINS / "yt_dlp_plugins" / "extractor" / "made_youtube.py"))
    monkeypatch.setenv("MADE_YOUTUBE", site.url)
    monkeypatch.setenv("PYTHONPATH", str(_PLUGINS))
    site.youtube = made.MadeYoutube()
    yield site.youtube
    for registered, before in ((common._REQUEST_HANDLERS, handlers), (common._RH_PREFERENCES, preferences)):
        registered.clear()
        registered.update(before)


@pytest.fixture(autouse=True)
def _no_waiting_between_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channelscribe.channels.ytdlp._pause", lambda n: 0.0)


@pytest.fixture(autouse=True)
def _sites_are_on_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("CHANNELSCRIBE_REQUEST_PAUSE_S", "0")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def wav() -> bytes:
    """Six seconds of noise, 16 kHz mono."""
    samples = np.random.default_rng(0).normal(0, 3000, 6 * 16_000).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(16_000)
        output.writeframes(samples.tobytes())
    return file.getvalue()


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[[bool], bytes]:
    """Make a film of five seconds with PyAV, with or without sound."""

    def make(has_sound: bool) -> bytes:
        path = tmp_path / "film.mp4"
        with av.open(str(path), "w") as output:
            picture = output.add_stream("mpeg4", rate=10)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            sound = output.add_stream("aac", rate=16_000, layout="mono") if has_sound else None
            for _ in range(50):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                output.mux(picture.encode(frame))
            output.mux(picture.encode(None))
            if sound is not None:
                tone = np.sin(np.arange(5 * 16_000) * 0.2).astype(np.float32)[None]
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.sample_rate = 16_000
                output.mux(sound.encode(frame))
                output.mux(sound.encode(None))
        return path.read_bytes()

    return make

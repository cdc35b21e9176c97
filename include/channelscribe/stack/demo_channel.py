"""The demo channel: a podcast feed, on loopback, of the recordings that come inside the stages' packages.

python -m channelscribe.stack.demo_channel
"""

import shutil
import wave
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

from channelscribe.errors import MisconfiguredError
from channelscribe.settings import Settings, get_settings
from channelscribe.stack.ports import LOOPBACK

_ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"


@dataclass(frozen=True)
class Recording:
    """One item of the feed; ``path`` is relative to the environment's packages."""

    name: str
    title: str
    description: str
    published_at: datetime
    path: str


RECORDINGS = (
    Recording(
        "sample",
        "A telephone conversation",
        "Two people on the telephone. From pyannote.audio.",
        datetime(2026, 1, 3, 8, tzinfo=UTC),
        "pyannote/audio/sample/sample.wav",
    ),
    Recording(
        "two_cities",
        "A Tale of Two Cities: the opening",
        "The first lines of the novel by Charles Dickens. From Moonshine.",
        datetime(2026, 1, 2, 8, tzinfo=UTC),
        "moonshine_voice/assets/two_cities.wav",
    ),
    Recording(
        "beckett",
        "Some words of Samuel Beckett",
        "A short recording. From Moonshine.",
        datetime(2026, 1, 1, 8, tzinfo=UTC),
        "moonshine_voice/assets/beckett.wav",
    ),
)


def feed_url(settings: Settings) -> str:
    """Address of the demo channel."""
    return f"http://{LOOPBACK}:{settings.demo_port}/feed.xml"


def recording_paths(stages_interpreter: Path) -> dict[str, Path]:
    """The recordings' files inside the stages' environment, by name.

    Raises:
        MisconfiguredError: one is not there.
    """
    packages = sorted(stages_interpreter.parents[1].glob("lib/python3.*/site-packages"))
    paths = {}
    for recording in RECORDINGS:
        found = [folder / recording.path for folder in packages if (folder / recording.path).is_file()]
        if not found:
            raise MisconfiguredError(f"The demo's recording {recording.path} is missing: run `make setup`.")
        paths[recording.name] = found[0]
    return paths


def feed(base_url: str, paths: dict[str, Path]) -> bytes:
    """The RSS feed of the recordings.

    Args:
        base_url: address of the server, without a slash at its end.
        paths: the recordings' files by name.
    """
    ElementTree.register_namespace("itunes", _ITUNES)
    rss = ElementTree.Element("rss", version="2.0")
    channel = ElementTree.SubElement(rss, "channel")
    _add(channel, "title", "Channelscribe's demo channel")
    _add(channel, "link", base_url)
    _add(channel, "description", "Recordings that come inside the models' packages.")
    for recording in RECORDINGS:
        path = paths[recording.name]
        item = ElementTree.SubElement(channel, "item")
        _add(item, "title", recording.title)
        _add(item, "description", recording.description)
        _add(item, "guid", f"channelscribe-demo:{recording.name}").set("isPermaLink", "false")
        _add(item, "pubDate", format_datetime(recording.published_at))
        _add(item, f"{{{_ITUNES}}}duration", str(round(_duration_s(path))))
        enclosure = ElementTree.SubElement(item, "enclosure", type="audio/wav", length=str(path.stat().st_size))
        enclosure.set("url", f"{base_url}/{recording.name}.wav")
    return bytes(ElementTree.tostring(rss, encoding="utf-8", xml_declaration=True))


class DemoChannel(ThreadingHTTPServer):
    """Serves the feed and its recordings, and nothing else.

    Args:
        port: port on loopback; 0 for any that is free.
        paths: the recordings' files by name.
    """

    daemon_threads = True

    def __init__(self, port: int, paths: dict[str, Path]) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        base_url = f"http://{LOOPBACK}:{self.server_port}"
        self.feed = feed(base_url, paths)
        self.files = {f"/{name}.wav": path for name, path in paths.items()}


class _Handler(BaseHTTPRequestHandler):
    server: DemoChannel

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        if self.path == "/feed.xml":
            self._head("application/rss+xml; charset=utf-8", len(self.server.feed))
            if with_body:
                self.wfile.write(self.server.feed)
        elif path := self.server.files.get(self.path):
            self._head("audio/wav", path.stat().st_size)
            if with_body:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _head(self, content_type: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _add(parent: ElementTree.Element, tag: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = text
    return element


def _duration_s(path: Path) -> float:
    with wave.open(str(path), "rb") as recording:
        return recording.getnframes() / recording.getframerate()


def main() -> None:
    """Serve until stopped."""
    settings = get_settings()
    with DemoChannel(settings.demo_port, recording_paths(settings.stages_interpreter)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

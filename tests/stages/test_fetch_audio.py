"""The program as it is called, over real HTTP."""

import functools
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from channelscribe.channels.listing import list_channel
from channelscribe.contracts import Audio
from channelscribe.profiles import BUNDLED
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def feed_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES", "true")
    get_settings.cache_clear()
    folder = tmp_path / "site"
    folder.mkdir()
    with wave.open(str(folder / "good.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, (24_000, 2)).astype("<i2").tobytes())
    (folder / "broken.wav").write_bytes(b"not a recording" * 999)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    url = f"http://127.0.0.1:{server.server_port}"
    items = "".join(
        f"<item><title>{name}</title><guid>urn:{name}</guid><enclosure url='{url}/{name}.wav'/></item>"
        for name in ("broken", "good", "missing")
    )
    (folder / "feed.xml").write_text(f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield url + "/feed.xml"
    server.shutdown()
    server.server_close()
    get_settings.cache_clear()


def test_feed_is_fetched_by_the_program(feed_url: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "data")
    videos = [one.video for one in list_channel(feed_url)[0]]
    for video in videos:
        workspace.write_video(video)
    broken, good, missing = (video.video_id for video in videos)

    def call(*video_ids: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "channelscribe.stages.fetch_audio", *video_ids]
        command += ["--data-root", str(workspace.data_root), "--profile", "bundled"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)

    first = call(broken, good, missing)
    assert first.returncode == 65, first.stdout + first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    artifact = workspace.require(good, "fetch_audio", BUNDLED)
    audio = artifact.read("audio.json", Audio)
    assert audio == Audio(file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=8_000, n_channels=2, duration_s=3.0)
    assert (artifact.folder / audio.file_name).read_bytes() == (tmp_path / "site" / "good.wav").read_bytes()
    assert artifact.manifest.audio_s == 3.0
    for video_id, reason in ((broken, "is not audio or video"), (missing, "does not exist (HTTP 404)")):
        status = workspace.read_status(video_id, "fetch_audio")
        assert status is not None
        assert (status.state, status.exit_code) == ("failed", 65)
        assert reason in status.reason
        assert status.availability == ("removed" if video_id == missing else None)
        assert [path.name for path in workspace.stage_dir(video_id, "fetch_audio").iterdir()] == ["status.json"]
    assert sorted(path.name for path in workspace.stage_dir(good, "fetch_audio").iterdir()) == sorted(
        [artifact.folder.name, "status.json"]
    )

    # With the site's file gone, what is there stays good.
    (tmp_path / "site" / "good.wav").unlink()
    assert call(good).returncode == 0
    status = workspace.read_status(good, "fetch_audio")
    assert status is not None
    assert status.state == "present"

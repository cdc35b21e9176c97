"""The feed, served on loopback and read by the real yt-dlp."""

import threading
import urllib.error
import urllib.request
import wave

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.settings import get_settings
from channelscribe.stack.demo_channel import RECORDINGS, DemoChannel, recording_paths


@pytest.fixture
def interpreter(tmp_path):
    """An environment with the recordings in it."""
    for seconds, recording in enumerate(RECORDINGS, start=2):
        path = tmp_path / "lib" / "python3.11" / "site-packages" / recording.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 8000 * seconds))
    return tmp_path / "bin" / "python"


@pytest.fixture
def channel(interpreter, monkeypatch):
    with DemoChannel(0, recording_paths(interpreter)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("CHANNELSCRIBE_DEMO_PORT", str(server.server_port))
        get_settings.cache_clear()
        yield f"http://127.0.0.1:{server.server_port}"
        get_settings.cache_clear()
        server.shutdown()
        thread.join()


def test_yt_dlp_lists_every_recording(channel):
    pytest.importorskip("yt_dlp", reason="is in Airflow's environment")
    from channelscribe.channels.listing import list_channel

    videos = [one.video for one in list_channel(f"{channel}/feed.xml")[0]]
    assert [video.title for video in videos] == [recording.title for recording in RECORDINGS]
    assert [video.duration_s for video in videos] == [2.0, 3.0, 4.0]
    assert [video.published_at for video in videos] == [recording.published_at for recording in RECORDINGS]
    assert {video.channel_title for video in videos} == {"Channelscribe's demo channel"}
    # By guid, not by address: the same on another port.
    assert videos[0].source_id == "channelscribe-demo:sample"


def test_a_recording_comes_whole(channel, interpreter):
    with urllib.request.urlopen(f"{channel}/sample.wav") as answer:
        assert answer.read() == recording_paths(interpreter)["sample"].read_bytes()


@pytest.mark.parametrize("path", ["/", "/sample", "/../../bin/python", "/%2e%2e/feed.xml", "//etc/passwd"])
def test_nothing_else_is_served(channel, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(channel + path)
    assert caught.value.code == 404


def test_a_missing_recording_names_the_remedy(interpreter):
    recording_paths(interpreter)["beckett"].unlink()
    with pytest.raises(MisconfiguredError, match=r"beckett\.wav is missing: run `make setup`"):
        recording_paths(interpreter)

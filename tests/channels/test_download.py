import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channelscribe.audio import probe
from channelscribe.channels import download
from channelscribe.channels.download import fetch
from channelscribe.contracts import Audio
from channelscribe.errors import BadInputError, TryAgainError
from channelscribe.settings import get_settings


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], tuple[Path, Audio]]:
    (tmp_path / "out").mkdir()

    def run(url: str) -> tuple[Path, Audio]:
        fetched = fetch(url, "bestaudio/best", tmp_path / "partial", tmp_path / "out")
        return fetched.path, fetched.audio

    return run


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "partial").glob("source*")) + sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )


def test_file_is_kept_as_it_came(site: Any, wav: bytes, run: Any, tmp_path: Path) -> None:
    path, audio = run(site.serve("/a.wav", wav))
    assert path == tmp_path / "out" / "audio.wav"
    assert path.read_bytes() == wav
    assert audio == Audio(file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=16_000, n_channels=1, duration_s=6.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_the_date_of_a_mere_file_is_not_taken_for_that_of_its_item(site: Any, wav: bytes, tmp_path: Path) -> None:
    url = site.serve("/a.wav", wav)
    site.pages["/a.wav"].headers["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert fetch(url, "bestaudio/best", tmp_path / "partial", tmp_path).published_at is None


@pytest.mark.parametrize("path", ["/a%2f..%2f..%2fevil.wav", "/..%5c..%5cevil.wav", "/" + "x" * 300 + ".wav"])
def test_hostile_name_stays_in_the_folder(site: Any, wav: bytes, run: Any, tmp_path: Path, path: str) -> None:
    url = site.serve(path, wav)
    assert run(url)[0] == tmp_path / "out" / "audio.wav"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_file_without_a_kind_is_known_by_its_content(site: Any, wav: bytes, run: Any) -> None:
    path, audio = run(site.serve("/download", wav, "application/octet-stream"))
    assert path.name == "audio.media"
    assert audio.codec == "pcm_s16le"


def test_redirect_is_followed(site: Any, wav: bytes, run: Any) -> None:
    site.serve("/new.wav", wav)
    url = site.serve("/old.wav", b"", status=302)
    site.pages["/old.wav"].headers["Location"] = "/new.wav"
    assert run(url)[1].duration_s == 6.0


def test_only_the_sound_of_a_film_is_kept(site: Any, make_video: Any, run: Any) -> None:
    film = make_video(True)
    path, audio = run(site.serve("/film.mp4", film, "video/mp4"))
    assert path.name == "audio.mka"
    assert audio.codec == "aac"
    assert audio.duration_s == pytest.approx(5.0, abs=0.2)
    assert not probe(path).has_video


def test_film_without_sound_is_bad_input(site: Any, make_video: Any, run: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no sound: video only"):
        run(site.serve("/film.mp4", make_video(False), "video/mp4"))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (bytes(range(256)) * 400, "not audio or video"),
        (b"<html>Please log in</html>" * 100, "not audio or video"),
    ],
)
def test_file_that_is_no_media_is_bad_input(site: Any, run: Any, tmp_path: Path, body: bytes, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        run(site.serve("/a.wav", body))
    assert left_behind(tmp_path) == []


def test_empty_file_is_refused(site: Any, run: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="empty"):
        run(site.serve("/a.wav", b""))
    assert left_behind(tmp_path) == []


def test_file_that_is_cut_off_at_the_source_is_bad_input(site: Any, wav: bytes, run: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cut off: it promises 6 s of sound and holds 2"):
        run(site.serve("/a.wav", wav[: len(wav) // 3]))
    assert left_behind(tmp_path) == []


def test_broken_connection_is_resumed_within_one_attempt(site: Any, wav: bytes, run: Any) -> None:
    url = site.serve("/a.wav", wav, break_off_after=len(wav) // 2 + 1)
    assert run(url)[0].read_bytes() == wav
    assert any(wanted and not wanted.startswith("bytes=0-") for _, wanted in site.requests)


def test_download_that_keeps_breaking_off_is_resumed_by_the_next_attempt(
    site: Any, wav: bytes, run: Any, tmp_path: Path
) -> None:
    url = site.serve("/a.wav", wav, break_off_after=20_000)
    with pytest.raises(TryAgainError, match="check this machine's network"):
        run(url)
    got = (tmp_path / "partial" / "source.wav.part").stat().st_size
    assert got >= 20_000
    assert list((tmp_path / "out").iterdir()) == []

    site.pages["/a.wav"].break_off_after = None
    site.requests.clear()
    assert run(url)[0].read_bytes() == wav
    assert ("/a.wav", f"bytes={got}-") in site.requests


def test_file_replaced_at_the_source_is_fetched_anew(site: Any, wav: bytes, run: Any, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    (partial / "source.wav.part").write_bytes(b"something else" * 1000)
    assert run(site.serve("/a.wav", wav))[0].read_bytes() == wav


@pytest.mark.parametrize(("status", "kind"), [(404, BadInputError), (410, BadInputError)])
def test_gone_is_bad_input(site: Any, run: Any, status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="does not exist"):
        run(site.serve("/a.wav", b"", status=status))


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_refusal_is_tried_again(site: Any, run: Any, status: int) -> None:
    with pytest.raises(TryAgainError, match=str(status)):
        run(site.serve("/a.wav", b"", status=status))


def test_full_disk_names_the_folder(
    site: Any, wav: bytes, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "probe", refuse)
    with pytest.raises(TryAgainError, match=f"disk of {tmp_path}/partial is full: free some space"):
        run(site.serve("/a.wav", wav))


def test_full_disk_while_downloading_names_the_folder(site: Any, wav: bytes, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "source.wav.part").symlink_to(full)
    with pytest.raises(TryAgainError, match=f"disk of {tmp_path}/partial is full"):
        fetch(site.serve("/a.wav", wav), "bestaudio/best", tmp_path / "partial", tmp_path)


def test_second_process_does_not_disturb_the_first(site: Any, wav: bytes, run: Any, tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    with (tmp_path / "partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TryAgainError, match="Another process"):
            run(site.serve("/a.wav", wav))
    assert site.requests == []


def test_live_stream_is_not_recorded(tmp_path: Path) -> None:
    limits = download._Limits("https://example.org/a", tmp_path)
    for status in ("is_live", "post_live"):
        assert limits.refuse({"live_status": status}, incomplete=False)
        assert limits.refuse({"live_status": status}, incomplete=True) is None
    assert limits.refuse({"live_status": "was_live"}, incomplete=False) is None


def test_progress_is_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 1.0, 4.9, 5.0, 9.9, 10.0])
    monkeypatch.setattr(download.time, "monotonic", lambda: next(clock))
    caplog.set_level("INFO")
    progress = download._Progress(download._Limits("https://example.org/a", tmp_path))
    for megabytes in range(1, 6):
        progress({"status": "downloading", "downloaded_bytes": megabytes * 1e6, "total_bytes": 5e6})
    assert caplog.messages == ["Downloaded 3.0 of 5.0 MB.", "Downloaded 5.0 of 5.0 MB."]


def limited(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CHANNELSCRIBE_{name}", value)
    get_settings.cache_clear()


def test_what_is_too_long_is_not_fetched(tmp_path: Path, monkeypatch) -> None:
    limited(monkeypatch, "MAX_HOURS", "1")
    limits = download._Limits("https://example.org/a", tmp_path)
    assert limits.refuse({"duration": 3599}, incomplete=False) is None
    assert limits.refuse({"duration": 9999}, incomplete=True) is None
    with pytest.raises(BadInputError, match=r"lasts 1\.0 h: longer than CHANNELSCRIBE_MAX_HOURS"):
        limits.refuse({"duration": 3601}, incomplete=False)


@pytest.mark.parametrize("hides_length", [False, True])
def test_what_is_too_large_is_not_fetched(site: Any, tmp_path: Path, monkeypatch, hides_length: bool) -> None:
    limited(monkeypatch, "MAX_DOWNLOAD_GIB", "0.001")
    url = site.serve("/a.wav", bytes(4 * 2**20), hides_length=hides_length)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BadInputError, match="larger than CHANNELSCRIBE_MAX_DOWNLOAD_GIB") as caught:
        fetch(url, "bestaudio/best", tmp_path / "partial", out)
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == [] and not (tmp_path / "partial").exists()


def test_a_disk_without_room_is_noticed_before(site: Any, wav: bytes, tmp_path: Path, monkeypatch) -> None:
    limited(monkeypatch, "MIN_FREE_GIB", "1000000")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(TryAgainError, match=r"GiB left, too little for .*: free some space"):
        fetch(site.serve("/a.wav", wav), "bestaudio/best", tmp_path / "partial", out)
    assert list(out.iterdir()) == []

"""Fetching one item's audio with yt-dlp: resumable, in the channel's own codec, and checked before it counts."""

import fcntl
import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from channelscribe.audio import AudioFacts, copy_audio_stream, probe
from channelscribe.channels.addresses import only_public_addresses
from channelscribe.channels.listing import published_at
from channelscribe.channels.ytdlp import base_options, is_disk_full, is_not_yet_available, translate
from channelscribe.contracts import Audio
from channelscribe.errors import BadInputError, TryAgainError, UnavailableError
from channelscribe.settings import get_settings

logger = logging.getLogger(__name__)

_PROGRESS_EVERY_S = 5.0
_LOCK = "lock"
# Headers round, and encoders pad: only a file that lacks more than this share, and this many seconds, is cut off.
_WHOLE_SHARE = 0.9
_WHOLE_SLACK_S = 2.0
# Of a stream that ended just now, YouTube has the last two hours alone.
_INCOMPLETE = ("is_live", "post_live")


@dataclass(frozen=True)
class Fetched:
    """An item's audio.

    Args:
        path: of the file.
        audio: what it holds.
        published_at: when the item's own page says that it was published; None where it has no page.
    """

    path: Path
    audio: Audio
    published_at: datetime | None


def fetch(url: str, format_selector: str, partial: Path, out: Path) -> Fetched:
    """Download an item, check that its sound decodes from start to end, and move its audio into a folder.

    Args:
        url: the item's URL.
        format_selector: what to take, in yt-dlp's words.
        partial: folder for the unfinished download. It stays when trying again may help, and is removed otherwise.
        out: existing folder, on the same file system, that gets ``audio.<ext>``.

    Raises:
        UnavailableError: the site does not hand it out, or not yet.
        BadInputError: its file is no audio, empty, damaged or cut off, or it is too long or too large.
        TryAgainError: the network, the site or the disk is at fault.
    """
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _only_one(partial):
            path, facts, day = _fetch_into(partial, url, format_selector)
            target = out / f"audio{_safe_suffix(path)}"
            path.replace(target)
            shutil.rmtree(partial)
    except BadInputError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        if is_disk_full(error):
            raise _disk_full(partial) from error
        raise
    audio = Audio(
        file_name=target.name,
        codec=facts.codec,
        sample_rate_hz=facts.sample_rate_hz,
        n_channels=facts.n_channels,
        duration_s=facts.duration_s,
    )
    return Fetched(target, audio, day)


def _fetch_into(folder: Path, url: str, format_selector: str) -> tuple[Path, AudioFacts, datetime | None]:
    leftovers = [path for path in folder.iterdir() if path.name != _LOCK]
    try:
        return _download_and_check(url, format_selector, folder)
    except BadInputError as error:
        if not leftovers:
            raise
        # The end of one file after the beginning of another (the site has replaced it) is no fault of the item.
        logger.info("The resumed download is not usable (%s): starting over.", error)
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()
    return _download_and_check(url, format_selector, folder)


def _download_and_check(url: str, format_selector: str, folder: Path) -> tuple[Path, AudioFacts, datetime | None]:
    info = _download(url, format_selector, folder)
    path, day = Path(info["requested_downloads"][0]["filepath"]), _own_date(info)
    facts = probe(path)
    if facts.declared_s is not None:
        missing_s = facts.declared_s - facts.duration_s
        if facts.duration_s < _WHOLE_SHARE * facts.declared_s and missing_s > _WHOLE_SLACK_S:
            raise BadInputError(
                f"The file is cut off: it promises {facts.declared_s:.0f} s of sound and holds {facts.duration_s:.0f}."
            )
    if not facts.has_video:
        return path, facts, day
    # An archive of voices has no use for gigabytes of pictures.
    audio_only = folder / "audio.mka"
    copy_audio_stream(path, audio_only)
    path.unlink()
    return audio_only, probe(audio_only), day


def _own_date(info: dict[str, Any]) -> datetime | None:
    # Of a mere file yt-dlp takes the server's date of the file, which says less than a feed does.
    return None if info.get("extractor_key") == "Generic" else published_at(info)


def _download(url: str, format_selector: str, folder: Path) -> dict[str, Any]:
    """Download into the folder, or go on with what is there; returns what yt-dlp tells of the item.

    No title or id is in the file's name.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    limits = _Limits(url, folder)
    options = base_options() | {
        "format": format_selector,
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "source.%(ext)s"},
        "continuedl": True,
        "overwrites": False,
        "noplaylist": True,
        "playlist_items": "1",
        "allow_playlist_files": False,
        "postprocessors": [],
        "fixup": "never",
        "updatetime": False,
        "progress_hooks": [_Progress(limits)],
        "match_filter": limits.refuse,
    }
    try:
        with only_public_addresses(), YoutubeDL(options) as downloader:
            result: dict[str, Any] | None = downloader.extract_info(url, download=True)
    except YoutubeDLError as error:
        if is_not_yet_available(error):
            raise UnavailableError(f"{url} is yet to come: it is fetched when it is complete.", "upcoming") from error
        if is_disk_full(error):
            raise _disk_full(folder) from error
        if "Did not get any data blocks" in str(error):
            raise BadInputError(f"The file at {url} is empty.") from error
        raise translate(error, url) from error
    while result and result.get("entries"):
        result = result["entries"][0]
    result = result or {}
    if result.get("live_status") in _INCOMPLETE:
        raise UnavailableError(f"{url} is live, or was until now: it is fetched when it is complete.", "live")
    if not result.get("requested_downloads"):
        raise BadInputError(f"No audio was found at {url}: check the URL in a browser.")
    return result


class _Limits:
    """What is not fetched: live streams until their recording is complete, what is too long, and what is too large."""

    def __init__(self, url: str, folder: Path) -> None:
        settings = get_settings()
        self._url, self._folder = url, folder
        self._most_s, self._most_bytes = settings.max_hours * 3600, settings.max_download_gib * 2**30
        self._room_bytes = settings.min_free_gib * 2**30

    def refuse(self, info: dict[str, Any], *, incomplete: bool) -> str | None:
        """A reason not to fetch an item, for yt-dlp.

        Raises:
            BadInputError: it is too long or too large.
            TryAgainError: the disk has no room for it.
        """
        if incomplete:
            return None
        duration_s = info.get("duration")
        if duration_s and duration_s > self._most_s:
            raise BadInputError(
                f"{self._url} lasts {duration_s / 3600:.1f} h: longer than CHANNELSCRIBE_MAX_HOURS allows."
            )
        self.check(info.get("filesize") or info.get("filesize_approx") or 0)
        return "live" if info.get("live_status") in _INCOMPLETE else None

    def check(self, n_bytes: float, n_there: float = 0) -> None:
        """Check a size, of which some is on the disk already.

        Raises:
            BadInputError: it is too large.
            TryAgainError: the disk has no room for it.
        """
        if n_bytes > self._most_bytes:
            raise BadInputError(
                f"{self._url} is of {n_bytes / 2**30:.1f} GiB: larger than CHANNELSCRIBE_MAX_DOWNLOAD_GIB allows."
            )
        free = shutil.disk_usage(self._folder).free
        if free - max(0, n_bytes - n_there) < self._room_bytes:
            raise TryAgainError(
                f"The disk of {self._folder} has {free / 2**30:.1f} GiB left, too little for {self._url}: "
                "free some space, or lower CHANNELSCRIBE_MIN_FREE_GIB."
            )


class _Progress:
    """Watches the size, which many sites tell late or never, and logs a plain line now and then."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._last_s = time.monotonic()

    def __call__(self, state: dict[str, Any]) -> None:
        now_s = time.monotonic()
        done = state.get("downloaded_bytes") or 0
        self._limits.check(max(done, state.get("total_bytes") or 0), done)
        if state.get("status") != "downloading" or now_s - self._last_s < _PROGRESS_EVERY_S:
            return
        self._last_s = now_s
        total = state.get("total_bytes") or state.get("total_bytes_estimate")
        of = f" of {total / 1e6:.1f}" if total else ""
        logger.info("Downloaded %.1f%s MB.", state.get("downloaded_bytes", 0) / 1e6, of)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two processes writing into one partial file would spoil it. The lock ends with the process, however it ends."""
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError("Another process is fetching this item: try again when it is done.") from None
        yield


def _disk_full(folder: Path) -> TryAgainError:
    return TryAgainError(f"The disk of {folder} is full: free some space, then try again.")


def _safe_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{2,5}", suffix) else ".media"

"""How yt-dlp is called: its options, its log, and its errors as ours. yt-dlp itself is imported only when used."""

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from channelscribe.channels.addresses import refuse_private
from channelscribe.contracts import Availability
from channelscribe.errors import (
    BadInputError,
    ChannelscribeError,
    MisconfiguredError,
    RateLimitedError,
    TryAgainError,
    UnavailableError,
)
from channelscribe.settings import get_settings

logger = logging.getLogger(__name__)

_BUSY_OR_BROKEN = {401, 402, 403, 407, 408, 425, 429}
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIXES = re.compile(r"^(?:\s*(?:ERROR|WARNING):\s*|\s*\[[\w:+.-]+\]\s*)+")
_TAILS = re.compile(
    r"(?:\s*\(caused by .*|[;.]\s*please report this issue on .*|[;.,]?\s*Giving up after \d+ retries.*"
    r"|[;.]?\s*(?:Use|See|Try) +(?:--|https?://|the \"?--).*)$",
    re.DOTALL | re.IGNORECASE,
)
# yt-dlp's own wording of where it was, before what went wrong.
_WHERE = re.compile(
    r"^.*?Unable to download (?:\w+ ){0,2}(?:webpage|page|data|metadata|XML|playlist): "
    r"|HTTPS?Connection(?:Pool)?\([^)]*\): ",
    re.IGNORECASE,
)
# What sites say of an item, in the words of yt-dlp's extractors, the first that fits.
_UNAVAILABLE: tuple[tuple[Availability, re.Pattern[str]], ...] = (
    ("members_only", re.compile(r"members[- ]only|join this channel|only available (?:for|to)|premium", re.I)),
    ("age_restricted", re.compile(r"confirm your age|age[- ]restricted|inappropriate for some users", re.I)),
    (
        "geo_restricted",
        re.compile(r"not (?:made this video )?available (?:in|from) your (?:country|location|region)", re.I),
    ),
    ("private", re.compile(r"private video|video is private", re.I)),
    (
        "removed",
        re.compile(
            r"video (?:is |has been )?(?:removed|deleted|unavailable)|account.*terminated"
            r"|no longer (?:available|exists)|does not exist|removed by the uploader|deleted video",
            re.I,
        ),
    ),
)
_HINTS: dict[Availability, str] = {
    "private": "is private",
    "members_only": "is for members only",
    "removed": "was removed",
    "age_restricted": "is age-restricted: set CHANNELSCRIBE_COOKIES_FILE to the cookies of an adult's account",
    "geo_restricted": "is not available from this country: set CHANNELSCRIBE_PROXY to a proxy in another one",
}
_HOPELESS = re.compile(
    r"unsupported url|DRM|no video formats found|no video could be found|is not a valid url|incomplete youtube id",
    re.IGNORECASE,
)
_LIMITED = re.compile(r"not a bot|too many requests|rate[- ]limit", re.IGNORECASE)
_API = re.compile("unable to download api page", re.IGNORECASE)
_COOKIES_BEGIN = re.compile(r"#( Netscape)? HTTP Cookie File")  # as http.cookiejar wants it
_ADDRESS = re.compile(r"\w+://\S+")
_NOT_YET = re.compile(r"premieres in|will begin|is not currently live|upcoming|is offline", re.IGNORECASE)


class _Log:
    """Hands yt-dlp's messages to logging. Its errors come back as exceptions too, so they are not shown twice."""

    def debug(self, message: str) -> None:
        logger.debug("%s", _ANSI.sub("", message).rstrip())

    info = warning = error = debug


def base_options() -> dict[str, Any]:
    """Options of one call: quiet, no cache, bounded waiting; yt-dlp's library reads no configuration file.

    Raises:
        MisconfiguredError: the file of cookies cannot be read, or is none.
    """
    deno, settings = Path(sys.prefix, "bin", "deno"), get_settings()
    return {
        "cookiefile": _copy_of_cookies(settings.cookies_file) if settings.cookies_file else None,
        "proxy": settings.proxy,
        "ratelimit": settings.download_kib_per_s * 1024 or None,
        "sleep_interval_requests": settings.request_pause_s,
        "extractor_args": {
            # The listing's "2 weeks ago" as a date.
            "youtubetab": {"approximate_date": ["true"]},
            # Else a listing of which a page is missing looks like one that ends there.
            "youtube": {"raise_incomplete_data": ["true"]},
            **({"youtubepot-bgutilhttp": {"base_url": [settings.pot_provider]}} if settings.pot_provider else {}),
        },
        "quiet": True,
        "no_color": True,
        "noprogress": True,
        "logger": _Log(),
        "cachedir": False,
        # A child process would not keep to addresses of the internet, so that none is found.
        "ffmpeg_location": "",
        "external_downloader": {"m3u8": "native"},
        "socket_timeout": 30,
        "retries": 3,
        "extractor_retries": 2,
        "fragment_retries": 5,
        "file_access_retries": 1,
        "skip_unavailable_fragments": False,
        # YouTube needs a JavaScript runtime. The environment's own is not on PATH when Python is called by its path.
        "js_runtimes": {"deno": {"path": str(deno)} if deno.exists() else {}},
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause),
    }


def _copy_of_cookies(path: Path) -> io.StringIO:
    """The user's cookies, for one call. yt-dlp writes what it was given when it ends: several calls at once would read
    halves of one another's files, and write those.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise MisconfiguredError(f"CHANNELSCRIBE_COOKIES_FILE: {path} cannot be read ({why}).") from None
    if not _COOKIES_BEGIN.match(text):
        raise MisconfiguredError(
            f"CHANNELSCRIBE_COOKIES_FILE: {path} is not in Netscape's format, whose first line is "
            "`# Netscape HTTP Cookie File`."
        )
    return io.StringIO(text)


def translate(error: Exception, source: str) -> ChannelscribeError:
    """Say an error of yt-dlp in one sentence, with the exit code that fits.

    Args:
        error: what yt-dlp raised.
        source: the URL that was asked for, as people know it.
    """
    from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, TransportError
    from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, UnsupportedError

    text = plain_message(str(error))
    if private := refuse_private(error, source):
        return private
    for cause in _causes(error):
        if isinstance(cause, HTTPError):
            # Of something beside the page itself it says nothing of the item.
            if cause.status in (404, 410) and _API.search(str(error)):
                return TryAgainError(f"{source} could not be read: {text}. Try again later, or upgrade yt-dlp.")
            return _of_status(cause.status, source)
        if isinstance(cause, UnsupportedError):
            return BadInputError(f"No audio or video was found at {source}: check the URL in a browser.")
        if isinstance(cause, GeoRestrictedError):
            return _unavailable("geo_restricted", source)
        if isinstance(cause, CertificateVerifyError):
            return TryAgainError(
                f"The certificate of {source} could not be verified: check this machine's clock and certificates."
            )
        if isinstance(cause, ContentTooShortError):
            return TryAgainError(f"The download of {source} broke off before its end.")
        if isinstance(cause, TransportError):
            return _unreachable(source, text)
    return _of_text(error, text, source)


def is_not_yet_available(error: Exception) -> bool:
    """Whether the site says that the item is a live stream or a premiere which is yet to come.

    That is a sentence of yt-dlp's extractor: its address and id, or why it could not be asked for, may hold any words.
    """
    from yt_dlp.networking.exceptions import RequestError
    from yt_dlp.utils import ExtractorError

    told = next((cause for cause in _causes(error) if isinstance(cause, ExtractorError)), None)
    if told is not None and isinstance(told.cause, RequestError):
        return False
    return bool(_NOT_YET.search(_ADDRESS.sub("", told.orig_msg if told is not None else str(error))))


def is_disk_full(error: BaseException) -> bool:
    """Whether writing failed for want of space."""
    return any(
        isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in _causes(error)
    ) or os.strerror(errno.ENOSPC) in str(error)


def plain_message(text: str) -> str:
    """An error text of yt-dlp without colours, prefixes, causes and appeals to report it; one line, bounded."""
    text = _ANSI.sub("", text)
    text = _TAILS.sub("", _PREFIXES.sub("", text))
    text = " ".join(_WHERE.sub("", text).split()).rstrip(".")
    return text if len(text) <= 300 else text[:299] + "…"


def _of_status(status: int, source: str) -> ChannelscribeError:
    if status in (404, 410):
        return UnavailableError(f"{source} does not exist (HTTP {status}): check the URL in a browser.", "removed")
    if status == 429:
        return RateLimitedError(
            f"{source} refuses for now because of too many requests (HTTP 429): try again in an hour."
        )
    if status in _BUSY_OR_BROKEN:
        return TryAgainError(
            f"{source} refused access (HTTP {status}): check that it opens in a browser without a login; "
            "if so try again later, or upgrade yt-dlp."
        )
    if status >= 500:
        return TryAgainError(f"The site of {source} is in trouble (HTTP {status}): try again later.")
    return BadInputError(f"{source} cannot be read (HTTP {status}): check the URL in a browser.")


def _of_text(error: Exception, text: str, source: str) -> ChannelscribeError:
    status = re.search(r"HTTP Error (\d{3})", text)
    if status:
        return _of_status(int(status.group(1)), source)
    if is_not_yet_available(error):
        return TryAgainError(f"{source} is live or yet to come: try again when it has ended ({text}).")
    if _LIMITED.search(text):
        return RateLimitedError(
            f"{source} refuses for now because of too many requests ({text}): try again in an hour."
        )
    for availability, pattern in _UNAVAILABLE:
        if pattern.search(text):
            return _unavailable(availability, source, f" ({text})")
    if "ffmpeg could not be found" in text:
        return BadInputError(f"{source} is a stream that ffmpeg alone could download, which is not used.")
    if _HOPELESS.search(text):
        return BadInputError(f"{source} is not available: {text}.")
    if re.search(r"bytes read|timed out|Got error", text):
        return _unreachable(source, text)
    return TryAgainError(f"{source} could not be read: {text}. Try again later, or upgrade yt-dlp.")


def _unavailable(availability: Availability, source: str, said: str = "") -> UnavailableError:
    return UnavailableError(f"{source} {_HINTS[availability]}{said}.", availability)


def _unreachable(source: str, text: str) -> TryAgainError:
    return TryAgainError(
        f"{source} cannot be reached: check this machine's network, name resolution and proxy, "
        f"and that the site is up ({text})."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that lies behind it, nearest first; yt-dlp keeps causes in attributes of its own."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        behind = getattr(current, "exc_info", None) or (None, None, None)
        queue += [behind[1], getattr(current, "cause", None), current.__cause__, current.__context__]


def _pause(n: int) -> float:
    """Seconds before the n-th retry, from 0. Longer waits are left to the scheduler's own retries."""
    return float(min(0.5 * 2**n, 5.0))

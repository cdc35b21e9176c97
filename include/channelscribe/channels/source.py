"""What people type for a channel, made into the one URL that is polled, stored and shown."""

import re
import unicodedata
from urllib.parse import urlsplit, urlunsplit

from channelscribe.errors import BadInputError

_YOUTUBE_HOSTS = {"youtube.com", "www.youtube.com", "m.youtube.com"}
_HANDLE = re.compile(r"@[\w.·-]{1,60}")
_BARE_YOUTUBE_CHANNEL = re.compile(r"/(@[^/]{1,60}|(?:channel|c|user)/[^/]{1,100})/?(?:featured/?)?")
_HOW_TO_WRITE = "Give an http(s) URL, or a YouTube handle such as @handle."


def normalise_channel(text: str) -> str:
    """Turn what a person gives as a channel into its canonical URL.

    A handle and a bare YouTube channel become the channel's ``/videos`` tab; every other http(s) URL stays as
    it is, apart from case in its scheme and host, and from its fragment.

    Args:
        text: a URL of a channel, a playlist, a podcast feed or a single video, or a YouTube handle.

    Raises:
        BadInputError: it is neither.
    """
    given = text.strip()
    if not given:
        raise BadInputError(f"A channel is empty. {_HOW_TO_WRITE}")
    if any(character.isspace() or unicodedata.category(character).startswith("C") for character in given):
        raise _refusal(given, "it contains spaces or control characters")
    if given.startswith("@"):
        if not _HANDLE.fullmatch(given):
            raise _refusal(given, "a handle is an @ followed by letters, digits, dots, dashes and underscores")
        return f"https://www.youtube.com/{given}/videos"
    if given.startswith("-"):
        raise _refusal(given, "it looks like a command-line option")
    return _normalise_url(given)


def _normalise_url(given: str) -> str:
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refusal(given, f"it is not a valid URL ({error})") from None
    if parts.scheme not in ("http", "https"):
        raise _refusal(given, "only http and https URLs are polled")
    if not host:
        raise _refusal(given, "the URL names no host")
    if parts.username is not None or parts.password is not None:
        # It would be stored, logged and shown; the text itself is kept out of the message for the same reason.
        raise BadInputError(f"A channel on {host} carries a user name or password in its URL: leave them out.")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{port}"
    bare = _BARE_YOUTUBE_CHANNEL.fullmatch(parts.path)
    if host in _YOUTUBE_HOSTS and bare:
        return f"https://www.youtube.com/{bare.group(1)}/videos"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


def _refusal(given: str, why: str) -> BadInputError:
    shown = given if len(given) <= 80 else given[:79] + "…"
    return BadInputError(f"{shown!r} is not a channel: {why}. {_HOW_TO_WRITE}")

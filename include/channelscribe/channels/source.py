"""What people type for a channel, made into the one URL that is polled, stored and shown."""

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit, urlunsplit

from channelscribe.errors import BadInputError

_YOUTUBE = "https://www.youtube.com"
_YOUTUBE_HOSTS = {"youtube.com", "www.youtube.com", "m.youtube.com"}
_HANDLE = re.compile(r"@[\w.·-]{1,60}")
_CHANNEL_ID = re.compile(r"UC[A-Za-z0-9_-]{22}")
_PLAYLIST_ID = re.compile(r"PL[A-Za-z0-9_-]{10,64}")
_YOUTUBE_CHANNEL = re.compile(r"/(@[^/]{1,200}|(?:channel|c|user)/[^/]{1,100})(?:/([a-z]+))?")
# Their query says where a link was shared. That of other tabs may say what they show.
_PLAIN_TABS = ("videos", "shorts", "streams")
_HOW_TO_WRITE = "Give an http(s) URL, a YouTube handle such as @handle, or the id of a YouTube channel or playlist."


@dataclass(frozen=True)
class SiteNames:
    """How a site knows a page of a channel.

    Args:
        channel_id: the channel's id there, such as ``UC…``.
        others: canonical URLs of the same page by other names.
    """

    channel_id: str | None = None
    others: tuple[str, ...] = ()


def normalise_channel(text: str) -> str:
    """Turn what a person gives as a channel into its canonical URL.

    A handle, an id and a bare YouTube channel become the channel's ``/videos`` tab, and YouTube's URLs get one form;
    every other http(s) URL stays as it is, apart from case in its scheme and host, and from its fragment.

    Args:
        text: a URL of a channel, a playlist, a podcast feed or a single video, a YouTube handle, or the id of a
            YouTube channel or playlist.

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
        return f"{_YOUTUBE}/{given.lower()}/videos"
    if _CHANNEL_ID.fullmatch(given):
        return f"{_YOUTUBE}/channel/{given}/videos"
    if _PLAYLIST_ID.fullmatch(given):
        return f"{_YOUTUBE}/playlist?list={given}"
    if given.startswith("-"):
        raise _refusal(given, "it looks like a command-line option")
    return _normalise_url(given)


def site_names(url: str, channel_id: str | None, handle: str | None) -> SiteNames:
    """What else a page of a YouTube channel is called, once the site has told the channel's id and handle.

    Args:
        url: canonical URL; anything but a tab of a YouTube channel has neither an id nor other names.
        channel_id: such as ``UC…``.
        handle: such as ``@handle``.
    """
    page = _YOUTUBE_CHANNEL.fullmatch(url.removeprefix(_YOUTUBE))
    if page is None:
        return SiteNames()
    names = [f"channel/{channel_id}" if channel_id else None, handle.lower() if handle else None]
    tab = page.group(2) or "videos"
    others = tuple(other for name in names if name and (other := f"{_YOUTUBE}/{name}/{tab}") != url)
    return SiteNames(channel_id, others)


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
    if netloc in _YOUTUBE_HOSTS:
        return _normalise_youtube(parts)
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


def _normalise_youtube(parts: SplitResult) -> str:
    path, query = parts.path.rstrip("/"), parts.query
    if page := _YOUTUBE_CHANNEL.fullmatch(path):
        name, tab = page.group(1), page.group(2) or "videos"
        if _HANDLE.fullmatch(unquote(name)):
            name = unquote(name).lower()
        tab = "videos" if tab == "featured" else tab
        path, query = f"/{name}/{tab}", "" if tab in _PLAIN_TABS else query
    elif path == "/playlist" and (ids := parse_qs(query).get("list")):
        query = urlencode({"list": ids[0]})
    return f"{_YOUTUBE}{path or '/'}{f'?{query}' if query else ''}"


def _refusal(given: str, why: str) -> BadInputError:
    shown = given if len(given) <= 80 else given[:79] + "…"
    return BadInputError(f"{shown!r} is not a channel: {why}. {_HOW_TO_WRITE}")

"""Links that open a video at a second."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")
_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)


def link_at(url: str, start_s: float) -> str:
    """The address that opens at a second: YouTube's ``t``, else the W3C's media fragment ``#t=``.

    Whole seconds, rounded down, so that no word is cut off. What is not an http address is given back as it is.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    second = max(0, int(start_s))
    if _is_youtube(parts.hostname):
        query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "t"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("t", f"{second}s")]), fragment=""))
    fragment = [part for part in parts.fragment.split("&") if part and not part.startswith("t=")]
    return urlunsplit(parts._replace(fragment="&".join([*fragment, f"t={second}"])))


def youtube_id(url: str) -> str | None:
    """The id of a YouTube video that an address is of; None for anything else."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and _is_youtube(parts.hostname)
    except ValueError:
        return None
    found = dict(parse_qsl(parts.query)).get("v", parts.path.rsplit("/", 1)[-1])
    return found if known and _YOUTUBE_ID.fullmatch(found) else None


def _is_youtube(host: str | None) -> bool:
    host = (host or "").lower()
    return any(host == name or host.endswith("." + name) for name in _YOUTUBE)

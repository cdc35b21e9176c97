"""Links that open a video at a second."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")


def link_at(url: str, start_s: float) -> str:
    """The address that opens at a second: YouTube's ``t``, else the W3C's media fragment ``#t=``.

    Whole seconds, rounded down, so that no word is cut off. What is not an http address is given back as it is.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    second = max(0, int(start_s))
    host = (parts.hostname or "").lower()
    if any(host == name or host.endswith("." + name) for name in _YOUTUBE):
        query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "t"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("t", f"{second}s")]), fragment=""))
    fragment = [part for part in parts.fragment.split("&") if part and not part.startswith("t=")]
    return urlunsplit(parts._replace(fragment="&".join([*fragment, f"t={second}"])))

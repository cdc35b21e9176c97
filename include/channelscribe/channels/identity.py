"""Names: an item's stable id in the archive, and titles made fit to show."""

import hashlib
import re
import unicodedata
from urllib.parse import unquote, urlsplit

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TITLE = 300
# Format characters that emoji and several scripts need within words.
_JOINERS = "\u200c\u200d"


def video_id_of(extractor: str, source_id: str) -> str:
    """The id of an item in the archive: equal for equal sources, distinct for others, safe as a folder name.

    A plain id of the site stays readable as it is (``youtube-jNQXAC9IVRw``); any other becomes a slug with ten
    hexadecimal digits of a hash of the whole.

    Args:
        extractor: who names the item: a site as yt-dlp calls it, or ``feed``.
        source_id: the item's id there.
    """
    site = re.sub(r"[^a-z0-9]", "", extractor.lower())[:24] or "site"
    if _PLAIN.fullmatch(source_id):
        return f"{site}-{source_id}"
    digest = hashlib.sha256(source_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return "-".join(part for part in (site, _slug(source_id), digest) if part)


def source_id_of_url(url: str) -> str:
    """The identity of a file that has no other name than its URL: host, path and query, without scheme and port."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.hostname or ''}{parts.path}{query}"


def source_id_of_feed_item(guid: str, feed_url: str) -> str:
    """The identity of a feed's item by its guid.

    A guid should be unique in the world, but short ones (``12``, ``episode-1``) are unique in their feed at best;
    those get the feed's identity in front.
    """
    guid = guid.strip()
    is_global = len(guid) >= 20 or ":" in guid or "/" in guid
    return guid if is_global else f"{source_id_of_url(feed_url)} {guid}"


def is_unseen(character: str) -> bool:
    """Whether a character commands instead of showing: control, direction override, line separator, surrogate."""
    return character not in _JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def one_line(text: str) -> str:
    """The text on one line, without what commands a terminal or a page, and without runs of spaces; maybe empty."""
    kept = []
    for character in text:
        if not is_unseen(character):
            kept.append(character)
        elif unicodedata.category(character) != "Cf":
            kept.append(" ")
    return " ".join("".join(kept).split())


def clean_title(title: str | None) -> str:
    """A title fit for one line of a page: no control characters, no direction overrides, no runs of spaces, bounded.

    Letters of all scripts stay; HTML stays as the text it is, to be escaped where it is shown.
    """
    text = one_line(title or "")
    return text if len(text) <= _MAX_TITLE else text[: _MAX_TITLE - 1].rstrip() + "…"


def _slug(source_id: str) -> str:
    """The readable end of an id, at most 40 characters."""
    path = unquote(source_id.split("?")[0]).rstrip("/")
    ascii_only = unicodedata.normalize("NFKD", path.rsplit("/", 1)[-1]).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_only).strip("-")[:40].strip("-")

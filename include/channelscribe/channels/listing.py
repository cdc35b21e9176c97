"""What a channel offers, as yt-dlp lists it, without downloading anything."""

import logging
import math
import re
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from channelscribe.channels.addresses import only_public_addresses
from channelscribe.channels.identity import clean_title, source_id_of_feed_item, source_id_of_url, video_id_of
from channelscribe.channels.source import SiteNames, site_names
from channelscribe.channels.ytdlp import base_options, is_not_yet_available, translate
from channelscribe.contracts import Availability, Kind, ListedVideo, Video
from channelscribe.errors import TryAgainError, UnavailableError

logger = logging.getLogger(__name__)

Entry = dict[str, Any]

MAX_ITEMS = 20_000
# These list the newest first; playlists, for one, get their new items at the end.
_NEWEST_FIRST = re.compile(r"https://www\.youtube\.com/.+/(?:videos|shorts|streams)")
# A page of YouTube's listings. Pinned and reordered items hide new ones behind known ones, but hardly a page of them.
KNOWN_IN_A_ROW = 30
_MAX_NESTING = 2
_PLAYLISTS = ("playlist", "multi_video")
_LIVE: dict[str, Availability] = {"is_live": "live", "is_upcoming": "upcoming", "post_live": "live"}
_CLOSED: dict[str, Availability] = {
    "private": "private",
    "premium_only": "members_only",
    "subscriber_only": "members_only",
    "needs_auth": "age_restricted",
}
_PLACEHOLDERS: dict[str, Availability] = {"[Private video]": "private", "[Deleted video]": "removed"}


def list_channel(
    channel_url: str,
    known_ids: Collection[str] = (),
    max_items: int = MAX_ITEMS,
    check_names: Callable[[SiteNames], None] = lambda _: None,
) -> tuple[list[ListedVideo], bool]:
    """List a channel's items: those of a YouTube channel, a playlist, a podcast feed, or one single video.

    Dates of YouTube's listings are approximate ("2 weeks ago"), never older than the true ones.

    Args:
        channel_url: the canonical URL, see `source.normalise_channel`.
        known_ids: items that need not be listed again; where the newest are listed first, reading ends behind
            `KNOWN_IN_A_ROW` of them in a row.
        max_items: how much of the listing is read, from its start.
        check_names: gets how the site knows the channel (`source.site_names`) before its items are read, and raises
            where it is not to be listed.

    Returns:
        The items in the site's order (newest first, as a rule), each once, and whether the listing was read to its end.
        ``channel_url`` is what was given.

    Raises:
        BadInputError: there is no such channel, or nothing to list at the URL.
        TryAgainError: the network or the site is at fault.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    with only_public_addresses(), YoutubeDL(base_options()) as downloader:
        try:
            # Not processed by yt-dlp: it would read the listing to its end before it gave any of it.
            result = _unprocessed(downloader, channel_url)
            if result is None:
                return [], True
            check_names(site_names(channel_url, result.get("channel_id"), result.get("uploader_id")))
            listing = _Listing(downloader, channel_url, clean_title(_first(result, "title", "channel", "uploader")))
            known = known_ids if _NEWEST_FIRST.fullmatch(channel_url) else ()
            found, to_end = _read(listing.videos(result), known, max_items)
        except YoutubeDLError as error:
            if is_not_yet_available(error):
                logger.info("%s is live or yet to come: left out", channel_url)
                return [], True
            raise translate(error, channel_url) from error
    if known_ids and _is_guess(result) and not {one.video.video_id for one in found} & set(known_ids):
        raise TryAgainError(f"{channel_url} gives neither a feed nor audio this time: look at it in a browser.")
    return found, to_end


def look_up(video: Video) -> ListedVideo:
    """Ask the site for one item.

    Raises:
        BadInputError: what is at its address cannot be read.
        TryAgainError: the network or the site is at fault.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    with only_public_addresses(), YoutubeDL(base_options()) as downloader:
        try:
            entry = _unprocessed(downloader, video.url) or {}
        except YoutubeDLError as error:
            if is_not_yet_available(error):
                return ListedVideo(video=video, availability="upcoming")
            found = translate(error, video.url)
            if not isinstance(found, UnavailableError):
                raise found from error
            return ListedVideo(video=video, availability=found.availability, reason=str(found))
    known = {"published_at": published_at(entry), "duration_s": _positive(entry.get("duration"))}
    known = {name: value for name, value in known.items() if value is not None}
    return ListedVideo(video=video.model_copy(update=known), kind=_kind(entry), availability=_availability(entry))


def _unprocessed(downloader: Any, url: str) -> Entry | None:
    """What the extractor gives for a URL, links to other extractors followed; its entries are read when asked for."""
    result: Entry | None = downloader.extract_info(url, download=False, process=False)
    for _ in range(_MAX_NESTING + 1):
        if result is None or result.get("_type") not in ("url", "url_transparent"):
            break
        result = downloader.extract_info(result["url"], download=False, ie_key=result.get("ie_key"), process=False)
    return result


def _is_guess(result: Entry) -> bool:
    """Whether yt-dlp could not tell what there is, an empty answer, say, and takes the address for that of a file."""
    return bool(result.get("direct")) and not result.get("formats")


def _read(listed: Iterator[ListedVideo], known_ids: Collection[str], max_items: int) -> tuple[list[ListedVideo], bool]:
    found: list[ListedVideo] = []
    n_known = 0
    for one in listed:
        if len(found) >= max_items:
            return found, True  # more is not read, now or later
        found.append(one)
        n_known = n_known + 1 if one.video.video_id in known_ids else 0
        if n_known >= KNOWN_IN_A_ROW:
            return found, False
    return found, True


class _Listing:
    """Turns yt-dlp's entries into videos."""

    def __init__(self, downloader: Any, channel_url: str, title: str) -> None:
        self.downloader = downloader
        self.channel_url = channel_url
        self.title = title or channel_url
        self._seen: set[str] = set()

    def videos(self, result: Entry) -> Iterator[ListedVideo]:
        """Yield the items of a result, each once."""
        for entry, is_feed in self._entries(result, 0):
            video = self._video(entry, is_feed)
            if video is not None and video.video_id not in self._seen:
                self._seen.add(video.video_id)
                yield ListedVideo(video=video, kind=_kind(entry), availability=_availability(entry))

    def _entries(self, result: Entry, depth: int) -> Iterator[tuple[Entry, bool]]:
        if result.get("_type") not in _PLAYLISTS:
            yield result, False
            return
        is_feed = result.get("extractor_key") == "Generic"
        for entry in result.get("entries") or ():
            if not entry:
                continue
            if self._is_playlist(entry):
                if depth < _MAX_NESTING:
                    yield from self._entries(self._resolve(entry), depth + 1)
            else:
                yield entry, is_feed

    def _is_playlist(self, entry: Entry) -> bool:
        if entry.get("_type") in _PLAYLISTS:
            return True
        # A channel's tabs and its playlists come as links to be followed.
        key = str(entry.get("ie_key") or "")
        return entry.get("_type") in ("url", "url_transparent") and (key == "YoutubeTab" or key.endswith("Playlist"))

    def _resolve(self, entry: Entry) -> Entry:
        if entry.get("_type") in _PLAYLISTS:
            return entry
        return self.downloader.extract_info(entry["url"], download=False, ie_key=entry["ie_key"], process=False) or {}

    def _video(self, entry: Entry, is_feed: bool) -> Video | None:
        url, guid = self._url_and_guid(entry)
        if not url.lower().startswith(("http://", "https://")):
            logger.warning("%s lists %r, which is not a web address: left out", self.channel_url, url[:200])
            return None
        try:
            extractor, source_id = self._identity(entry, url, guid if is_feed else None)
            return Video(
                video_id=video_id_of(extractor, source_id),
                source_id=guid or source_id,
                url=url,
                title=clean_title(entry.get("title")) or source_id[:100],
                channel_url=self.channel_url,
                channel_title=self.title,
                published_at=published_at(entry),
                duration_s=_positive(entry.get("duration")),
            )
        except ValueError:  # pydantic's, and that of an address which is none
            logger.warning("%s lists an item that cannot be read: %r", self.channel_url, url[:200])
            return None

    @staticmethod
    def _url_and_guid(entry: Entry) -> tuple[str, str | None]:
        from yt_dlp.utils import smuggle_url, unsmuggle_url

        if entry.get("_type") not in ("url", "url_transparent"):
            # A single item, extracted whole: "url" is then the media file, which expires on many sites.
            return str(entry.get("webpage_url") or entry.get("original_url") or entry.get("url") or ""), None
        url, smuggled = unsmuggle_url(str(entry.get("url") or ""), {})
        guid = smuggled.pop("force_videoid", None)
        return (smuggle_url(url, smuggled) if smuggled else url), guid

    def _identity(self, entry: Entry, url: str, guid: str | None) -> tuple[str, str]:
        if guid:
            return "feed", source_id_of_feed_item(guid, self.channel_url)
        key = str(entry.get("ie_key") or entry.get("extractor_key") or "Generic")
        if key == "Generic":
            # Its ids are file names, which are not unique.
            return "generic", source_id_of_url(url)
        source_id = entry.get("id") or self.downloader.get_info_extractor(key).get_temp_id(url)
        return key, str(source_id or source_id_of_url(url))


def published_at(entry: Entry) -> datetime | None:
    """When the item was published (UTC), from what yt-dlp tells of it, or None."""
    for name in ("timestamp", "release_timestamp"):
        try:
            if entry.get(name) is not None:
                return datetime.fromtimestamp(float(entry[name]), UTC)
        except (OverflowError, OSError, TypeError, ValueError):
            continue
    try:
        return datetime.strptime(str(entry.get("upload_date")), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _availability(entry: Entry) -> Availability:
    return (
        _LIVE.get(str(entry.get("live_status")))
        or _CLOSED.get(str(entry.get("availability")))
        or _PLACEHOLDERS.get(str(entry.get("title")), "public")
    )


def _kind(entry: Entry) -> Kind:
    if "/shorts/" in str(entry.get("url") or entry.get("webpage_url") or ""):
        return "short"
    return "recording" if entry.get("live_status") in ("was_live", *_LIVE) else "video"


def _first(entry: Entry, *names: str) -> str | None:
    return next((str(entry[name]) for name in names if entry.get(name)), None)


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None

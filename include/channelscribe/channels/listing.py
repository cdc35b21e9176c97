"""What a channel offers, as yt-dlp lists it, without downloading anything."""

import logging
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from pydantic import ValidationError

from channelscribe.channels.identity import clean_title, source_id_of_feed_item, source_id_of_url, video_id_of
from channelscribe.channels.ytdlp import base_options, is_not_yet_available, translate
from channelscribe.contracts import Video

logger = logging.getLogger(__name__)

Entry = dict[str, Any]

MAX_ITEMS = 1000
MAX_DATE_LOOKUPS = 50
_MAX_NESTING = 2
_PLAYLISTS = ("playlist", "multi_video")
# They would fail day after day. They come back when they are done, or are opened to all.
_UNFINISHED = {"is_live", "is_upcoming", "post_live"}
_CLOSED = {"private", "premium_only", "subscriber_only", "needs_auth"}
_PLACEHOLDERS = {"[Private video]", "[Deleted video]"}


def list_channel(channel_url: str, since: date | None = None, max_items: int = MAX_ITEMS) -> list[Video]:
    """List a channel's items: those of a YouTube channel, a playlist, a podcast feed, or one single video.

    Live streams and premieres that are not over, and items that only members or nobody may see, are left out.
    Dates of YouTube's listings are approximate ("2 weeks ago"), never older than the true ones.

    Args:
        channel_url: the canonical URL, see `source.normalise_channel`.
        since: if given, items known to be older (UTC day) are left out, and the date of an item that the listing
            gives without one is looked up singly, for at most `MAX_DATE_LOOKUPS` items.
        max_items: how much of the listing is read, from its start.

    Returns:
        The videos in the site's order (newest first, as a rule), each once. ``channel_url`` is what was given.

    Raises:
        BadInputError: there is no such channel, or nothing to list at the URL.
        TryAgainError: the network or the site is at fault.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    options = base_options() | {
        "extract_flat": "in_playlist",
        "lazy_playlist": True,
        "playlist_items": f"1:{max_items}",
        "extractor_args": {"youtubetab": {"approximate_date": ["true"]}},
        "skip_download": True,
    }
    with YoutubeDL(options) as downloader:
        try:
            result = downloader.extract_info(channel_url, download=False)
            if result is None:
                return []
            listing = _Listing(downloader, channel_url, clean_title(_first(result, "title", "channel", "uploader")))
            videos = list(listing.videos(result, max_items))
        except YoutubeDLError as error:
            if is_not_yet_available(error):
                logger.info("%s is live or yet to come: left out", channel_url)
                return []
            raise translate(error, channel_url) from error
        if since is None:
            return videos
        dated = _with_dates(downloader, videos)
    return [video for video in dated if video.published_at is None or video.published_at.date() >= since]


class _Listing:
    """Turns yt-dlp's entries into videos."""

    def __init__(self, downloader: Any, channel_url: str, title: str) -> None:
        self.downloader = downloader
        self.channel_url = channel_url
        self.title = title or channel_url
        self._seen: set[str] = set()

    def videos(self, result: Entry, max_items: int) -> Iterator[Video]:
        """Yield the videos of a result, each once, at most so many."""
        for entry, is_feed in self._entries(result, 0):
            if len(self._seen) >= max_items:
                return
            video = self._video(entry, is_feed)
            if video is not None and video.video_id not in self._seen:
                self._seen.add(video.video_id)
                yield video

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
        return self.downloader.extract_info(entry["url"], download=False, ie_key=entry["ie_key"]) or {}

    def _video(self, entry: Entry, is_feed: bool) -> Video | None:
        if entry.get("live_status") in _UNFINISHED or entry.get("availability") in _CLOSED:
            return None
        if entry.get("title") in _PLACEHOLDERS:
            return None
        url, guid = self._url_and_guid(entry)
        if not url.lower().startswith(("http://", "https://")):
            logger.warning("%s lists %r, which is not a web address: left out", self.channel_url, url[:200])
            return None
        extractor, source_id = self._identity(entry, url, guid if is_feed else None)
        try:
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
        except ValidationError:
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


def _with_dates(downloader: Any, videos: list[Video]) -> list[Video]:
    from yt_dlp.utils import YoutubeDLError

    dated = list(videos)
    undated = [index for index, video in enumerate(videos) if video.published_at is None]
    for index in undated[:MAX_DATE_LOOKUPS]:
        video = videos[index]
        try:
            entry = downloader.extract_info(video.url, download=False)
        except YoutubeDLError as error:
            # It keeps its place without a date; if it is chosen, fetching says what is wrong with it.
            logger.info("%s: no date to be had: %s", video.video_id, translate(error, video.url))
            continue
        when = published_at(entry or {})
        if when is not None:
            dated[index] = video.model_copy(update={"published_at": when})
    return dated


def _first(entry: Entry, *names: str) -> str | None:
    return next((str(entry[name]) for name in names if entry.get(name)), None)


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None

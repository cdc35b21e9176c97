"""YouTube as far as yt-dlp asks it: pages of videos and channels, their API, and the files.

The pages are made, not recorded: there is no network here. Their structure is what yt-dlp 2026.10.26 reads of
YouTube's, and the sentences are YouTube's as its extractor and its tests quote them. What YouTube changes since then
they don't show.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

HANDLE = "https://www.youtube.com/@made/videos"
CHANNEL_ID = "UC" + "m" * 22
PAGE = 30
_CONTEXT = {"client": {"clientName": "WEB", "clientVersion": "2.20261001.00.00", "hl": "en", "gl": "US"}}

Playability = dict[str, Any]


def refused(status: str, reason: str, subreason: str | None = None) -> Playability:
    """What the player says instead of playing."""
    message: dict[str, Any] = {"reason": {"simpleText": reason}}
    if subreason:
        message["subreason"] = {"simpleText": subreason}
    return {"status": status, "reason": reason, "errorScreen": {"playerErrorMessageRenderer": message}}


PLAYS: Playability = {"status": "OK", "playableInEmbed": True}
PRIVATE = refused("LOGIN_REQUIRED", "Private video", "Sign in if you've been granted access to this video")
MEMBERS_ONLY = refused(
    "UNPLAYABLE", "Join this channel to get access to members-only content like this video, and other exclusive perks."
)
REMOVED = refused("ERROR", "Video unavailable", "This video has been removed by the uploader")
ACCOUNT_CLOSED = refused(
    "ERROR",
    "Video unavailable",
    "This video is no longer available because the YouTube account associated with this video has been terminated.",
)
AGE_RESTRICTED = refused(
    "LOGIN_REQUIRED", "Sign in to confirm your age", "This video may be inappropriate for some users."
)
NOT_IN_THIS_COUNTRY = refused(
    "UNPLAYABLE", "Video unavailable", "The uploader has not made this video available in your country"
)
BOT_CHECK = refused(
    "LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot", "This helps protect our community. Learn more"
)
TOO_MUCH = refused("ERROR", "This content isn't available, try again later.")
PREMIERE = {"status": "LIVE_STREAM_OFFLINE", "reason": "Premieres in 3 hours"}
EVENT_TO_COME = {"status": "LIVE_STREAM_OFFLINE", "reason": "This live event will begin in 3 hours."}


@dataclass
class MadeVideo:
    """A video; ``player`` is how it plays, ``badge`` what its channel's page shows on it.

    ``ago`` is its age as its channel's page says it, ``published`` the date that its own page has.

    ``live`` is None of what never was live, else ``to come``, ``now`` or ``over``: ended, and not complete yet.
    """

    video_id: str
    title: str = "A made video"
    player: Playability = field(default_factory=lambda: PLAYS)
    live: str | None = None
    badge: str | None = None
    ago: str = "2 days ago"
    published: str = "2026-08-01T10:00:00-07:00"
    seconds: int = 60
    is_listed: bool = True
    body: bytes | None = None
    file_status: int = 200
    extension: str = "m4a"

    def player_response(self) -> dict[str, Any]:
        details: dict[str, Any] = {
            "videoId": self.video_id, "title": self.title, "lengthSeconds": str(self.seconds), "channelId": CHANNEL_ID,
            "shortDescription": "", "author": "Made", "isLiveContent": self.live is not None,
            "isLive": self.live == "now", "isUpcoming": self.live == "to come", "isPostLiveDvr": self.live == "over",
        }  # fmt: skip
        response = {
            "playabilityStatus": self.player,
            "videoDetails": details,
            "microformat": {"playerMicroformatRenderer": {"uploadDate": self.published}},
        }
        if self.player["status"] == "OK":
            response["streamingData"] = {"expiresInSeconds": "21540", "adaptiveFormats": [self._format()]}
        return response

    def _format(self) -> dict[str, Any]:
        # Without a signature and an "n", so that no player's script has to be run.
        codec = {"m4a": 'audio/mp4; codecs="mp4a.40.2"', "webm": 'audio/webm; codecs="opus"'}[self.extension]
        return {
            "itag": {"m4a": 140, "webm": 251}[self.extension],
            "url": f"https://rr1---sn-made.googlevideo.com/videoplayback?id={quote(self.video_id)}&expire=4102444800",
            "mimeType": codec, "bitrate": 130_000, "averageBitrate": 128_000, "audioQuality": "AUDIO_QUALITY_MEDIUM",
            "audioSampleRate": "16000", "audioChannels": 1, "approxDurationMs": str(self.seconds * 1000),
            "contentLength": str(len(self.body or b"")),
        }  # fmt: skip

    def lockup(self) -> dict[str, Any]:
        """It on its channel's page."""
        text = {"now": "LIVE", "to come": "UPCOMING"}.get(
            self.live or "", f"{self.seconds // 60}:{self.seconds % 60:02}"
        )
        style = "LIVE" if self.live == "now" else "DEFAULT"
        rows: list[dict[str, Any]] = [
            {"metadataParts": [
                {"text": {"content": "7 views"}},
                {"text": {"content": self.ago}, "accessibilityLabel": self.ago},
            ]},
        ]  # fmt: skip
        if self.badge:
            rows.append({"badges": [{"badgeViewModel": {"badgeText": "Members only", "badgeStyle": self.badge}}]})
        badge = {"thumbnailBadgeViewModel": {"text": text, "badgeStyle": f"THUMBNAIL_OVERLAY_BADGE_STYLE_{style}"}}
        return {
            "contentId": self.video_id,
            "contentType": "LOCKUP_CONTENT_TYPE_VIDEO",
            "contentImage": {
                "thumbnailViewModel": {"overlays": [{"thumbnailBottomOverlayViewModel": {"badges": [badge]}}]}
            },
            "metadata": {
                "lockupMetadataViewModel": {
                    "title": {"content": self.title},
                    "metadata": {"contentMetadataViewModel": {"metadataRows": rows}},
                }
            },
        }


class MadeYoutube:
    """The videos of one channel, newest first, and what was asked for, as host and path."""

    def __init__(self, *videos: MadeVideo) -> None:
        self.videos = list(videos)
        self.status = 200
        self.breaks_at: int | None = None  # from this item on, the listing's pages are in trouble
        self.requests: list[str] = []

    def __getitem__(self, video_id: str) -> MadeVideo:
        return next(video for video in self.videos if video.video_id == video_id)

    def answer(self, path: str, body: bytes) -> tuple[bytes, str, int] | None:
        """Body, kind and status for a path such as ``/www.youtube.com/watch?v=...``; None for what is not YouTube's."""
        parts = urlsplit(path.lstrip("/"))
        host, _, place = parts.path.partition("/")
        if not host.endswith((".com",)):
            return None
        query = parse_qs(parts.query)
        self.requests.append(f"{host}/{place}")
        if self.status != 200:
            return b"", "text/html", self.status
        if host.endswith("googlevideo.com"):
            video = self[query["id"][0]]
            return video.body or b"", "audio/mp4", video.file_status
        pages: dict[str, Callable[[], str | dict[str, Any] | None]] = {
            "watch": lambda: self._watch(query["v"][0]),
            "@made/videos": self._channel,
            f"channel/{CHANNEL_ID}/videos": self._channel,
            "c/Made/videos": self._channel,
            "youtubei/v1/player": lambda: self._player(json.loads(body)["videoId"]),
            "youtubei/v1/browse": lambda: self._more(int(json.loads(body)["continuation"])),
        }
        if place.startswith("embed/"):  # for age-restricted ones
            return _page({}).encode(), "text/html; charset=utf-8", 200
        if place.endswith("/browse") and int(json.loads(body)["continuation"]) >= (self.breaks_at or 10**9):
            return b"", "text/html", 500
        content = pages[place]() if place in pages else None
        if content is None:
            return b"", "text/html", 404
        if isinstance(content, str):
            return content.encode(), "text/html; charset=utf-8", 200
        return json.dumps(content).encode(), "application/json", 200

    def _player(self, video_id: str) -> dict[str, Any]:
        return self[video_id].player_response()

    def _watch(self, video_id: str) -> str:
        return _page({"contents": {"twoColumnWatchNextResults": {}}}, self._player(video_id))

    def _items(self, first: int) -> list[dict[str, Any]]:
        listed = [video for video in self.videos if video.is_listed]
        page = [
            {"richItemRenderer": {"content": {"lockupViewModel": video.lockup()}}}
            for video in listed[first : first + PAGE]
        ]
        if first + PAGE < len(listed):
            command = {"token": str(first + PAGE), "request": "CONTINUATION_REQUEST_TYPE_BROWSE"}
            endpoint = {"continuationEndpoint": {"continuationCommand": command}}
            page.append({"continuationItemRenderer": endpoint})
        return page

    def _channel(self) -> str:
        tab = {
            "title": "Videos",
            "selected": True,
            "endpoint": {"commandMetadata": {"webCommandMetadata": {"url": "/@made/videos"}}},
            "content": {"richGridRenderer": {"contents": self._items(0)}},
        }
        about = {
            "title": "Made", "externalId": CHANNEL_ID, "channelUrl": f"https://www.youtube.com/channel/{CHANNEL_ID}",
            "vanityChannelUrl": "http://www.youtube.com/@made", "description": "",
        }  # fmt: skip
        return _page(
            {
                "contents": {"twoColumnBrowseResultsRenderer": {"tabs": [{"tabRenderer": tab}]}},
                "metadata": {"channelMetadataRenderer": about},
            }
        )

    def _more(self, first: int) -> dict[str, Any]:
        action = {"continuationItems": self._items(first), "targetId": "browse-feed"}
        return {"onResponseReceivedActions": [{"appendContinuationItemsAction": action}]}


def _page(data: dict[str, Any], player: dict[str, Any] | None = None) -> str:
    config = {
        "INNERTUBE_API_KEY": "made", "INNERTUBE_CONTEXT": _CONTEXT, "INNERTUBE_CONTEXT_CLIENT_NAME": 1, "STS": 20_000,
        "INNERTUBE_CLIENT_VERSION": "2.20261001.00.00", "VISITOR_DATA": "made",
        "PLAYER_JS_URL": "/s/player/8102da6c/player_ias.vflset/en_US/base.js",
    }  # fmt: skip
    scripts = [f"ytcfg.set({_json(config)});", f"var ytInitialData = {_json(data)};"]
    if player is not None:
        scripts.append(f"var ytInitialPlayerResponse = {_json(player)};")
    tags = "".join(f"<script>{script}</script>" for script in scripts)
    return f"<!DOCTYPE html><html><head><title>YouTube</title></head><body>{tags}</body></html>"


def _json(content: dict[str, Any]) -> str:
    """As YouTube writes it within a page."""
    return json.dumps(content).replace("<", "\\u003c").replace(">", "\\u003e")

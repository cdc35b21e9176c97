"""A plugin of yt-dlp, for the tests alone: what it asks YouTube for is asked of the tests' own server on loopback.

yt-dlp finds it where this folder's parent is on Python's path; the server's address is in MADE_YOUTUBE.
"""

import os
from urllib.parse import urlsplit

from yt_dlp.networking import Request, Response
from yt_dlp.networking._urllib import UrllibRH
from yt_dlp.networking.common import register_preference, register_rh
from yt_dlp.networking.exceptions import UnsupportedRequest

_HOSTS = ("youtube.com", "googlevideo.com", "ytimg.com")


@register_rh
class MadeYoutubeRH(UrllibRH):
    """urllib, with another address for some hosts; extractors see YouTube's."""

    RH_NAME = "made youtube"

    def _validate(self, request: Request) -> None:
        host = urlsplit(request.url).hostname or ""
        if "MADE_YOUTUBE" not in os.environ or not host.endswith(_HOSTS):
            raise UnsupportedRequest("not YouTube")
        super()._validate(request)

    def _send(self, request: Request) -> Response:
        asked = request.copy()
        asked.url = f"{os.environ['MADE_YOUTUBE']}/{request.url.split('://', 1)[1]}"
        response = super()._send(asked)
        response.url = request.url
        return response


@register_preference(MadeYoutubeRH)
def _before_all_others(handler: UrllibRH, request: Request) -> int:
    return 1000

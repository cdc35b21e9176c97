from pathlib import Path
from typing import Any

import pytest

from channelscribe.channels.ytdlp import base_options, is_not_yet_available, plain_message, translate
from channelscribe.errors import (
    BadInputError,
    ChannelscribeError,
    MisconfiguredError,
    RateLimitedError,
    TryAgainError,
    UnavailableError,
)
from channelscribe.settings import get_settings

REPORT = (
    "; please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling out the appropriate issue "
    "template. Confirm you are on the latest version using  yt-dlp -U"
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[0;31mERROR:\x1b[0m [generic] Oh no" + REPORT, "Oh no"),
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", None),
        (
            "ERROR: [youtube:tab] @a: Unable to download API page: HTTP Error 500: Oops (caused by <HTTPError 500>)",
            None,
        ),
        ("ERROR: \r[download] Got error: 10 bytes read, 20 more expected. Giving up after 3 retries", None),
    ],
)
def test_message_is_for_people(text: str, plain: str | None) -> None:
    message = plain_message(text)
    assert plain is None or message == plain
    for noise in ("ERROR", "\x1b", "\r", "report", "caused by", "Giving up", "[youtube"):
        assert noise not in message
    assert len(plain_message(text * 50)) <= 300


@pytest.mark.parametrize(
    ("text", "kind", "availability"),
    [
        ("[youtube] abc: Private video. Sign in if you've been granted access", UnavailableError, "private"),
        ("[youtube] abc: Video unavailable. This video is private", UnavailableError, "private"),
        ("[youtube] abc: Video unavailable. This video has been removed by the uploader", UnavailableError, "removed"),
        ("[youtube] abc: This video is no longer available because the account was terminated", UnavailableError,
         "removed"),
        ("[youtube] abc: Join this channel to get access to members-only content", UnavailableError, "members_only"),
        ("[youtube] abc: This video is available to this channel's members on level: X. Join this channel",
         UnavailableError, "members_only"),
        ("[youtube] abc: Sign in to confirm your age. This video may be inappropriate for some users.",
         UnavailableError, "age_restricted"),
        ("[youtube] abc: The uploader has not made this video available in your country", UnavailableError,
         "geo_restricted"),
        ("[youtube] abc: This account has been terminated", UnavailableError, "removed"),
        ("[youtube] abc: Sign in to confirm you're not a bot", RateLimitedError, None),
        ("[youtube] abc: Premieres in 3 hours", TryAgainError, None),
        ("[site] abc: Unable to extract the player" + REPORT, TryAgainError, None),
        ("[download] Got error: HTTP Error 502: Bad Gateway. Giving up after 3 retries", TryAgainError, None),
        ("unable to download video data: HTTP Error 404: Not Found", UnavailableError, "removed"),
        ("[generic] Unsupported URL: x", BadInputError, None),
    ],
)  # fmt: skip
def test_error_is_for_ever_or_for_now(text: str, kind: type[ChannelscribeError], availability: str | None) -> None:
    from yt_dlp.utils import DownloadError

    error = translate(DownloadError(f"ERROR: {text}"), "https://example.org/v")
    assert type(error) is kind
    assert getattr(error, "availability", None) == availability
    assert str(error).startswith(("https://example.org/v", "The site of https://example.org/v"))
    assert "\n" not in str(error)


def test_only_what_an_extractor_says_is_a_word_on_what_is_to_come() -> None:
    from yt_dlp.networking.exceptions import TransportError
    from yt_dlp.utils import DownloadError, ExtractorError, UnsupportedError

    def raised(error: Exception) -> DownloadError:
        return DownloadError(f"ERROR: {error}", (type(error), error, None))

    for expected, error in (
        (True, ExtractorError("Premieres in 3 hours", expected=True, video_id="abc", ie="youtube")),
        (True, ExtractorError("made is offline", expected=True, video_id="made", ie="twitch:stream")),
        (False, UnsupportedError("https://example.org/upcoming/feed")),
        (False, ExtractorError("Unable to extract the player", video_id="upcoming", ie="generic")),
        (False, ExtractorError("Unable to download webpage: Failed to resolve 'upcoming.example'",
                               cause=TransportError("Failed to resolve 'upcoming.example'"))),
    ):  # fmt: skip
        assert is_not_yet_available(error) is is_not_yet_available(raised(error)) is expected, error
        assert "yet to come" not in str(translate(raised(error), "https://example.org/v")) or expected
    assert not is_not_yet_available(DownloadError("ERROR: [generic] Unsupported URL: https://example.org/upcoming"))


def test_nothing_is_cached_outside_and_no_configuration_is_read() -> None:
    from yt_dlp import YoutubeDL

    with YoutubeDL(base_options()) as downloader:
        assert downloader.cache.enabled is False
        assert downloader.params.get("cookiefile") is None


COOKIES = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tlogin\tsecret\n"


@pytest.fixture
def cookies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cookies.txt"
    file.write_text(COOKIES)
    monkeypatch.setenv("CHANNELSCRIBE_COOKIES_FILE", str(file))
    get_settings.cache_clear()
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_cookies_are_sent_and_their_file_stays_as_it_is(site: Any, cookies: Path, mode: int) -> None:
    from yt_dlp import YoutubeDL

    url = site.serve("/feed", "<rss/>", "application/rss+xml")
    site.pages["/feed"].headers["Set-Cookie"] = "login=another; Max-Age=9999"
    cookies.chmod(mode)
    before = cookies.stat()
    with YoutubeDL(base_options()) as downloader:
        assert downloader.cookiejar.get_cookie_header(url) == "login=secret"
        downloader.urlopen(url).read()
        assert downloader.cookiejar.get_cookie_header(url) == "login=another"
    assert cookies.read_text() == COOKIES
    after = cookies.stat()
    assert (after.st_mtime_ns, after.st_ino, after.st_mode) == (before.st_mtime_ns, before.st_ino, before.st_mode)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"\xff", "cannot be read"), (b'[{"name": 1}]', "Netscape's format")],
)
def test_cookies_that_are_none_are_said_to_be(cookies: Path, content: bytes | None, says: str) -> None:
    if content is None:
        cookies.unlink()
    else:
        cookies.write_bytes(content)
    with pytest.raises(MisconfiguredError, match=rf"CHANNELSCRIBE_COOKIES_FILE: .*{says}") as refusal:
        base_options()
    assert "\n" not in str(refusal.value) and not (content is None and cookies.exists())

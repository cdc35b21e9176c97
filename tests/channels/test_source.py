import pytest

from channelscribe.channels.source import SiteNames, normalise_channel, site_names
from channelscribe.errors import BadInputError

CHANNEL_ID, PLAYLIST_ID = "UCaB3dEfGh1jKlMn0pQrSt_-", "PL" + "aB3_-" * 6


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("@handle", "https://www.youtube.com/@handle/videos"),
        ("  @some.body-1 ", "https://www.youtube.com/@some.body-1/videos"),
        ("https://www.youtube.com/@handle", "https://www.youtube.com/@handle/videos"),
        ("https://youtube.com/@handle/", "https://www.youtube.com/@handle/videos"),
        ("HTTPS://M.YouTube.com/@handle/featured", "https://www.youtube.com/@handle/videos"),
        ("https://www.youtube.com/channel/UCabc_-1", "https://www.youtube.com/channel/UCabc_-1/videos"),
        ("https://www.youtube.com/c/Some", "https://www.youtube.com/c/Some/videos"),
        ("https://www.youtube.com/user/some", "https://www.youtube.com/user/some/videos"),
        ("https://www.youtube.com/@handle/streams", "https://www.youtube.com/@handle/streams"),
        ("@HandLe", "https://www.youtube.com/@handle/videos"),
        ("https://www.youtube.com/@Handle", "https://www.youtube.com/@handle/videos"),
        ("https://www.youtube.com/@%C3%89t%C3%A9", "https://www.youtube.com/@été/videos"),
        ("https://www.youtube.com/@a%2Fb", "https://www.youtube.com/@a%2Fb/videos"),
        ("https://youtube.com/@handle/videos", "https://www.youtube.com/@handle/videos"),
        ("http://www.youtube.com:80/@handle/videos", "https://www.youtube.com/@handle/videos"),
        ("https://m.youtube.com/@handle/shorts/", "https://www.youtube.com/@handle/shorts"),
        ("https://www.youtube.com/@handle/videos?si=abc", "https://www.youtube.com/@handle/videos"),
        ("https://www.youtube.com/@handle?sub_confirmation=1", "https://www.youtube.com/@handle/videos"),
        ("https://m.youtube.com/@handle/search/?query=A", "https://www.youtube.com/@handle/search?query=A"),
        (CHANNEL_ID, f"https://www.youtube.com/channel/{CHANNEL_ID}/videos"),
        (f"http://m.youtube.com/channel/{CHANNEL_ID}/", f"https://www.youtube.com/channel/{CHANNEL_ID}/videos"),
        (PLAYLIST_ID, f"https://www.youtube.com/playlist?list={PLAYLIST_ID}"),
        (
            f"http://youtube.com/playlist?si=x&list={PLAYLIST_ID}",
            f"https://www.youtube.com/playlist?list={PLAYLIST_ID}",
        ),
        ("https://www.youtube.com/playlist?list=PL1", "https://www.youtube.com/playlist?list=PL1"),
        ("https://m.youtube.com/watch?v=Ab&list=PL1", "https://www.youtube.com/watch?v=Ab&list=PL1"),
        ("https://youtube.com", "https://www.youtube.com/"),
        ("https://youtube.com:8080/@Handle", "https://youtube.com:8080/@Handle"),
        ("https://music.youtube.com/@Handle", "https://music.youtube.com/@Handle"),
        ("http://127.0.0.1:8765/feed.xml", "http://127.0.0.1:8765/feed.xml"),
        ("https://example.org:443/feed#top", "https://example.org/feed"),
        ("http://[::1]:8080/feed", "http://[::1]:8080/feed"),
        ("https://example.org", "https://example.org/"),
    ],
)
def test_channel_becomes_one_url(given: str, expected: str) -> None:
    assert normalise_channel(given) == expected
    assert normalise_channel(expected) == expected


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("@", "handle"),
        ("@a/b", "handle"),
        ("file:///etc/passwd", "only http"),
        ("ftp://example.org/feed", "only http"),
        ("javascript:alert(1)", "only http"),
        ("ytsearch10:cats", "only http"),
        ("example.org/feed", "only http"),
        (CHANNEL_ID[:-1], "only http"),
        (CHANNEL_ID.lower(), "only http"),
        ("--exec=rm", "option"),
        ("-o", "option"),
        ("https://example.org/a b", "spaces"),
        ("https://example.org/\x1b[31m", "control"),
        ("https://example.org/\u202efdp", "control"),
        ("https://", "no host"),
        ("http:///feed", "no host"),
        ("https://example.org:99999/", "not a valid URL"),
        ("https://[::1/feed", "not a valid URL"),
    ],
)
def test_anything_else_is_refused_with_the_reason(given: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why) as refusal:
        normalise_channel(given)
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)


def test_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInputError, match="leave them out") as refusal:
        normalise_channel("https://me:secret@example.org/feed")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "others"),
    [
        ("https://www.youtube.com/@made/videos", [f"https://www.youtube.com/channel/{CHANNEL_ID}/videos"]),
        (f"https://www.youtube.com/channel/{CHANNEL_ID}/shorts", ["https://www.youtube.com/@made/shorts"]),
        (
            "https://www.youtube.com/c/Made/videos",
            [f"https://www.youtube.com/channel/{CHANNEL_ID}/videos", "https://www.youtube.com/@made/videos"],
        ),
        (f"https://www.youtube.com/playlist?list={PLAYLIST_ID}", []),
        ("https://example.org/@made/videos", []),
    ],
)
def test_a_channel_of_youtube_has_other_names(url: str, others: list[str]) -> None:
    assert site_names(url, CHANNEL_ID, "@Made") == SiteNames(CHANNEL_ID if others else None, tuple(others))
    assert site_names(url, None, None) == SiteNames()

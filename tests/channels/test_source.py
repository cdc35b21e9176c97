import pytest

from channelscribe.channels.source import normalise_channel
from channelscribe.errors import BadInputError


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
        ("https://www.youtube.com/playlist?list=PL1", "https://www.youtube.com/playlist?list=PL1"),
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

"""Links that open at a second."""

import pytest

from channelscribe.store.links import link_at, youtube_id


@pytest.mark.parametrize(
    ("url", "start_s", "link"),
    [
        ("https://www.youtube.com/watch?v=abc", 90.9, "https://www.youtube.com/watch?v=abc&t=90s"),
        ("https://www.youtube.com/watch?v=abc&t=5&list=x", 7, "https://www.youtube.com/watch?v=abc&list=x&t=7s"),
        ("https://youtu.be/abc", 3, "https://youtu.be/abc?t=3s"),
        ("https://m.youtube.com/shorts/abc#x", 0.2, "https://m.youtube.com/shorts/abc?t=0s"),
        ("https://notyoutube.com/watch?v=abc", 3, "https://notyoutube.com/watch?v=abc#t=3"),
        ("http://127.0.0.1:8765/two_cities.wav", 12.7, "http://127.0.0.1:8765/two_cities.wav#t=12"),
        ("https://example.org/a.mp3?x=1&y=%20#t=9", 2, "https://example.org/a.mp3?x=1&y=%20#t=2"),
        ("https://example.org/a.mp3#track=1", 2, "https://example.org/a.mp3#track=1&t=2"),
        ("javascript:alert(1)", 2, "javascript:alert(1)"),
        ("https://example.org/a.mp3", -1, "https://example.org/a.mp3#t=0"),
    ],
)
def test_the_link_opens_at_the_second(url, start_s, link):
    assert link_at(url, start_s) == link


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3", "dQw4w9WgXcQ"),
        ("https://youtu.be/dQw4w9WgXcQ?t=3", "dQw4w9WgXcQ"),
        ("https://m.youtube.com/shorts/dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://notyoutube.com/watch?v=dQw4w9WgXcQ", None),
        ("https://www.youtube.com/watch?v=dQw4w9WgXc", None),
        ("https://www.youtube.com/watch?v=dQw4w9W%22%3E%3C", None),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcé", None),
        ("javascript://www.youtube.com/watch?v=dQw4w9WgXcQ", None),
        ("http://[youtube.com/watch?v=dQw4w9WgXcQ", None),
        ("", None),
    ],
)
def test_the_id_of_a_youtube_video(url, found):
    assert youtube_id(url) == found

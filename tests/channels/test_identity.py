import re

import pytest

from channelscribe.channels.identity import clean_title, source_id_of_feed_item, source_id_of_url, video_id_of
from channelscribe.contracts import Video

PATTERN = Video.model_fields["video_id"].metadata[0].pattern


def test_plain_id_stays_readable() -> None:
    assert video_id_of("Youtube", "jNQXAC9IVRw") == "youtube-jNQXAC9IVRw"
    assert video_id_of("Youtube", "-_-abcDEF12") == "youtube--_-abcDEF12"


@pytest.mark.parametrize(
    "source_id",
    ["../../etc/passwd", "..", ".", "", "/", "a" * 500, "é中\U0001f600", "a\x00b", "a b", "\ud800", "%2e%2e%2f", "-"],
)
def test_every_source_gives_a_safe_id(source_id: str) -> None:
    for extractor in ("Youtube", "feed", "", "../x", "É"):
        assert re.fullmatch(PATTERN, video_id_of(extractor, source_id))


def test_sources_that_look_alike_get_ids_of_their_own() -> None:
    sources = ["a b", "a-b", "a/b", "a.b", "a_b", "A b", "x" * 65, "x" * 66, "https://a.org/1", "https://b.org/1"]
    assert len({video_id_of("feed", source) for source in sources}) == len(sources)


def test_url_names_a_file_whatever_its_port_and_scheme() -> None:
    assert source_id_of_url("http://a.org:8765/x.mp3?id=1#t") == source_id_of_url("https://A.org/x.mp3?id=1")
    assert source_id_of_url("http://a.org/x.mp3?id=1") != source_id_of_url("http://a.org/x.mp3?id=2")


def test_guid_that_is_unique_in_its_feed_only_is_told_apart() -> None:
    one, other = "https://a.org/feed", "https://b.org/feed"
    assert source_id_of_feed_item("12", one) != source_id_of_feed_item("12", other)
    for guid in ("https://a.org/episodes/12", "tag:a.org,2026:12", "0b9f6a0e-58c9-4f4b-8a11-2d0cf2b8d1f3"):
        assert source_id_of_feed_item(guid, one) == source_id_of_feed_item(guid, other) == guid


def test_title_is_cleaned_but_recognisable() -> None:
    assert clean_title(" Ep\x00isode\n\t1 \x1b[31mred ") == "Ep isode 1 [31mred"
    assert clean_title("safe\u202egpj.exe") == "safegpj.exe"
    assert clean_title("<script>alert(1)</script>") == "<script>alert(1)</script>"
    assert clean_title("Größe 中文 \U0001f468\u200d\U0001f469\u200d\U0001f467") == (
        "Größe 中文 \U0001f468\u200d\U0001f469\u200d\U0001f467"
    )
    assert clean_title("x" * 5000) == "x" * 299 + "…"
    assert clean_title(None) == ""

"""Feeds that are broken, hostile or cut off: one line of an error, or the items that can be read."""

import gzip
from typing import Any

import pytest

from channelscribe.channels.listing import list_channel
from channelscribe.errors import BadInputError, ChannelscribeError, TryAgainError

LAUGHS = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12))
HEAD = '<?xml version="1.0"?>'
ITEM = "<item><title>A</title><guid>urn:a</guid><enclosure url='{}/a.mp3'/></item>"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{HEAD}<rss version='2.0'><channel><title>T</title><item>", id="cut off"),
        pytest.param(f"{HEAD}<rss><channel><title>Q & A</title></channel></rss>", id="not well-formed"),
        pytest.param(
            f"{HEAD}<!DOCTYPE r [<!ENTITY l0 'ha'>{LAUGHS}]><rss version='2.0'><channel><title>&l11;</title>"
            "</channel></rss>",
            id="entities of entities",
        ),
        pytest.param("<html><title>Log in</title><form></form></html>", id="a login"),
    ],
)
def test_what_is_no_feed_is_one_line(site: Any, body: str) -> None:
    with pytest.raises(BadInputError) as caught:
        list_channel(site.serve("/feed", body, "application/rss+xml"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("body", ["", "\x00\x01\x02" * 5000, '{"items": []}'])
def test_what_a_feed_gives_for_once_is_not_taken_for_an_item(site: Any, body: str) -> None:
    """yt-dlp guesses that what it cannot read is a file."""
    url = site.serve_feed("/feed", site.item("/a.mp3", guid="urn:a"))
    known = {one.video.video_id for one in list_channel(url)[0]}
    site.serve("/feed", body, "application/rss+xml")
    with pytest.raises(TryAgainError, match="neither a feed nor audio this time"):
        list_channel(url, known)
    # Where nothing is known of the channel it may be one, and stays so.
    (guess,), _ = list_channel(url)
    assert list_channel(url, {guess.video.video_id}) == ([guess], True)


def test_a_file_of_this_machine_does_not_get_into_a_title(site: Any) -> None:
    feed = (
        f"{HEAD}<!DOCTYPE r [<!ENTITY secret SYSTEM 'file:///etc/passwd'>]><rss version='2.0'><channel>"
        f"<title>T</title><item><title>&secret;</title><enclosure url='{site.url}/a.mp3'/></item></channel></rss>"
    )
    try:
        found, _ = list_channel(site.serve("/feed", feed, "application/rss+xml"))
    except ChannelscribeError as error:
        assert "root:" not in str(error)
    else:
        assert all("root:" not in one.video.title for one in found)


def test_a_feed_that_breaks_off_on_its_way_is_tried_again(site: Any) -> None:
    feed = f"{HEAD}<rss version='2.0'><channel><title>T</title>{ITEM.format(site.url) * 500}</channel></rss>"
    url = site.serve("/feed", feed, "application/rss+xml", break_off_after=len(feed) // 2)
    with pytest.raises(TryAgainError, match="check this machine's network") as caught:
        list_channel(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("to", ["/feed", "file:///etc/passwd", "ftp://127.0.0.1/feed", "//[", ""])
def test_redirects_that_lead_nowhere_are_one_line(site: Any, to: str) -> None:
    url = site.serve("/feed", b"", status=302)
    site.pages["/feed"].headers["Location"] = to
    with pytest.raises(ChannelscribeError) as caught:
        list_channel(url)
    assert "\n" not in str(caught.value) and "root:" not in str(caught.value)


def test_what_is_packed_wrongly_is_one_line(site: Any) -> None:
    url = site.serve("/feed", gzip.compress(b"<rss/>")[:-12] + b"garbage", "application/rss+xml")
    site.pages["/feed"].headers["Content-Encoding"] = "gzip"
    with pytest.raises(ChannelscribeError) as caught:
        list_channel(url)
    assert "\n" not in str(caught.value)


def test_of_a_feed_with_bad_items_the_good_ones_are_listed(site: Any) -> None:
    bad = (
        "<item/>",
        "<item><enclosure/></item>",
        "<item><enclosure url=''/></item>",
        "<item><enclosure url='mailto:a@example.org'/></item>",
        "<item><enclosure url='http://[bad/a.mp3'/></item>",
        f"<item><title>B</title><enclosure url='{site.url}/b.mp3'/><pubDate>some day</pubDate></item>",
        f"<item><title>C</title><enclosure url='{site.url}/c.mp3'/><pubDate>Mon, 99 Foo 9999 99:99:99</pubDate>"
        "<itunes:duration>-1:99:zz</itunes:duration></item>",
        f"<item><guid>{'g' * 20_000}</guid><title>D</title><enclosure url='{site.url}/d.mp3'/></item>",
    )
    feed = (
        f"{HEAD}<rss version='2.0' xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'><channel><title>T</title>"
        f"{''.join(bad)}{ITEM.format(site.url)}</channel></rss>"
    )
    found, to_end = list_channel(site.serve("/feed", feed, "application/rss+xml"))
    titles = [one.video.title for one in found]
    assert titles[-4:] == ["B", "C", "D", "A"] and to_end
    for one in found:
        assert one.video.url.startswith("http") and len(one.video.video_id) <= 100
        assert one.video.duration_s is None or one.video.duration_s > 0

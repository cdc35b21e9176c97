import socket
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from channelscribe.channels.listing import _Listing, list_channel, published_at
from channelscribe.errors import BadInputError, TryAgainError

MONDAY, SUNDAY = "Mon, 03 Aug 2026 10:00:00 GMT", "Sun, 02 Aug 2026 10:00:00 GMT"


def test_feed_is_listed(site: Any) -> None:
    items = site.item("/b.mp3", "Second", "urn:b", MONDAY), site.item("/a.mp3", "First", "urn:a", SUNDAY)
    videos = list_channel(site.serve_feed("/feed", *items, title="Pod & Cast"))
    assert [video.title for video in videos] == ["Second", "First"]
    first = videos[1]
    assert first.url == site.url + "/a.mp3"
    assert first.source_id == "urn:a"
    assert first.video_id.startswith("feed-urn-a-")
    assert first.channel_url == site.url + "/feed"
    assert first.channel_title == "Pod & Cast"
    assert first.published_at == datetime(2026, 8, 2, 10, tzinfo=UTC)
    # Listing downloads nothing.
    assert {path for path, _ in site.requests} == {"/feed"}


def test_item_keeps_its_id_when_it_moves(site: Any) -> None:
    old = list_channel(site.serve_feed("/feed", site.item("/a.mp3", "A", "urn:a")))
    new = list_channel(site.serve_feed("/feed2", site.item("/elsewhere/b.mp3", "A, renamed", "urn:a")))
    assert old[0].video_id == new[0].video_id


def test_items_without_guid_are_told_apart_by_their_file(site: Any) -> None:
    url = site.serve_feed("/feed", site.item("/1/audio.mp3"), site.item("/2/audio.mp3"), site.item("/2/audio.mp3"))
    videos = list_channel(url)
    assert len({video.video_id for video in videos}) == len(videos) == 2
    assert [video.video_id for video in list_channel(url)] == [video.video_id for video in videos]


def test_hostile_items_are_harmless(site: Any) -> None:
    items = (
        site.item("/a.mp3", "../../../etc\u202e/passwd \x85<b>" + "x" * 9000, "../../../../etc/passwd"),
        site.item("/b.mp3", "-o --exec", "; rm -rf / #"),
        '<item><title>local</title><enclosure url="file:///etc/passwd"/></item>',
        '<item><title>search</title><enclosure url="ytsearch10:cats"/></item>',
        "<item><title>nothing</title></item>",
    )
    videos = list_channel(site.serve_feed("/feed", *items))
    assert [video.url for video in videos] == [site.url + "/a.mp3", site.url + "/b.mp3"]
    assert all("/" not in video.video_id and "." not in video.video_id for video in videos)
    assert len(videos[0].title) == 300
    assert "\u202e" not in videos[0].title


def test_single_file_is_a_channel_of_one(site: Any, wav: bytes) -> None:
    url = site.serve("/talks/one.wav", wav)
    (video,) = list_channel(url)
    assert video.url == url
    assert video.title == "one"
    again = list_channel(site.serve_feed("/feed", site.item("/talks/one.wav")))
    assert again[0].video_id == video.video_id


def test_redirected_feed_is_listed(site: Any) -> None:
    site.serve_feed("/new", site.item("/a.mp3", guid="urn:a"))
    url = site.serve("/old", b"", status=301)
    site.pages["/old"].headers["Location"] = "/new"
    (video,) = list_channel(url)
    assert video.channel_url == url


def test_listing_is_bounded(site: Any) -> None:
    url = site.serve_feed("/feed", *(site.item(f"/{n}.mp3", guid=f"urn:{n}") for n in range(30)))
    assert len(list_channel(url, max_items=7)) == 7


def test_empty_feed_lists_nothing(site: Any) -> None:
    assert list_channel(site.serve_feed("/feed")) == []


def test_since_drops_what_is_older_and_looks_missing_dates_up(site: Any, wav: bytes) -> None:
    items = (
        site.item("/new.wav", guid="urn:new", date=MONDAY),
        site.item("/old.wav", guid="urn:old", date=SUNDAY),
        site.item("/undated-old.wav", guid="urn:undated-old"),
        site.item("/undated.wav", guid="urn:undated"),
        site.item("/gone.wav", guid="urn:gone"),
    )
    site.serve("/undated-old.wav", wav)
    site.pages["/undated-old.wav"].headers["Last-Modified"] = SUNDAY
    site.serve("/undated.wav", wav)
    videos = list_channel(site.serve_feed("/feed", *items), since=date(2026, 8, 3))
    # What has no date anywhere stays: fetching says what is wrong with it.
    assert [video.source_id for video in videos] == ["urn:new", "urn:undated", "urn:gone"]


@pytest.mark.parametrize("status", [404, 410])
def test_missing_channel_is_bad_input(site: Any, status: int) -> None:
    with pytest.raises(BadInputError, match=rf"does not exist \(HTTP {status}\)"):
        list_channel(site.serve("/feed", "", status=status))


@pytest.mark.parametrize(
    ("status", "says"), [(500, "in trouble"), (503, "in trouble"), (429, "too many"), (403, "ref")]
)
def test_site_in_trouble_is_tried_again(site: Any, status: int, says: str) -> None:
    with pytest.raises(TryAgainError, match=says) as error:
        list_channel(site.serve("/feed", "", status=status))
    assert "ERROR" not in str(error.value)
    assert "report" not in str(error.value)


def test_page_without_media_is_bad_input(site: Any) -> None:
    url = site.serve("/page", "<html><title>Hello</title><body>Nothing here.</body></html>", "text/html")
    with pytest.raises(BadInputError, match="No audio or video was found"):
        list_channel(url)


def test_unreachable_site_says_what_to_check() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(TryAgainError, match="check this machine's network") as error:
            list_channel(f"http://127.0.0.1:{unused.getsockname()[1]}/feed")
    assert "\n" not in str(error.value)


def test_slow_site_times_out(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from channelscribe.channels import listing

    options = listing.base_options() | {"socket_timeout": 0.2}
    monkeypatch.setattr(listing, "base_options", lambda: dict(options))
    with pytest.raises(TryAgainError, match="cannot be reached"):
        list_channel(site.serve("/feed", "", delay_s=1.0))


def listed(result: dict[str, Any], resolve: Callable[..., Any] | None = None) -> list[Any]:
    class Downloader:
        extract_info = staticmethod(resolve)

    return list(_Listing(Downloader(), "https://www.youtube.com/@a/videos", "A").videos(result, 99))


def entry(name: str, **more: object) -> dict[str, Any]:
    url = f"https://www.youtube.com/watch?v={name}"
    return {"_type": "url", "ie_key": "Youtube", "id": name, "url": url, "title": f"Title {name}", **more}


def test_tabs_of_a_channel_are_flattened_and_each_video_listed_once() -> None:
    def tab(name: str) -> dict[str, Any]:
        return {"_type": "url", "ie_key": "YoutubeTab", "url": f"https://www.youtube.com/@a/{name}"}

    tabs = {"videos": [entry("aaa"), entry("bbb")], "shorts": [entry("bbb"), entry("ccc")]}

    def resolve(url: str, **_: object) -> dict[str, Any]:
        return {"_type": "playlist", "extractor_key": "YoutubeTab", "entries": tabs[url.rsplit("/", 1)[-1]]}

    channel = {"_type": "playlist", "extractor_key": "YoutubeTab", "entries": [tab("videos"), None, tab("shorts")]}
    videos = listed(channel, resolve)
    assert [video.video_id for video in videos] == ["youtube-aaa", "youtube-bbb", "youtube-ccc"]


@pytest.mark.parametrize(
    "more",
    [
        {"live_status": "is_live"},
        {"live_status": "is_upcoming"},
        {"live_status": "post_live"},
        {"availability": "subscriber_only"},
        {"title": "[Private video]"},
    ],
)
def test_what_cannot_be_fetched_yet_is_left_out(more: dict[str, str]) -> None:
    entries = [entry("aaa", **more), entry("bbb", live_status="was_live", availability="public")]
    videos = listed({"_type": "playlist", "extractor_key": "YoutubeTab", "entries": entries})
    assert [video.source_id for video in videos] == ["bbb"]


def test_single_video_has_the_id_that_its_channel_gives_it() -> None:
    whole = {
        "_type": "video",
        "extractor_key": "Youtube",
        "id": "aaa",
        "title": "Title",
        "url": "https://media.example/expires",
        "webpage_url": "https://www.youtube.com/watch?v=aaa",
        "duration": 12,
    }
    (video,) = listed(whole)
    assert video.video_id == "youtube-aaa"
    assert video.url == "https://www.youtube.com/watch?v=aaa"
    assert video.duration_s == 12.0


def test_date_is_the_best_that_is_there() -> None:
    assert published_at({"timestamp": 0, "upload_date": "20260803"}) == datetime(1970, 1, 1, tzinfo=UTC)
    assert published_at({"upload_date": "20260803"}) == datetime(2026, 8, 3, tzinfo=UTC)
    assert published_at({"timestamp": 1e30, "upload_date": "nonsense"}) is None
    assert published_at({}) is None

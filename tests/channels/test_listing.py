import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from channelscribe.channels import listing
from channelscribe.channels.listing import KNOWN_IN_A_ROW, _Listing, look_up, published_at
from channelscribe.contracts import ListedVideo, Video
from channelscribe.errors import BadInputError, RateLimitedError, TryAgainError

MONDAY, SUNDAY = "Mon, 03 Aug 2026 10:00:00 GMT", "Sun, 02 Aug 2026 10:00:00 GMT"


def list_channel(url: str, **options: Any) -> list[Video]:
    """The videos that are listed, all of them."""
    found, to_end = listing.list_channel(url, **options)
    assert to_end or options
    return [one.video for one in found]


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


def test_what_may_get_new_items_at_its_end_is_read_to_it(site: Any) -> None:
    url = site.serve_feed("/feed", *(site.item(f"/{n}.mp3", guid=f"urn:{n:03}") for n in range(100)))
    everything = list_channel(url)
    found, to_end = listing.list_channel(url, {video.video_id for video in everything[:99]})
    assert len(found) == 100 and to_end


def test_reading_ends_where_all_is_known(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_NEWEST_FIRST", re.compile(".*/feed"))
    url = site.serve_feed("/feed", *(site.item(f"/{n}.mp3", guid=f"urn:{n:03}") for n in range(100)))
    everything = list_channel(url)
    assert len(everything) == 100
    # A new one, one that hides behind ten known ones, and then nothing new.
    known = {video.video_id for video in everything} - {everything[0].video_id, everything[11].video_id}
    found, to_end = listing.list_channel(url, known)
    assert [one.video for one in found] == everything[: 12 + KNOWN_IN_A_ROW]
    assert not to_end
    assert listing.list_channel(url, known | {"another"}, max_items=5) == (found[:5], True)


@pytest.mark.parametrize(
    ("url", "newest_first"),
    [
        ("https://www.youtube.com/@a/videos", True),
        ("https://www.youtube.com/channel/UCx/streams", True),
        ("https://www.youtube.com/@a/playlists", False),
        ("https://www.youtube.com/playlist?list=videos", False),
        ("https://example.org/@a/videos", False),
    ],
)
def test_only_tabs_of_youtube_are_known_to_list_the_newest_first(url: str, newest_first: bool) -> None:
    assert bool(listing._NEWEST_FIRST.fullmatch(url)) is newest_first


def test_no_more_of_a_listing_is_asked_for_than_is_read() -> None:
    asked: list[int] = []

    def entries() -> Any:
        for number in range(5000):
            asked.append(number)
            yield entry(f"v{number:04}")

    result = {"_type": "playlist", "extractor_key": "YoutubeTab", "entries": entries()}
    videos = _Listing(None, "https://www.youtube.com/@a/videos", "A").videos(result)
    known = {f"youtube-v{number:04}" for number in range(5000)}
    found, to_end = listing._read(videos, known, listing.MAX_ITEMS)
    assert len(found) == len(asked) == KNOWN_IN_A_ROW and not to_end


def test_an_item_is_looked_up(site: Any, wav: bytes) -> None:
    (video,) = list_channel(site.serve_feed("/feed", site.item("/a.wav", guid="urn:a")))
    site.serve("/a.wav", wav)
    site.pages["/a.wav"].headers["Last-Modified"] = SUNDAY
    found = look_up(video)
    assert found.availability == "public"
    assert found.video == video.model_copy(update={"published_at": datetime(2026, 8, 2, 10, tzinfo=UTC)})


@pytest.mark.parametrize(("status", "availability"), [(404, "removed"), (410, "removed")])
def test_an_item_that_is_gone_is_said_to_be(site: Any, status: int, availability: str) -> None:
    (video,) = list_channel(site.serve_feed("/feed", site.item("/a.wav", guid="urn:a")))
    site.serve("/a.wav", b"", status=status)
    found = look_up(video)
    assert (found.availability, found.video) == (availability, video)
    assert found.reason and "does not exist" in found.reason


def test_an_item_of_a_site_in_trouble_is_not_said_to_be_gone(site: Any) -> None:
    (video,) = list_channel(site.serve_feed("/feed", site.item("/a.wav", guid="urn:a")))
    site.serve("/a.wav", b"", status=503)
    with pytest.raises(TryAgainError):
        look_up(video)
    site.pages["/a.wav"].status = 429
    with pytest.raises(RateLimitedError):
        look_up(video)


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


def test_an_address_says_nothing_of_what_is_to_come(site: Any) -> None:
    with pytest.raises(BadInputError, match="No audio or video was found"):
        list_channel(site.serve("/upcoming/feed", "<html><body>Nothing here.</body></html>", "text/html"))
    with pytest.raises(TryAgainError, match="in trouble"):
        list_channel(site.serve("/upcoming", "", status=500))


def test_unreachable_site_says_what_to_check() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(TryAgainError, match="check this machine's network") as error:
            list_channel(f"http://127.0.0.1:{unused.getsockname()[1]}/feed")
    assert "\n" not in str(error.value)


def test_slow_site_times_out(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = listing.base_options() | {"socket_timeout": 0.2}
    monkeypatch.setattr(listing, "base_options", lambda: dict(options))
    with pytest.raises(TryAgainError, match="cannot be reached"):
        list_channel(site.serve("/feed", "", delay_s=1.0))


def listed_as(result: dict[str, Any], resolve: Callable[..., Any] | None = None) -> list[ListedVideo]:
    class Downloader:
        extract_info = staticmethod(resolve)

    return list(_Listing(Downloader(), "https://www.youtube.com/@a/videos", "A").videos(result))


def listed(result: dict[str, Any], resolve: Callable[..., Any] | None = None) -> list[Video]:
    return [one.video for one in listed_as(result, resolve)]


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
    ("more", "availability"),
    [
        ({"live_status": "is_live"}, "live"),
        ({"live_status": "post_live"}, "live"),
        ({"live_status": "is_upcoming"}, "upcoming"),
        ({"availability": "subscriber_only"}, "members_only"),
        ({"availability": "premium_only"}, "members_only"),
        ({"availability": "private"}, "private"),
        ({"availability": "needs_auth"}, "age_restricted"),
        ({"title": "[Private video]"}, "private"),
        ({"title": "[Deleted video]"}, "removed"),
        ({"live_status": "was_live", "availability": "public"}, "public"),
        ({"availability": "unlisted"}, "public"),
    ],
)
def test_what_the_site_says_of_an_item_is_kept(more: dict[str, str], availability: str) -> None:
    result = {"_type": "playlist", "extractor_key": "YoutubeTab", "entries": [entry("aaa", **more), entry("bbb")]}
    assert [one.availability for one in listed_as(result)] == [availability, "public"]


def test_shorts_and_recordings_are_told_from_videos() -> None:
    short = {"url": "https://www.youtube.com/shorts/ccc"}
    entries = [entry("aaa"), entry("bbb", live_status="was_live"), entry("ccc") | short]
    result = {"_type": "playlist", "extractor_key": "YoutubeTab", "entries": entries}
    assert [one.kind for one in listed_as(result)] == ["video", "recording", "short"]


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

from datetime import UTC, date, datetime

from channelscribe.channels.selection import select_videos
from channelscribe.contracts import Video


def video(name: str, day: int | None = None, channel: str = "https://example.org/a") -> Video:
    return Video(
        video_id=name,
        source_id=name,
        url=f"https://example.org/{name}",
        title=name,
        channel_url=channel,
        channel_title="A",
        published_at=datetime(2026, 8, day, 12, tzinfo=UTC) if day else None,
    )


def ids(videos: list[Video]) -> list[str]:
    return [video.video_id for video in videos]


def test_newest_come_first_and_the_limit_cuts_the_oldest() -> None:
    listing = [video("c", 3), video("a", 1), video("b", 2)]
    assert ids(select_videos(listing, set(), limit=2)) == ["c", "b"]
    assert ids(select_videos(listing, set(), limit=2, newest_first=False)) == ["a", "b"]


def test_loaded_videos_do_not_count_against_the_limit() -> None:
    assert ids(select_videos([video("c", 3), video("b", 2), video("a", 1)], {"c"}, limit=2)) == ["b", "a"]


def test_since_keeps_its_own_day_and_what_has_no_date() -> None:
    listing = [video("c", 3), video("x"), video("b", 2), video("a", 1)]
    assert ids(select_videos(listing, set(), limit=9, since=date(2026, 8, 2))) == ["c", "x", "b"]


def test_videos_without_a_date_keep_their_place_in_the_listing() -> None:
    listing = [video("x"), video("c", 3), video("y"), video("a", 1), video("z")]
    assert ids(select_videos(listing, set(), limit=9)) == ["x", "c", "y", "a", "z"]
    assert ids(select_videos(listing, set(), limit=9, newest_first=False)) == ["z", "a", "y", "c", "x"]


def test_listing_without_any_date_keeps_its_order() -> None:
    listing = [video("b"), video("c"), video("a")]
    assert ids(select_videos(listing, set(), limit=9)) == ["b", "c", "a"]
    assert ids(select_videos(listing, set(), limit=1, newest_first=False)) == ["a"]


def test_limit_holds_for_each_channel() -> None:
    other = "https://example.org/b"
    listing = [video("a2", 2), video("a1", 1), video("b2", 2, other), video("b1", 1, other)]
    assert ids(select_videos(listing, set(), limit=1)) == ["a2", "b2"]


def test_video_of_two_channels_is_taken_once() -> None:
    listing = [video("v", 2), video("v", 2, "https://example.org/b"), video("v", 2)]
    assert ids(select_videos(listing, set(), limit=9)) == ["v"]


def test_nothing_new_selects_nothing() -> None:
    assert select_videos([video("a", 1)], {"a"}, limit=9) == []
    assert select_videos([], set(), limit=9) == []

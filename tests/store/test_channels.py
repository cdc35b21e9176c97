"""Channels and what their polls listed, in a real archive."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from channelscribe.channels.options import ChannelOptions
from channelscribe.channels.polling import Answers, Listing
from channelscribe.channels.source import SiteNames
from channelscribe.contracts import Availability, ListedVideo, Video
from channelscribe.errors import BadInputError
from channelscribe.store import channels as store
from channelscribe.store import listed

FEED, OTHER = "https://example.org/feed", "https://example.org/other"


def video(name: str, **more: Any) -> Video:
    given = {
        "video_id": name, "source_id": name, "url": f"https://example.org/{name}", "title": f"About {name}",
        "channel_url": FEED, "channel_title": "A feed", "duration_s": 60.0,
    }  # fmt: skip
    return Video(**given | more)


def poll(*names: str, to_end: bool = True, **states: Availability) -> Listing:
    return Listing([ListedVideo(video=video(name), availability=states.get(name, "public")) for name in names], to_end)


def rows(archive: Any, query: str) -> list[tuple[Any, ...]]:
    with archive, archive.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def names(archive: Any) -> list[str]:
    return [one.video.video_id for one in listed.listed_videos(archive, FEED)]


def test_a_channel_is_followed_paused_and_left(archive: Any) -> None:
    options = ChannelOptions(since=date(2026, 1, 31), limit=3)
    assert store.follow(archive, FEED, options)
    assert not store.follow(archive, FEED, options)
    (channel,) = store.list_channels(archive)
    assert (channel.url, channel.options, channel.paused, channel.polled_at) == (FEED, options, False, None)
    store.set_paused(archive, FEED, paused=True)
    assert store.list_channels(archive)[0].paused
    store.set_paused(archive, FEED, paused=False)
    store.unfollow(archive, FEED)
    assert store.list_channels(archive) == []
    for act in (lambda: store.unfollow(archive, FEED), lambda: store.set_paused(archive, OTHER, paused=True)):
        with pytest.raises(BadInputError, match="is not followed: `channelscribe channels list`"):
            act()
    assert store.get_channel(archive, FEED).options == ChannelOptions()


def test_the_file_rules_over_its_channels_only(archive: Any) -> None:
    store.follow(archive, OTHER, ChannelOptions(limit=1))
    store.sync_file(archive, {FEED: ChannelOptions(limit=2)})
    assert {channel.url: channel.in_file for channel in store.list_channels(archive)} == {FEED: True, OTHER: False}
    for act in (lambda: store.follow(archive, FEED, ChannelOptions()), lambda: store.unfollow(archive, FEED)):
        with pytest.raises(BadInputError, match=r"stands in channels\.yaml"):
            act()
    store.set_paused(archive, FEED, paused=True)
    store.sync_file(archive, {FEED: ChannelOptions(limit=5)})
    channel = store.get_channel(archive, FEED)
    assert channel.paused and channel.options.limit == 5
    store.sync_file(archive, {})
    assert [channel.url for channel in store.list_channels(archive)] == [OTHER]


def test_new_items_go_before_those_of_earlier_polls(archive: Any) -> None:
    assert listed.record_listing(archive, FEED, poll("c", "b", "a")) == 3
    assert names(archive) == ["c", "b", "a"]
    assert listed.record_listing(archive, FEED, poll("e", "d", "c", to_end=False)) == 2
    assert names(archive) == ["e", "d", "c", "b", "a"]
    assert listed.known_ids(archive, FEED) == set("abcde")
    channel = store.get_channel(archive, FEED)
    assert channel.title == "A feed" and channel.polled_to_end and channel.polled_at is not None
    assert listed.record_listing(archive, FEED, poll("e", "d", "c")) == 0
    assert rows(archive, "SELECT count(*) FROM availability_changes") == [(0,)]


def test_an_item_may_be_of_two_channels(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("b", "a"))
    assert listed.record_listing(archive, OTHER, poll("c", "a")) == 2
    assert names(archive) == ["b", "a"]
    assert [one.video.video_id for one in listed.listed_videos(archive, OTHER)] == ["c", "a"]
    assert {one.video.channel_url for one in listed.listed_videos(archive, OTHER)} == {OTHER}
    listed.note_availability(archive, [("a", "private", "It is private.")])
    assert [one.availability for one in listed.listed_videos(archive, OTHER)] == ["public", "private"]


def test_what_gets_no_answer_makes_room_for_the_others(archive: Any) -> None:
    many = [f"v{number:02}" for number in range(15)]
    listed.record_listing(archive, FEED, poll(*many, **dict.fromkeys(many, "live")))  # type: ignore[arg-type]
    first = [one.video_id for one in listed.due_for_recheck(archive, FEED)]
    listed.record_answers(archive, Answers(unanswered=first))
    second = [one.video_id for one in listed.due_for_recheck(archive, FEED)]
    assert len(second) == 5 and not set(first) & set(second)


def test_what_has_no_date_is_asked_for_it_once(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("c", "b", "a", c="private"))
    assert [one.video_id for one in listed.without_date(archive, FEED)] == ["b", "a"]
    dated = ListedVideo(video=video("b", published_at=datetime(2026, 8, 3, tzinfo=UTC)))
    listed.record_answers(archive, Answers([dated], unanswered=["a"]))
    assert listed.without_date(archive, FEED) == []
    assert {one.video.video_id: one.video.published_at for one in listed.listed_videos(archive, FEED)}["b"]


def test_a_title_that_changed_is_taken_over(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("a"))
    renamed = ListedVideo(video=video("a", title="Another\x00", duration_s=None))
    listed.record_listing(archive, FEED, Listing([renamed], True))
    (one,) = listed.listed_videos(archive, FEED)
    assert one.video.title == "Another" and one.video.duration_s == 60.0


@pytest.mark.parametrize("availability", [state for state in listed.RECHECK if state not in ("upcoming", "live")])
def test_what_is_not_to_be_had_is_asked_for_again_slowly(archive: Any, availability: Availability) -> None:
    listed.record_listing(archive, FEED, poll("b", "a", a=availability))
    assert listed.due_for_recheck(archive, FEED) == []
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE listed_videos SET recheck_at = recheck_at - %s", (listed.RECHECK[availability],))
    assert [one.video_id for one in listed.due_for_recheck(archive, FEED)] == ["a"]
    # Still so: the next look is as far away again, and the history says nothing new.
    again = ListedVideo(video=video("a"), availability=availability, reason="It is so.")
    listed.record_answers(archive, Answers([again]))
    assert listed.due_for_recheck(archive, FEED) == []
    assert rows(archive, "SELECT video_id, availability FROM availability_changes") == [("a", availability)]
    # And open to all at last.
    listed.record_answers(archive, Answers([ListedVideo(video=video("a"))]))
    assert {one.video.video_id: one.availability for one in listed.listed_videos(archive, FEED)}["a"] == "public"
    assert rows(archive, "SELECT recheck_at FROM listed_videos WHERE video_id = 'a'") == [(None,)]
    assert [row[0] for row in rows(archive, "SELECT availability FROM availability_changes ORDER BY seen_at")] == [
        availability,
        "public",
    ]


@pytest.mark.parametrize("availability", ["upcoming", "live"])
def test_what_is_about_to_come_is_asked_for_at_every_poll(archive: Any, availability: Availability) -> None:
    listed.record_listing(archive, FEED, poll("a", a=availability))
    assert [one.video_id for one in listed.due_for_recheck(archive, FEED)] == ["a"]
    found = video("a", published_at=datetime(2026, 8, 3, tzinfo=UTC), duration_s=90.0)
    listed.record_answers(archive, Answers([ListedVideo(video=found)]))
    (one,) = listed.listed_videos(archive, FEED)
    assert one.availability == "public" and one.video.published_at == datetime(2026, 8, 3, tzinfo=UTC)
    assert one.video.duration_s == 90.0
    assert listed.due_for_recheck(archive, FEED) == []


def load(archive: Any, *names: str) -> None:
    """As far as polls look at what is loaded."""
    with archive, archive.cursor() as cursor:
        for name in names:
            cursor.execute(
                "INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, "
                "speech_s, covered_s) SELECT %s, channel_id, '', '', '', 1, '', 'simple', 0, 0 FROM channels LIMIT 1",
                (name,),
            )


def test_what_is_loaded_and_left_the_listing_is_asked_for_once_a_year(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("d", "c", "b", "a"))
    load(archive, "d", "c", "a")
    assert listed.due_for_recheck(archive, FEED) == []
    # b was never loaded: fetching it would show what it is.
    listed.record_listing(archive, FEED, poll("d"))
    assert {one.video_id for one in listed.due_for_recheck(archive, FEED)} == {"a", "c"}
    gone = ListedVideo(video=video("a"), availability="removed", reason="It does not exist.")
    listed.record_answers(archive, Answers([ListedVideo(video=video("c")), gone]))
    listed.record_listing(archive, FEED, poll("d"))
    assert listed.due_for_recheck(archive, FEED) == []
    assert rows(archive, "SELECT video_id, availability FROM availability_changes") == [("a", "removed")]
    days = rows(archive, "SELECT video_id, round(extract(epoch FROM recheck_at - now()) / 86400) FROM listed_videos "
                "WHERE recheck_at IS NOT NULL ORDER BY 1")  # fmt: skip
    assert days == [("a", 90), ("c", 365)]


@pytest.mark.parametrize(("n_pages", "missing"), [(1, {"c"}), (2, set())])
def test_of_a_listing_that_was_read_in_part_only_that_part_can_show_a_gap(
    archive: Any, n_pages: int, missing: set[str]
) -> None:
    listed.record_listing(archive, FEED, poll("d", "c", "b", "a"))
    load(archive, "d", "c", "b", "a")
    found = poll("e", "d", "b", to_end=False)
    listed.record_listing(archive, FEED, Listing(found.listed, False, n_pages))
    assert {one.video_id for one in listed.due_for_recheck(archive, FEED)} == missing


def test_few_items_are_asked_for_in_one_poll(archive: Any) -> None:
    many = [f"v{number:02}" for number in range(30)]
    listed.record_listing(archive, FEED, poll(*many, **dict.fromkeys(many, "live")))  # type: ignore[arg-type]
    assert len(listed.due_for_recheck(archive, FEED)) == listed.MAX_RECHECKS


def test_a_failed_fetch_says_what_the_site_said(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("a"))
    listed.note_availability(archive, [("a", "geo_restricted", "Not here."), ("unknown", "private", "x")])
    (one,) = listed.listed_videos(archive, FEED)
    assert (one.availability, one.reason) == ("geo_restricted", "Not here.")


def test_a_listing_does_not_know_better_than_a_look_at_the_item(archive: Any) -> None:
    listed.record_listing(archive, FEED, poll("b", "a", b="private"))
    listed.note_availability(archive, [("a", "removed", "It does not exist.")])
    listed.record_listing(archive, FEED, poll("b", "a"))
    found = {one.video.video_id: one.availability for one in listed.listed_videos(archive, FEED)}
    assert found == {"a": "removed", "b": "public"}
    listed.record_listing(archive, FEED, poll("b", "a", a="private"))
    assert {one.video.video_id: one.availability for one in listed.listed_videos(archive, FEED)}["a"] == "private"


def patience(archive: Any) -> timedelta | None:
    (left,) = rows(archive, "SELECT poll_not_before - now() FROM channels")[0]
    return left  # type: ignore[no-any-return]


def test_a_site_that_asks_for_patience_gets_twice_as_much_each_time(archive: Any) -> None:
    store.follow(archive, FEED, ChannelOptions())
    for hours in (1, 2, 4, 8, 16, 24, 24):
        store.record_failed_poll(archive, FEED, "Too many requests.", rate_limited=True)
        left = patience(archive)
        assert left is not None and abs(left - timedelta(hours=hours)) < timedelta(minutes=1)
    assert store.get_channel(archive, FEED).poll_failure == "Too many requests."
    listed.record_listing(archive, FEED, poll("a"))
    channel = store.get_channel(archive, FEED)
    assert channel.not_before is None and channel.poll_failure is None


def test_only_refusals_make_the_patience_longer(archive: Any) -> None:
    for limited in (False, False, False, True):
        store.record_failed_poll(archive, FEED, "No.", rate_limited=limited)
    left = patience(archive)
    assert left is not None and left < timedelta(hours=1, minutes=1)


def test_other_failures_need_no_patience(archive: Any) -> None:
    store.record_failed_poll(archive, FEED, "The network is down.", rate_limited=False)
    assert patience(archive) is None
    assert store.get_channel(archive, FEED).poll_failure == "The network is down."


def test_counts_are_of_each_channel(archive: Any) -> None:
    store.follow(archive, FEED, ChannelOptions())
    store.follow(archive, OTHER, ChannelOptions())
    listed.record_listing(archive, FEED, poll("b", "a", a="private"))
    found = {channel.url: channel for channel in store.list_channels(archive)}
    assert (found[FEED].n_listed, found[FEED].n_loaded, found[FEED].n_unavailable) == (2, 0, 1)
    assert (found[OTHER].n_listed, found[OTHER].n_unavailable) == (0, 0)


def test_a_first_poll_of_thousands_is_kept_whole(archive: Any) -> None:
    many = [f"v{number:05}" for number in range(5000)]
    assert listed.record_listing(archive, FEED, poll(*many)) == 5000
    assert names(archive) == many


def test_another_tab_of_a_channel_is_another_channel(archive: Any) -> None:
    videos, streams, renamed = (
        f"https://www.youtube.com/{page}" for page in ("c/A/videos", "c/A/streams", "@a/videos")
    )
    names = SiteNames("UCa")
    for url in (videos, streams, renamed):
        store.follow(archive, url, ChannelOptions())
    for url in (videos, streams, videos):
        store.require_one_name(archive, url, names)
    with pytest.raises(BadInputError, match=f"is followed as {videos} already"):
        store.require_one_name(archive, renamed, names)
    store.require_one_name(archive, renamed, SiteNames("UCb"))

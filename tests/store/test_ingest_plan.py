"""From channels to the videos of a run: real yt-dlp over HTTP, and a real archive."""

import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from channelscribe.channels.options import ChannelOptions
from channelscribe.errors import BadInputError, RateLimitedError, TryAgainError
from channelscribe.settings import Settings, get_settings
from channelscribe.store.channels import follow, get_channel, record_failed_poll, set_paused
from channelscribe.store.ingest_plan import Request, channels_to_poll, choose_videos, poll_into_archive
from channelscribe.store.listed import listed_videos, note_availability

DAYS = ["Mon, 03 Aug 2026 10:00:00 GMT", "Sun, 02 Aug 2026 10:00:00 GMT", "Sat, 01 Aug 2026 10:00:00 GMT"]


class Feed:
    """A podcast whose items come, go and are refused."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.items: list[tuple[str, str]] = []
        self.status = 200
        self.item_status: dict[str, int] = {}
        self.requests: list[str] = []

    def page(self, path: str) -> tuple[int, bytes]:
        self.requests.append(path)
        if path == "/feed":
            items = "".join(
                f"<item><title>{name}</title><guid>urn:{name}</guid><enclosure url='{self.url}/{name}.mp3' "
                f"type='audio/mpeg'/>{f'<pubDate>{day}</pubDate>' if day else ''}</item>"
                for name, day in self.items
            )
            return self.status, f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>".encode()
        return self.item_status.get(path.strip("/").removesuffix(".mp3"), 404), b""


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    pytest.importorskip("yt_dlp", reason="is in Airflow's environment")
    monkeypatch.setenv("CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("CHANNELSCRIBE_REQUEST_PAUSE_S", "0")
    monkeypatch.setattr("channelscribe.channels.ytdlp._pause", lambda n: 0.0)
    get_settings.cache_clear()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = served.page(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/rss+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Feed(server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()
    get_settings.cache_clear()


def settings(**more: Any) -> Settings:
    return Settings(_env_file=None, **more)


def chosen(archive: Any, url: str, request: Request | None = None, **more: Any) -> tuple[list[str], int]:
    plan = choose_videos(archive, settings(**more), [url], request or Request(), 1000)
    return [video.title for video in plan.chosen], plan.n_waiting


def test_a_channel_of_thousands_comes_over_many_runs_for_one_page_each(archive: Any, feed: Feed) -> None:
    feed.items = [(f"i{number:04}", "") for number in range(5000)]
    url = feed.url + "/feed"
    assert poll_into_archive(archive, url, Request()) == 5000
    assert chosen(archive, url, limit=7) == ([f"i{number:04}" for number in range(7)], 4993)
    feed.requests.clear()
    assert poll_into_archive(archive, url, Request()) == 0
    assert feed.requests == ["/feed"]
    plan = choose_videos(archive, settings(), [url], Request(limit=1000), 30)
    assert (len(plan.chosen), plan.n_listed, plan.n_waiting) == (30, 5000, 4970)


def test_a_new_item_is_found_and_one_that_left_the_feed_is_still_taken(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", DAYS[1]), ("a", DAYS[2])]
    poll_into_archive(archive, url, Request())
    feed.items = [("c", DAYS[0]), ("b", DAYS[1])]
    assert poll_into_archive(archive, url, Request()) == 1
    assert chosen(archive, url) == (["c", "b", "a"], 0)
    assert chosen(archive, url, Request(newest_first=False, limit=2)) == (["a", "b"], 1)
    assert chosen(archive, url, Request(since=date(2026, 8, 2))) == (["c", "b"], 0)


def test_options_rule_where_the_run_says_nothing(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("c", DAYS[0]), ("b", DAYS[1]), ("a", DAYS[2])]
    follow(archive, url, ChannelOptions(newest_first=False, limit=1, title="[bc]"))
    poll_into_archive(archive, url, Request())
    assert chosen(archive, url) == (["b"], 1)
    assert chosen(archive, url, Request(newest_first=True, limit=5)) == (["c", "b"], 0)


def test_what_is_not_to_be_had_is_not_taken_and_counted(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", DAYS[0]), ("a", "")]
    # Its date is looked up, and there is no such file.
    poll_into_archive(archive, url, Request(since=date(2026, 1, 1)))
    assert {one.video.title: one.availability for one in listed_videos(archive, url)} == {"b": "public", "a": "removed"}
    plan = choose_videos(archive, settings(), [url], Request(), 1000)
    assert ([video.title for video in plan.chosen], plan.n_unavailable) == (["b"], 1)


def test_an_item_that_is_listed_all_the_time_is_asked_for_again(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("a", DAYS[0])]
    poll_into_archive(archive, url, Request())
    (one,) = listed_videos(archive, url)
    note_availability(archive, [(one.video.video_id, "geo_restricted", "Not here.")])
    feed.requests.clear()
    poll_into_archive(archive, url, Request())
    assert feed.requests == ["/feed"]
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE listed_videos SET recheck_at = now()")
    feed.item_status["a"] = 200
    poll_into_archive(archive, url, Request())
    assert "/a.mp3" in feed.requests


@pytest.mark.parametrize("status", [400, 403, 503])
def test_an_item_that_cannot_be_looked_up_fails_no_poll(archive: Any, feed: Feed, status: int) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", ""), ("a", DAYS[0])]
    feed.item_status["b"] = status
    assert poll_into_archive(archive, url, Request(since=date(2026, 1, 1))) == 2
    assert chosen(archive, url) == (["b", "a"], 0)


def test_what_may_be_too_old_waits_until_it_was_asked_for_its_date(
    archive: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channelscribe.store.listed.MAX_DATE_LOOKUPS", 2)
    url, request = feed.url + "/feed", Request(since=date(2026, 8, 2))
    feed.items = [("e", ""), ("d", ""), ("c", ""), ("b", DAYS[0]), ("a", DAYS[2])]
    feed.item_status = dict.fromkeys("edc", 400)  # none of them has a date to tell
    poll_into_archive(archive, url, request)
    plan = choose_videos(archive, settings(), [url], request, 1000)
    assert [video.title for video in plan.chosen] == ["e", "d", "b"]
    assert (plan.skipped, plan.n_waiting) == ({"waits for its date": 1, "too old": 1}, 1)
    assert chosen(archive, url) == (["e", "d", "c", "b", "a"], 0)
    poll_into_archive(archive, url, request)
    assert chosen(archive, url, request) == (["e", "d", "c", "b"], 0)


def test_a_refusal_while_looking_up_keeps_the_listing_and_waits(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", ""), ("a", DAYS[0])]
    feed.item_status["b"] = 429
    assert poll_into_archive(archive, url, Request(since=date(2026, 1, 1))) == 2
    assert get_channel(archive, url).not_before is not None


def test_what_is_of_no_use_does_not_hold_the_limit(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", DAYS[0]), ("a", DAYS[1])]
    poll_into_archive(archive, url, Request())
    newest = listed_videos(archive, url)[0].video.video_id
    note_availability(archive, [(newest, "unusable", "It has no sound.")])
    assert chosen(archive, url, Request(limit=1)) == (["a"], 0)
    assert chosen(archive, url, Request(limit=1, force=True)) == (["b"], 1)


def test_what_fails_three_times_in_a_row_lets_all_others_go_first_for_a_week(archive: Any, feed: Feed) -> None:
    feed.items = [(name, DAYS[0]) for name in "edcba"]
    url = f"{feed.url}/feed"
    poll_into_archive(archive, url, Request())

    def ids(limit: int = 5) -> list[str]:
        request = Request(newest_first=False, limit=limit)
        return choose_videos(archive, settings(), [url], request, 1000).video_ids

    def ran(name: str, days_ago: float, *failed: str) -> None:
        with archive, archive.cursor() as cursor:
            cursor.execute(
                "INSERT INTO ingest_runs (run_id, state, started_at) "
                "VALUES (%s, 'failed', now() - %s * interval '1 day')",
                (name, days_ago),
            )
            for video_id in everything:
                cursor.execute(
                    "INSERT INTO run_videos (run_id, video_id, place, title, map_index, without_speech, failed_stage) "
                    "VALUES (%s, %s, 0, 'T', 0, false, %s)",
                    (name, video_id, "fetch_audio" if video_id in failed else None),
                )

    everything = ids()
    oldest, second, *others = everything
    ran("1", 4, oldest, second)
    ran("2", 3, oldest, second)
    assert ids() == everything
    ran("3", 2, oldest)
    assert ids() == [second, *others, oldest]
    assert ids(2) == [second, others[0]]
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE ingest_runs SET started_at = started_at - interval '6 days'")
    assert ids() == everything
    ran("4", 0.1, oldest)
    assert ids() == [second, *others, oldest]
    ran("5", 0)
    assert ids() == everything


def test_an_item_whose_day_has_come_is_asked_for_again(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("a", "")]
    poll_into_archive(archive, url, Request(since=date(2026, 1, 1)))
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE listed_videos SET recheck_at = now()")
    feed.items = []  # it left the feed, and its file is there again
    feed.item_status["a"] = 200
    feed.requests.clear()
    poll_into_archive(archive, url, Request())
    assert "/a.mp3" in feed.requests
    (one,) = listed_videos(archive, url)
    assert one.availability in ("public", "removed")


def test_a_site_that_asks_for_patience_is_left_alone(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.status = 429
    with pytest.raises(RateLimitedError, match="too many requests"):
        poll_into_archive(archive, url, Request())
    n_requests = len(feed.requests)
    with pytest.raises(RateLimitedError, match=r"is not asked before .* UTC, as the site wants it"):
        poll_into_archive(archive, url, Request())
    assert len(feed.requests) == n_requests
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE channels SET poll_not_before = now()")
    feed.status = 200
    assert poll_into_archive(archive, url, Request()) == 0
    assert get_channel(archive, url).not_before is None


def test_a_channel_whose_site_wants_patience_has_nothing_fetched(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("b", DAYS[0]), ("a", DAYS[1])]
    poll_into_archive(archive, url, Request())
    record_failed_poll(archive, url, "Too many requests.", rate_limited=True)
    assert chosen(archive, url) == ([], 2)
    plan = choose_videos(archive, settings(), [url], Request(), 1000)
    assert plan.skipped == {"held, as the site asked for patience": 2}
    assert chosen(archive, url, Request(force=True)) == ([], 2)
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE channels SET poll_not_before = now()")
    assert chosen(archive, url) == (["b", "a"], 0)


def test_videos_are_in_the_language_of_their_channel(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [("a", DAYS[0])]
    follow(archive, url, ChannelOptions(language="de"))
    poll_into_archive(archive, url, Request())
    assert [v.language for v in choose_videos(archive, settings(), [url], Request(), 9).chosen] == ["de"]
    follow(archive, url, ChannelOptions())
    assert [v.language for v in choose_videos(archive, settings(), [url], Request(), 9).chosen] == [None]


@pytest.mark.parametrize(("status", "error"), [(404, BadInputError), (503, TryAgainError)])
def test_a_failed_poll_is_kept_and_loses_nothing(archive: Any, feed: Feed, status: int, error: type) -> None:
    url = feed.url + "/feed"
    feed.items = [("a", DAYS[0])]
    poll_into_archive(archive, url, Request())
    feed.status = status
    with pytest.raises(error):
        poll_into_archive(archive, url, Request())
    assert get_channel(archive, url).poll_failure
    assert chosen(archive, url) == (["a"], 0)


def test_channels_are_those_given_or_else_those_that_are_followed(archive: Any) -> None:
    one, two, three = (f"https://example.org/{name}" for name in ("one", "two", "three"))
    follow(archive, one, ChannelOptions())
    follow(archive, two, ChannelOptions())
    set_paused(archive, two, paused=True)
    assert channels_to_poll(archive, settings(channels=(three, one)), []) == [one, three]
    assert channels_to_poll(archive, settings(), ["@a", two, "https://youtube.com/@a"]) == [
        "https://www.youtube.com/@a/videos",
        two,
    ]
    with pytest.raises(BadInputError, match="only http and https"):
        channels_to_poll(archive, settings(), ["file:///etc/passwd"])


def tried(archive: Any, run_id: str, days_ago: int, *titles: str) -> None:
    """Note that a run fetched these videos."""
    with archive, archive.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ingest_runs (run_id, state, started_at) VALUES (%s, 'failed', now() - %s * interval '1 day')",
            (run_id, days_ago),
        )
        cursor.execute(
            "INSERT INTO run_videos (run_id, video_id, place, title, map_index, without_speech, failed_stage) "
            "SELECT %s, video_id, row_number() OVER (), title, 0, false, 'fetch_audio' FROM listed_videos "
            "WHERE title = ANY(%s)",
            (run_id, list(titles)),
        )


def refuse(archive: Any, url: str, *titles: str) -> None:
    """Note that the site does not hand these videos out to this country."""
    ids = [one.video.video_id for one in listed_videos(archive, url) if one.video.title in titles]
    note_availability(archive, [(video_id, "geo_restricted", "Not here.") for video_id in ids])


def test_a_channel_that_is_blocked_here_is_tried_once_a_week(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [(f"v{number}", "") for number in range(9)]
    poll_into_archive(archive, url, Request())
    refuse(archive, url, "v0", "v1")
    tried(archive, "channel_ingest/a", 3, "v0", "v1")
    assert chosen(archive, url, limit=2) == (["v2", "v3"], 5)  # two say nothing yet
    refuse(archive, url, "v2")
    tried(archive, "channel_ingest/b", 2, "v2")
    tried(archive, "reprocess/c", 1, "v8")  # which fetches nothing
    plan = choose_videos(archive, settings(limit=2), [url], Request(), 1000)
    held = next(why for why in plan.skipped if why.startswith("held until "))
    assert "the last videos tried are not available from this country" in held
    assert (plan.chosen, plan.n_waiting, plan.skipped) == ([], 6, {held: 6, "geo restricted": 3})
    assert plan.shares[url].outlook == f"6 remain, {held}"
    # Who gives a limit has changed something, and wants to see.
    assert chosen(archive, url, Request(limit=2)) == (["v3", "v4"], 4)

    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE ingest_runs SET started_at = started_at - interval '6 days'")
    assert chosen(archive, url, limit=2) == (["v3"], 5)
    refuse(archive, url, "v3")
    tried(archive, "channel_ingest/d", 0, "v3")
    assert chosen(archive, url, limit=2) == ([], 5)


def test_a_channel_with_blocked_videos_among_others_is_not_held(archive: Any, feed: Feed) -> None:
    url = feed.url + "/feed"
    feed.items = [(f"v{number}", "") for number in range(9)]
    poll_into_archive(archive, url, Request())
    refuse(archive, url, "v1", "v2", "v3")
    tried(archive, "channel_ingest/a", 1, "v0")
    tried(archive, "channel_ingest/b", 0, "v1", "v2", "v3")
    assert chosen(archive, url, limit=2) == (["v0", "v4"], 4)

"""Each state of an item, from the poll by yt-dlp's YouTube extractor to what the archive says, on made pages.

The steps are those of `channel_ingest`: poll, choose, the program `fetch_audio`, report. There is no network here, so
that the pages are made in the shape that the extractor reads (`made_youtube.py`), not recorded.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from channelscribe.channels.options import ChannelOptions
from channelscribe.errors import BadInputError, RateLimitedError, TryAgainError
from channelscribe.profiles import BUNDLED
from channelscribe.settings import get_settings
from channelscribe.store.channels import follow, get_channel, record_failed_poll, unfollow
from channelscribe.store.ingest_plan import Request, choose_videos, poll_into_archive
from channelscribe.store.listed import listed_videos, note_availability
from channelscribe.telemetry.report import RunReport, run_report
from channelscribe.workspace import Workspace, now

URL = "https://www.youtube.com/@made/videos"
CLOSED = {  # how it plays -> what the archive says, and in how many days it is asked for again
    "PRIVATE": ("private", 30),
    "MEMBERS_ONLY": ("members_only", 30),
    "REMOVED": ("removed", 90),
    "ACCOUNT_CLOSED": ("removed", 90),
    "AGE_RESTRICTED": ("age_restricted", 30),
    "NOT_IN_THIS_COUNTRY": ("geo_restricted", 30),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds of a tone as YouTube has it: AAC in MP4."""
    path = tmp_path_factory.mktemp("sound") / "tone.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        tone = np.sin(np.arange(3 * 16_000) * 0.2).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path.read_bytes()


class Job:
    """Runs over the made channel, as `channel_ingest` does them up to the audio."""

    def __init__(self, archive: Any, workspace: Workspace) -> None:
        self.archive, self.workspace = archive, workspace

    def run(self) -> RunReport:
        """Poll, choose, fetch by the program, and hand what failed to the archive."""
        started = now()
        poll_into_archive(self.archive, URL, Request())
        plan = choose_videos(self.archive, get_settings(), [URL], Request(), 1000)
        chosen = [video.video_id for video in plan.chosen]
        for video in plan.chosen:
            self.workspace.write_video(video)
        if chosen:
            command = [sys.executable, "-m", "channelscribe.stages.fetch_audio", *chosen]
            command += ["--data-root", str(self.workspace.data_root), "--profile", "bundled"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        statuses = {video_id: self.workspace.read_status(video_id, "fetch_audio") for video_id in chosen}
        failed = {video_id: "fetch_audio" for video_id, status in statuses.items() if status.state == "failed"}
        report = run_report(
            self.workspace, BUNDLED, chosen, failed, {}, started_at=started, n_channels=1, n_listed=plan.n_listed
        )
        note_availability(self.archive, report.unavailable)
        for channel, reason in report.refusals.items():
            record_failed_poll(self.archive, channel, reason, rate_limited=True)
        return report

    def said(self) -> dict[str, str]:
        """What the archive says of each item."""
        return {one.video.source_id: one.availability for one in listed_videos(self.archive, URL)}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.archive, self.archive.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def history(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT availability FROM availability_changes ORDER BY seen_at")]

    def recheck_days(self) -> list[float | None]:
        return [
            None if row[0] is None else round(float(row[0]), 2)
            for row in self.rows(
                "SELECT extract(epoch FROM recheck_at - now()) / 86400 FROM listed_videos ORDER BY video_id"
            )
        ]

    def let_days_pass(self) -> None:
        self.rows("UPDATE listed_videos SET recheck_at = now() WHERE recheck_at IS NOT NULL")

    def has_audio(self, source_id: str) -> bool:
        return self.workspace.current(f"youtube-{source_id}", "fetch_audio", BUNDLED) is not None


@pytest.fixture
def job(archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("CHANNELSCRIBE_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("CHANNELSCRIBE_YOUTUBE_VIDEOS_PER_HOUR", "3600")
    get_settings.cache_clear()
    return Job(archive, Workspace(tmp_path / "data"))


@pytest.fixture
def video(made: Any, sound: bytes) -> Callable[..., Any]:
    return lambda video_id, **more: made.MadeVideo(video_id, body=sound, **more)


def test_a_public_video_is_fetched_in_its_own_codec(job: Job, youtube: Any, video: Any, sound: bytes) -> None:
    youtube.videos = [video("public00001", title="A talk")]
    assert job.run().ok
    artifact = job.workspace.require("youtube-public00001", "fetch_audio", BUNDLED)
    assert (artifact.folder / "audio.m4a").read_bytes() == sound
    assert (job.said(), job.history(), job.recheck_days()) == ({"public00001": "public"}, [], [None])
    assert job.workspace.read_video("youtube-public00001").title == "A talk"


def test_the_date_is_that_of_the_page_not_the_guess_of_the_listing(job: Job, youtube: Any, video: Any) -> None:
    youtube.videos = [video("public00001", ago="2 years ago", published="2024-01-31T23:59:58-07:00")]
    assert job.run().ok
    guess = job.workspace.read_video("youtube-public00001").published_at
    assert abs(now() - timedelta(days=2 * 365) - guess) < timedelta(days=3)
    artifact = job.workspace.require("youtube-public00001", "fetch_audio", BUNDLED)
    assert artifact.manifest.published_at == datetime(2024, 2, 1, 6, 59, 58, tzinfo=UTC)


@pytest.mark.parametrize("player", CLOSED)
def test_a_closed_video_is_named_and_asked_for_again_slowly(
    job: Job, youtube: Any, made: Any, video: Any, player: str
) -> None:
    availability, days = CLOSED[player]
    youtube.videos = [video("closed00001", player=getattr(made, player))]
    report = job.run()
    (failed,) = report.failed
    assert failed.availability == availability and "\n" not in failed.reason
    assert job.workspace.read_status("youtube-closed00001", "fetch_audio").exit_code == 65
    assert (job.said(), job.history()) == ({"closed00001": availability}, [availability])
    assert job.recheck_days() == [days]

    # A run of the next day asks for the channel's page and nothing else.
    youtube.requests.clear()
    assert job.run().ok and youtube.requests == ["www.youtube.com/@made/videos"]


def test_a_closed_video_is_fetched_once_it_is_found_open(job: Job, youtube: Any, made: Any, video: Any) -> None:
    youtube.videos = [video("closed00001", player=made.PRIVATE)]
    assert job.run().failed
    job.let_days_pass()
    youtube.requests.clear()
    assert job.run().ok and "www.youtube.com/watch" in youtube.requests
    assert (job.history(), job.recheck_days()) == (["private"], [30])

    job.let_days_pass()
    youtube["closed00001"].player = made.PLAYS
    assert job.run().loaded == ("youtube-closed00001",)
    assert job.has_audio("closed00001")
    assert (job.said(), job.history()) == ({"closed00001": "public"}, ["private", "public"])


def test_what_the_channels_page_marks_is_not_even_tried(job: Job, youtube: Any, made: Any, video: Any) -> None:
    youtube.videos = [video("members0001", badge="BADGE_MEMBERS_ONLY", player=made.MEMBERS_ONLY)]
    assert job.run().ok
    assert youtube.requests == ["www.youtube.com/@made/videos"]
    assert (job.said(), job.history(), job.recheck_days()) == ({"members0001": "members_only"}, ["members_only"], [30])
    # Opened to all: the page says so.
    youtube["members0001"].badge, youtube["members0001"].player = None, made.PLAYS
    assert job.run().loaded == ("youtube-members0001",)
    assert job.history() == ["members_only", "public"]


@pytest.mark.parametrize(
    ("live", "player", "availability"), [("to come", "PREMIERE", "upcoming"), ("now", "PLAYS", "live")]
)
def test_what_is_listed_as_live_or_to_come_is_waited_for(
    job: Job, youtube: Any, made: Any, video: Any, live: str, player: str, availability: str
) -> None:
    youtube.videos = [video("event000001", live=live, player=getattr(made, player))]
    for _ in range(2):
        assert job.run().ok and not job.has_audio("event000001")
        assert (job.said(), job.history(), job.recheck_days()) == ({"event000001": availability}, [availability], [0])
    youtube["event000001"].live, youtube["event000001"].player = None, made.PLAYS
    assert job.run().loaded == ("youtube-event000001",)
    assert job.has_audio("event000001")
    assert (job.said(), job.history()) == ({"event000001": "public"}, [availability, "public"])


@pytest.mark.parametrize(
    ("live", "player", "availability"),
    [("to come", "PREMIERE", "upcoming"), ("to come", "EVENT_TO_COME", "upcoming"), ("now", "PLAYS", "live"),
     ("over", "PLAYS", "live")],
)  # fmt: skip
def test_what_goes_live_between_the_poll_and_the_fetch_is_waited_for(
    job: Job, youtube: Any, made: Any, video: Any, monkeypatch: pytest.MonkeyPatch, live: str, player: str,
    availability: str,
) -> None:  # fmt: skip
    youtube.videos = [video("event000001")]
    poll_into_archive(job.archive, URL, Request())
    youtube["event000001"].live, youtube["event000001"].player = live, getattr(made, player)
    with monkeypatch.context() as poll_was_before:
        poll_was_before.setitem(globals(), "poll_into_archive", lambda *_: 0)
        (failed,) = job.run().failed
    assert failed.availability == availability and "fetched when it is complete" in failed.reason
    assert (job.said(), job.history()) == ({"event000001": availability}, [availability])
    assert job.recheck_days() == [0] and not job.has_audio("event000001")
    # Over, but not complete: of such a stream the site has the last two hours alone, and its page shows a video.
    youtube["event000001"].live, youtube["event000001"].player = "over", made.PLAYS
    job.run()
    assert job.said() == {"event000001": "live"} and not job.has_audio("event000001")
    youtube["event000001"].live = None
    assert job.run().loaded == ("youtube-event000001",)
    assert job.history()[-1] == "public"


@pytest.mark.parametrize("how", ["BOT_CHECK", "TOO_MUCH", "429"])
def test_a_refused_download_lets_the_whole_channel_wait(
    job: Job, youtube: Any, made: Any, video: Any, how: str
) -> None:
    youtube.videos = [video(f"limited000{n}") for n in range(3)]
    poll_into_archive(job.archive, URL, Request())
    for one in youtube.videos:
        if how == "429":
            one.file_status = 429
        else:
            one.player = getattr(made, how)
    youtube.requests.clear()
    report = job.run()
    assert len(report.failed) == 3 and all(failed.rate_limited for failed in report.failed)
    assert sum("watch" in place for place in youtube.requests) == 1  # of three videos, one was asked for
    first, second, third = (failed.reason for failed in report.failed)
    assert "too many requests" in first
    for other in (second, third):
        assert other.startswith(f"{URL} is not asked before ") and "too many requests" in other
    assert set(job.said().values()) == {"public"} and job.history() == []
    assert get_channel(job.archive, URL).waits

    youtube.requests.clear()
    with pytest.raises(RateLimitedError, match="is not asked before"):
        job.run()
    assert choose_videos(job.archive, get_settings(), [URL], Request(), 1000).n_waiting == 3
    assert youtube.requests == []

    # The hour is over, and the site gives again.
    job.rows("UPDATE channels SET poll_not_before = now()")
    for note in job.workspace.turns.glob("refused-*"):
        note.write_text(note.read_text().replace('"until":"2', '"until":"1'))
    for one in youtube.videos:
        one.player, one.file_status = made.PLAYS, 200
    assert len(job.run().loaded) == 3
    assert not list(job.workspace.turns.glob("refused-*"))


def test_a_refused_poll_lets_the_whole_channel_wait(job: Job, youtube: Any, video: Any) -> None:
    youtube.videos = [video("limited0001")]
    poll_into_archive(job.archive, URL, Request())
    youtube.status = 429
    with pytest.raises(RateLimitedError, match="too many requests"):
        job.run()
    youtube.status = 200
    youtube.requests.clear()
    with pytest.raises(RateLimitedError, match="is not asked before"):
        job.run()
    assert choose_videos(job.archive, get_settings(), [URL], Request(), 1000).chosen == []
    assert youtube.requests == []


@pytest.mark.parametrize("body", [b"no sound at all" * 1000, b""])
def test_what_is_of_no_use_is_named_and_left_alone(
    job: Job, youtube: Any, made: Any, sound: bytes, body: bytes
) -> None:
    youtube.videos = [made.MadeVideo("useless0001", body=body)]
    (failed,) = job.run().failed
    assert failed.availability == "unusable"
    assert (job.said(), job.history(), job.recheck_days()) == ({"useless0001": "unusable"}, ["unusable"], [90])
    youtube.requests.clear()
    assert job.run().ok and youtube.requests == ["www.youtube.com/@made/videos"]
    job.let_days_pass()
    youtube["useless0001"].body = sound
    assert job.run().loaded == ("youtube-useless0001",)


@pytest.mark.parametrize("player", ["REMOVED", "PRIVATE"])
def test_what_is_loaded_and_then_taken_away_is_found_out_and_stays(
    job: Job, youtube: Any, made: Any, video: Any, player: str
) -> None:
    youtube.videos = [video("newest00001"), video("taken000001"), video("oldest00001")]
    assert len(job.run().loaded) == 3
    job.rows(
        "INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, "
        "covered_s) SELECT video_id, channel_id, '', '', '', 1, '', 'simple', 0, 0 FROM channel_items"
    )
    youtube["taken000001"].is_listed, youtube["taken000001"].player = False, getattr(made, player)
    assert job.run().ok
    availability, days = CLOSED[player]
    assert job.said()["taken000001"] == availability and job.history() == [availability]
    assert job.recheck_days() == [None, None, days]
    assert job.rows("SELECT count(*) FROM videos") == [(3,)]
    youtube.requests.clear()
    job.run()
    assert youtube.requests == ["www.youtube.com/@made/videos"]


def test_a_channel_of_many_pages_is_read_once_and_then_costs_one(job: Job, youtube: Any, made: Any) -> None:
    """A feed of 5,000 items has a test of its own; yt-dlp needs 40 s to read as many of YouTube's."""
    youtube.videos = [made.MadeVideo(f"v{number:010}", title=f"Number {number}") for number in range(400)]
    assert poll_into_archive(job.archive, URL, Request()) == 400
    assert len(youtube.requests) == 14
    youtube.requests.clear()
    assert poll_into_archive(job.archive, URL, Request()) == 0
    assert youtube.requests == ["www.youtube.com/@made/videos"]
    youtube.videos[0:0] = [made.MadeVideo("new00000001"), made.MadeVideo("new00000002")]
    youtube.requests.clear()
    assert poll_into_archive(job.archive, URL, Request()) == 2
    assert len(youtube.requests) == 2  # the page, and as much of the next as holds 30 known ones
    assert [one.video.source_id for one in listed_videos(job.archive, URL)][:3] == [
        "new00000001", "new00000002", "v0000000000",
    ]  # fmt: skip


def test_a_listing_that_breaks_off_is_not_taken_for_a_whole_one(job: Job, youtube: Any, made: Any) -> None:
    youtube.videos = [made.MadeVideo(f"v{number:010}") for number in range(100)]
    youtube.breaks_at = 60
    with pytest.raises(TryAgainError):
        poll_into_archive(job.archive, URL, Request())
    assert listed_videos(job.archive, URL) == [] and get_channel(job.archive, URL).poll_failure
    youtube.breaks_at = None
    assert poll_into_archive(job.archive, URL, Request()) == 100


def test_hostile_titles_and_ids_are_text(job: Job, youtube: Any, video: Any) -> None:
    title = "</script>\u202e<img src=x onerror=alert(1)>\x1b[31m\x00'; DROP TABLE videos; --" + "x" * 9000
    youtube.videos = [video("hostile0001", title=title), video("../../etc/pw"), video("-x --exec rm")]
    job.run()
    found = {one.video.source_id: one.video for one in listed_videos(job.archive, URL)}
    assert all("/" not in video.video_id and " " not in video.video_id for video in found.values())
    kept = found["hostile0001"].title
    assert len(kept) == 300 and kept.startswith("</script><img src=x onerror=alert(1)>")
    assert not set(kept) & set("\u202e\x1b\x00")
    assert job.has_audio("hostile0001")
    inside = job.workspace.data_root / "videos"
    assert {path.name for path in inside.iterdir()} <= {video.video_id for video in found.values()}
    assert {path.name for path in job.workspace.data_root.iterdir()} == {"videos", "turns"}


def test_a_channel_that_is_followed_by_another_name_is_not_listed_twice(
    job: Job, youtube: Any, made: Any, video: Any
) -> None:
    youtube.videos = [video(f"many{number:07}") for number in range(40)]
    by_id = f"https://www.youtube.com/channel/{made.CHANNEL_ID}/videos"
    follow(job.archive, URL, ChannelOptions())
    for attempt in range(2):
        youtube.requests.clear()
        with pytest.raises(BadInputError, match=rf"^{by_id} is followed as {URL} already: name it so"):
            poll_into_archive(job.archive, by_id, Request())
        assert youtube.requests == [f"www.youtube.com/channel/{made.CHANNEL_ID}/videos"]
        if not attempt:
            follow(job.archive, by_id, ChannelOptions())
    assert listed_videos(job.archive, by_id) == [] and "followed as" in (
        get_channel(job.archive, by_id).poll_failure or ""
    )
    # The one that was there is polled; and the other, once this one is followed no more.
    assert poll_into_archive(job.archive, URL, Request()) == 40
    unfollow(job.archive, URL)
    assert poll_into_archive(job.archive, by_id, Request()) == 40


def test_a_channel_is_known_by_its_id_whatever_it_is_called(job: Job, youtube: Any, video: Any) -> None:
    """The site tells its id and handle, never its older names."""
    youtube.videos = [video("one00000001")]
    by_name = "https://www.youtube.com/c/Made/videos"
    for url in (by_name, URL):
        follow(job.archive, url, ChannelOptions())
    assert poll_into_archive(job.archive, by_name, Request()) == 1
    with pytest.raises(BadInputError, match=rf"^{URL} is followed as {by_name} already"):
        poll_into_archive(job.archive, URL, Request())
    assert poll_into_archive(job.archive, by_name, Request()) == 0
    unfollow(job.archive, by_name)
    assert poll_into_archive(job.archive, URL, Request()) == 1

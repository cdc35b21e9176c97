"""What is wrong after a run: told once, and again only after it was over."""

from types import SimpleNamespace

import pytest

from channelscribe.alerts.conditions import full_disks, growing_backlog, grows, raise_disk_alert, raise_run_alerts
from channelscribe.channels.polling import Listing
from channelscribe.settings import Settings
from channelscribe.store.channels import record_failed_poll, unfollow
from channelscribe.store.listed import record_listing
from channelscribe.store.queries import record_ingest_run
from channelscribe.store.runs.alerts import recent_alerts
from channelscribe.telemetry.report import FailedVideo, RunReport

FEED, OTHER = "https://example.org/feed", "https://example.org/other"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(
        home=tmp_path / "home", data_root=tmp_path, min_free_gib=0, alert_targets=("hook",), alert_silent_days=10
    )


@pytest.fixture
def run(archive, settings):
    """Raise the alerts of a run; returns the new ones by kind and subject."""
    numbers = iter(range(100))

    def raise_all(loaded=(), failed=(), failed_channels=None):
        report = RunReport(
            n_channels=1, n_listed=1, n_waiting=0, n_unavailable=0, loaded=tuple(loaded), without_speech=(),
            failed=tuple(FailedVideo(video, f"About {video}", "diarize", "Too loud.") for video in failed),
            failed_channels=failed_channels or {},
        )  # fmt: skip
        n_new = raise_run_alerts(archive, settings, f"run{next(numbers)}", report, "http://ui")
        return [(one.alert.kind, one.alert.subject) for one in recent_alerts(archive, n_new)] if n_new else []

    return raise_all


def test_a_good_run_raises_nothing(run) -> None:
    assert run(loaded=["v1"]) == []


def test_a_video_that_goes_on_failing_is_told_once(run, archive) -> None:
    assert run(failed=["v1", "v2"]) == [("video_failed", "v2"), ("video_failed", "v1")]
    (one, _) = recent_alerts(archive, 2)
    assert (one.alert.title, one.alert.lines, one.alert.run_id) == (
        "About v2 failed", ("diarize: Too loud.",), "run0",
    )  # fmt: skip
    assert run(failed=["v1"]) == []
    assert run(loaded=["v1"], failed=["v2"]) == []
    assert run(failed=["v1", "v2"]) == [("video_failed", "v1")]


@pytest.fixture
def add_channel(archive):
    def add(url, *, followed=True, paused=False, failure=None, dates=(), listed=()):
        with archive, archive.cursor() as cursor:
            cursor.execute(
                "INSERT INTO channels (url, title, followed, paused, poll_failure) VALUES (%s, 'A show', %s, %s, %s) "
                "RETURNING channel_id",
                (url, followed, paused, failure),
            )
            channel_id = cursor.fetchone()[0]
            items = [(days, True) for days in dates] + [(days, False) for days in listed]
            for place, (days, dated) in enumerate(items):
                video_id = f"{url}-{place}"
                cursor.execute(
                    "INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability, listed_at, "
                    "published_at) VALUES (%(v)s, 'x', 'x', 'X', 'video', 'public', "
                    "now() - make_interval(days => CASE WHEN %(dated)s THEN 0 ELSE %(days)s END), "
                    "CASE WHEN %(dated)s THEN now() - make_interval(days => %(days)s) END)",
                    {"v": video_id, "days": days, "dated": dated},
                )
                cursor.execute("INSERT INTO channel_items VALUES (%s, %s, %s)", (channel_id, video_id, place))

    return add


@pytest.fixture
def poll(archive):
    """A poll of the feed: it goes well, or fails for a reason."""

    def poll_once(failure=None):
        if failure:
            record_failed_poll(archive, FEED, failure, rate_limited=False)
        else:
            record_listing(archive, FEED, Listing([], False, 1))

    return poll_once


def test_a_channel_that_goes_on_failing_is_told_once(run, poll, archive, add_channel) -> None:
    add_channel(FEED)
    poll()
    assert run(failed_channels={FEED: "It is gone."}) == [("poll_failed", FEED)]
    assert run(failed_channels={FEED: "It is gone."}) == []
    # A run that did not poll it says nothing about it: one over another channel, or a backfill.
    assert run() == []
    assert run(failed_channels={FEED: "It is gone."}) == []
    poll()
    assert run() == []
    assert run(failed_channels={FEED: "It is gone."}) == [("poll_failed", FEED)]
    # What nobody follows any more is over.
    unfollow(archive, FEED)
    assert run() == []
    assert all(one.ended_at for one in recent_alerts(archive, 10))


def test_a_failed_poll_of_a_silent_channel_does_not_end_its_silence(run, poll, archive, add_channel) -> None:
    add_channel(FEED, dates=[40])
    assert run() == [("channel_silent", FEED)]
    poll("The network is down.")
    assert run(failed_channels={FEED: "The network is down."}) == [("poll_failed", FEED)]
    poll()
    assert run() == []
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE channels SET paused = true, poll_failure = 'It is gone.'")
    assert run() == []
    assert all(one.ended_at for one in recent_alerts(archive, 10))


def test_a_channel_without_anything_new_is_told_once_until_something_comes(run, archive, add_channel) -> None:
    add_channel(FEED, dates=[40, 11])
    assert run() == [("channel_silent", FEED)]
    assert run() == []
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE listed_videos SET published_at = now() WHERE video_id = %s", (f"{FEED}-0",))
    assert run() == []
    (one,) = recent_alerts(archive, 1)
    assert one.ended_at is not None


@pytest.mark.parametrize(
    "channel",
    [
        {"dates": [9]},
        {"listed": [40, 9]},
        {"dates": [40], "listed": [9]},
        {"dates": [40], "followed": False},
        {"dates": [40], "paused": True},
        # It may have something new: nobody knows.
        {"dates": [40], "failure": "It is gone."},
        {},
    ],
)
def test_other_channels_are_not_silent(run, add_channel, channel) -> None:
    add_channel(FEED, **channel)
    assert run() == []


def test_of_items_without_dates_the_polls_tell(run, add_channel) -> None:
    add_channel(FEED, listed=[40, 11])
    assert run() == [("channel_silent", FEED)]


def test_a_premiere_to_come_is_nothing_new_yet(run, add_channel) -> None:
    add_channel(FEED, dates=[40, -3])
    assert run() == [("channel_silent", FEED)]


def test_the_disk_is_told_of_before_downloads_stop(archive, settings, monkeypatch) -> None:
    for free_gib, expected in ((6.9, 1), (6.5, 0), (7.1, 0), (1.0, 1)):
        usage = SimpleNamespace(free=free_gib * 2**30)
        monkeypatch.setattr("channelscribe.alerts.conditions.shutil.disk_usage", lambda _, usage=usage: usage)
        changed = settings.model_copy(update={"min_free_gib": 2.0})
        assert raise_disk_alert(archive, changed) == expected, free_gib
    assert "1.0 GiB are left" in recent_alerts(archive, 1)[0].alert.title


def test_the_real_disk_has_room_or_not(settings) -> None:
    assert full_disks(settings.model_copy(update={"min_free_gib": 1e9}), "") != []
    assert full_disks(settings.model_copy(update={"data_root": settings.data_dir / "nowhere"}), "") == []


def test_the_disk_of_the_embedded_postgres_is_told_of_if_it_is_another(archive, settings, monkeypatch) -> None:
    settings.postgres_dir.mkdir(parents=True)
    usage = SimpleNamespace(free=4.9 * 2**30)
    monkeypatch.setattr("channelscribe.alerts.conditions.shutil.disk_usage", lambda _: usage)
    assert raise_disk_alert(archive, settings) == 1
    devices = {settings.postgres_dir: 1, settings.data_dir: 2}
    monkeypatch.setattr("channelscribe.alerts.conditions._device", devices.__getitem__)
    assert raise_disk_alert(archive, settings) == 1
    (alert,) = (one.alert for one in recent_alerts(archive, 1))
    assert alert.subject == str(settings.postgres_dir)
    assert alert.lines[0].endswith(
        "and the embedded Postgres is there. Free some space, or set CHANNELSCRIBE_HOME to a larger disk."
    )
    # What downloads must leave is asked of the data root alone.
    usage.free = 5.1 * 2**30
    (low,) = full_disks(settings.model_copy(update={"min_free_gib": 2.0}), "")
    assert low.subject == str(settings.data_dir)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ([], False),
        ([0, 1, 2], False),
        ([0, 1, 2, 3], True),
        ([0, 1, 1, 3], False),
        ([9, 1, 2, 3, 4], True),
        ([1, 2, 3, 4, 0], False),
    ],
)
def test_a_backlog_grows_over_several_runs(waiting, expected) -> None:
    assert grows(waiting) is expected


def test_only_runs_over_all_that_is_followed_count(archive) -> None:
    def record(number: int, waiting: int, channels: list[str]) -> None:
        counts = {"waiting": waiting + 100 * number, "held": 100 * number}  # what a site holds back is no backlog
        record_ingest_run(archive, f"r{number}", "running", params={"channels": channels})
        record_ingest_run(archive, f"r{number}", "success", counts=counts)

    for number, waiting in enumerate((3, 5, 8)):
        record(number, waiting, [])
        record(number + 10, 1000, [FEED])
    assert growing_backlog(archive, "r2", "") == []
    record(3, 12, [])
    (alert,) = growing_backlog(archive, "r3", "http://ui")
    assert alert.title == "The GPU falls behind: 12 videos wait"
    assert "3, 5, 8, 12 were left over" in alert.lines[0]

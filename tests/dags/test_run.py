"""Whole runs of the DAG in this process: Airflow's own mapping, skips, trigger rules and XComs.

The stages' interpreter, the listing and the loader are stand-ins here: what they do has tests of its own.
"""

from contextlib import closing

import pytest

from channelscribe.contracts import Status
from channelscribe.errors import BadInputError, TryAgainError
from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.runs.reports import full_report, list_runs
from channelscribe.workspace import Workspace, now

pytestmark = pytest.mark.airflow

FEED, OTHER = "https://example.org/feed.xml", "https://example.org/other.xml"


class Archive:
    """What was loaded, in order, and what was kept of the runs."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.loaded = []
        self.refuses = {}

    def last_run(self):
        with closing(connect(self.dsn)) as connection:
            (run,) = list_runs(connection, 1)
            return run, full_report(connection, run)

    def load_video(self, connection, workspace, video_id, profile, ingest_run_id=None):
        if video_id in self.refuses:
            raise self.refuses[video_id]
        self.loaded.append(video_id)


@pytest.fixture
def archive(monkeypatch, archive_dsn):
    result = Archive(archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setattr("channelscribe.store.ingest_plan.loaded_video_ids", lambda connection: set(result.loaded))
    monkeypatch.setattr("channelscribe.store.loader.load_video", result.load_video)
    return result


@pytest.fixture
def workspace_of_one(tmp_path):
    """Makes a workspace with one video, v, whose stages stand as they are given."""

    def make(states):
        workspace = Workspace(tmp_path)
        for stage, state in states.items():
            workspace.write_status(
                Status(video_id="v", stage=stage, state=state, exit_code=0, reason="Because.", at=now())
            )
        return workspace

    return make


@pytest.fixture
def run(run_dag, stage_programs, channels, archive):
    """Run the DAG; returns how it ended."""

    def run_ingest(codes=None, **conf):
        return run_dag("channel_ingest", codes, **conf)

    return run_ingest


def test_what_fails_fails_alone_and_is_named(run, channels, archive):
    channels.listings = {
        FEED: BadInputError("There is no feed here."),
        OTHER: ["good", "bad", "odd", "mute"],
    }
    archive.refuses = {"odd": BadInputError("Its chunks do not match.")}
    silent = [99, "Nobody speaks."]
    ended = run(
        {
            "bad": {"diarize": [65, "It has no sound track."]},
            "mute": {"identify_speakers": silent, "embed_text": silent},
        },
        channels=[FEED, OTHER],
    )
    assert ended.state == "failed"
    assert (ended.tasks["poll_channels", 0], ended.tasks["poll_channels", 1]) == ("failed", "success")
    assert ended.of_video(0) == ["success"] * 6
    assert ended.of_video(1) == ["success", "failed"] + ["skipped"] * 4
    assert ended.of_video(2) == ["success"] * 5 + ["failed"]
    assert ended.of_video(3) == ["success", "success", "success", "skipped", "skipped", "success"]
    assert sorted(archive.loaded) == ["good", "mute"]

    assert "About bad (diarize: It has no sound track); About odd (load: Its chunks do not match)" in ended.log
    assert f"1 channel failed: {FEED} (There is no feed here)" in ended.log
    recorded, report = archive.last_run()
    assert (recorded.state, recorded.dag_id, recorded.profile) == ("failed", "channel_ingest", "bundled")
    counts = recorded.counts
    assert (counts["listed"], counts["selected"], counts["loaded"], counts["failed"]) == (4, 4, 2, 2)
    assert report.failed_channels == {FEED: "There is no feed here."}
    videos = {video.video_id: (video.map_index, set(video.seconds)) for video in report.videos}
    assert videos["good"] == (0, {"loading", "waiting"}) and videos["bad"] == (1, {"waiting"})
    assert [(time.stage, time.n_videos) for time in report.stage_times] == [("load", 2)]
    assert 0 < report.videos[0].seconds["waiting"] < report.elapsed_s
    status = Workspace(get_settings().data_dir).read_status("odd", "load")
    assert (status.state, status.exit_code, status.reason) == ("failed", 65, "Its chunks do not match.")

    assert ended.labels["poll_channels", 0] == FEED
    for stage in (*STAGES, "load"):
        assert ended.labels[f"ingest_video.{stage}", 0] == "About good"


def test_of_a_batch_the_bad_video_fails_alone_and_the_rest_goes_on(run, channels, archive, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_BATCH_MINUTES", "1000")
    channels.listings = {FEED: ["good", "bad", "odd"]}
    archive.refuses = {"odd": BadInputError("Its chunks do not match.")}
    ended = run({"bad": {"diarize": [65, "It has no sound track."]}}, channels=[FEED])
    assert ended.state == "failed"
    assert ended.of_video(0) == ["success", "failed", "success", "success", "success", "failed"]
    assert ended.tasks.get(("diarize", 1)) is None
    assert archive.loaded == ["good"]
    assert "About bad (diarize: It has no sound track); About odd (load: Its chunks do not match)" in ended.log
    assert "1 of 3 videos failed. About bad: It has no sound track." in ended.log
    assert ended.labels["ingest_video.diarize", 0] == "3 videos: About good; About bad; About odd"
    workspace = Workspace(get_settings().data_dir)
    assert workspace.read_status("bad", "transcribe") is None
    assert workspace.read_status("odd", "transcribe").state == "done"


def test_a_red_stage_that_was_marked_green_does_not_make_a_video_loaded(workspace_of_one):
    from channelscribe_airflow.ingest_report import failed_stages

    workspace = workspace_of_one({"fetch_audio": "done", "diarize": "failed"})
    states = {(f"ingest_video.{stage}", 0): "success" for stage in ("fetch_audio", "diarize")}
    states |= {(f"ingest_video.{stage}", 0): "skipped" for stage in ("transcribe", "load")}
    assert failed_stages(states, [["v"]], workspace) == {"v": "diarize"}


def test_a_load_of_an_earlier_run_is_not_taken_for_this_ones(workspace_of_one):
    from channelscribe_airflow.ingest_report import failed_stages

    workspace = workspace_of_one(dict.fromkeys((*STAGES, "load"), "done"))
    assert failed_stages({("ingest_video.load", 0): "success"}, [["v"]], workspace) == {}
    assert failed_stages({("ingest_video.load", 0): "skipped"}, [["v"]], workspace) == {"v": "load"}


def test_no_new_video_is_green_and_says_so_and_force_does_it_again(run, channels, archive):
    channels.listings = {FEED: ["a1"]}
    archive.loaded = ["a1"]
    ended = run()
    assert ended.state == "success"
    assert ended.of_video(-1) == ["skipped"] * 6
    assert "No new video: the archive has what was asked for (1 listed)." in ended.log
    assert archive.loaded == ["a1"]

    assert run(force=True).state == "success"
    assert archive.loaded == ["a1", "a1"]


def test_no_channel_says_how_to_set_one(run, channels, archive, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "")
    ended = run(channels=[])
    assert ended.state == "success"
    assert "upstream_failed" not in ended.tasks.values()
    assert "No channel to poll: add one by `channelscribe channels add`" in ended.log


def test_followed_channels_are_polled_and_what_is_over_the_limit_waits(
    run, channels, archive, archive_dsn, monkeypatch
):
    from channelscribe.channels.options import ChannelOptions
    from channelscribe.store.channels import follow, set_paused
    from channelscribe.store.connection import connect

    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "")
    with closing(connect(archive_dsn)) as connection:
        follow(connection, FEED, ChannelOptions(limit=2, newest_first=False, title="a[1-3]"))
        follow(connection, OTHER, ChannelOptions())
        set_paused(connection, OTHER, paused=True)
    channels.listings = {FEED: ["b9", "a3", "a2", "a1"]}
    ended = run()
    assert ended.state == "success"
    assert sorted(archive.loaded) == ["a1", "a2"]
    assert "2 videos loaded, 1 more wait for the next run" in ended.log
    assert run().state == "success"
    assert sorted(archive.loaded) == ["a1", "a2", "a3"]


def test_a_video_that_is_gone_is_noted_and_not_asked_for_again(run, channels, archive, archive_dsn):
    from channelscribe.store.connection import connect
    from channelscribe.store.listed import listed_videos

    channels.listings = {FEED: ["a1", "a2"]}
    ended = run({"a1": {"fetch_audio": [65, "It is private.", "private"]}})
    assert ended.state == "failed" and archive.loaded == ["a2"]
    with closing(connect(archive_dsn)) as connection:
        listed = {one.video.video_id: (one.availability, one.reason) for one in listed_videos(connection, FEED)}
    assert listed == {"a1": ("private", "It is private."), "a2": ("public", None)}
    ended = run()
    assert ended.state == "success" and archive.loaded == ["a2"]
    assert "No new video" in ended.log


def test_a_channel_whose_site_refused_a_download_waits(run, channels, archive, archive_dsn):
    from channelscribe.store.channels import get_channel
    from channelscribe.store.connection import connect

    channels.listings = {FEED: ["a1", "a2"], OTHER: ["b1"]}
    refused = {video_id: {"fetch_audio": [75, "Too many requests.", "rate_limited"]} for video_id in ("a1", "a2")}
    assert run(refused, channels=[FEED, OTHER]).state == "failed"
    assert archive.loaded == ["b1"]
    with closing(connect(archive_dsn)) as connection:
        waiting, other = get_channel(connection, FEED), get_channel(connection, OTHER)
    assert (waiting.waits, waiting.poll_failure) == (True, "Too many requests.")
    assert (other.waits, other.poll_failure) == (False, None)
    ended = run(channels=[FEED, OTHER])
    assert archive.loaded == ["b1"]
    assert f"1 channel failed: {FEED} ({FEED} is not asked before" in ended.log


def test_no_channel_can_be_polled(run, channels, archive):
    channels.listings = {FEED: TryAgainError("The network is down.")}
    ended = run()
    assert ended.state == "failed"
    assert ended.of_video(-1) == ["skipped"] * 6
    assert f"1 channel failed: {FEED} (The network is down)" in ended.log


def test_a_refused_configuration_touches_nothing(run, channels, archive):
    channels.listings = {FEED: ["a1"]}
    ended = run(chanels=[OTHER])
    assert ended.state == "failed"
    assert "choose_channels failed: There is no param 'chanels': did you mean 'channels'?" in ended.log
    assert not list(get_settings().data_dir.glob("videos/*"))
    recorded, report = archive.last_run()
    assert (recorded.state, report) == ("failed", None)
    assert recorded.summary.startswith("choose_channels failed: There is no param 'chanels'")

"""Whole runs of the DAG in this process: Airflow's own mapping, skips, trigger rules and XComs.

The stages' interpreter, the listing and the archive are stand-ins here: what they do has tests of its own.
"""

import json
import sys
from pathlib import Path

import pytest

from channelscribe.contracts import Status, Video
from channelscribe.errors import BadInputError, TryAgainError
from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now

pytestmark = pytest.mark.airflow

FEED, OTHER = "https://example.org/feed.xml", "https://example.org/other.xml"
PROGRAM = Path(__file__).with_name("stage_program.py")


class Channels:
    """The channels that the runs poll, and what they list."""

    def __init__(self):
        self.listings = {}

    def list_channel(self, channel, since=None):
        listing = self.listings[channel]
        if isinstance(listing, Exception):
            raise listing
        return [
            Video(
                video_id=video_id,
                source_id=video_id,
                url=f"http://127.0.0.1/{video_id}",
                title=f"About {video_id}",
                channel_url=channel,
                channel_title="X",
            )
            for video_id in listing
        ]


@pytest.fixture
def channels(monkeypatch):
    result = Channels()
    monkeypatch.setattr("channelscribe.channels.listing.list_channel", result.list_channel)
    return result


class Archive:
    """What was loaded, in order, and what was noted of the runs."""

    def __init__(self):
        self.loaded = []
        self.refuses = {}
        self.notes = []

    def record(self, connection, run_id, state, params=None, counts=None):
        self.notes.append((run_id, state, counts))

    def load_video(self, connection, workspace, video_id, profile, ingest_run_id=None):
        if video_id in self.refuses:
            raise self.refuses[video_id]
        self.loaded.append(video_id)


@pytest.fixture
def archive(monkeypatch):
    result = Archive()
    connection = type("Connection", (), {"close": lambda self: None})
    monkeypatch.setattr("channelscribe.store.connection.archive_dsn", lambda settings: "")
    monkeypatch.setattr("channelscribe.store.connection.connect", lambda dsn: connection())
    monkeypatch.setattr("channelscribe.store.queries.loaded_video_ids", lambda connection: set(result.loaded))
    monkeypatch.setattr("channelscribe.store.queries.record_ingest_run", result.record)
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


class Ended:
    """How a run ended."""

    def __init__(self, dag_run, log):
        self.state = dag_run.state
        self.log = log
        tasks = dag_run.get_task_instances()
        self.tasks = {(task.task_id.removeprefix("ingest_video."), task.map_index): task.state for task in tasks}
        self.labels = {(task.task_id, task.map_index): task.rendered_map_index for task in tasks}

    def of_video(self, index):
        return [self.tasks.get((stage, index)) for stage in (*STAGES, "load")]


@pytest.fixture
def run(airflow_database, channels, archive, load_dags, tmp_path, monkeypatch, capsys, caplog):
    """Run the DAG; returns the run's state, the states of its tasks and the summary of its report."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {PROGRAM} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(interpreter))
    monkeypatch.setattr("channelscribe_airflow.process_operator._STAGES_OF_AIRFLOWS_ENVIRONMENT", ())

    def run_dag(codes=None, **conf):
        dag = load_dags().dags["channel_ingest"]
        get_settings().data_dir.mkdir(parents=True, exist_ok=True)
        (get_settings().data_dir / "codes.json").write_text(json.dumps(codes or {}))
        for task in dag.tasks:
            task.retries = 0
        dag_run = dag.test(run_conf=conf)
        return Ended(dag_run, caplog.text + capsys.readouterr().out)

    return run_dag


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
    (_, first, _), (_, last, counts) = archive.notes
    assert (first, last) == ("running", "failed")
    assert (counts["listed"], counts["selected"], counts["loaded"], counts["failed"]) == (4, 4, 2, 2)
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


def test_no_channel_says_how_to_set_one(run, channels, archive):
    ended = run(channels=[])
    assert ended.state == "success"
    assert "upstream_failed" not in ended.tasks.values()
    assert "No channel to poll: set CHANNELSCRIBE_CHANNELS" in ended.log


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
    assert archive.notes == []

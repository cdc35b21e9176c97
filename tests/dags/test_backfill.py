"""Whole runs of the DAG over a real archive: what is left to do is what the archive does not have.

The stages' interpreter and the listing are stand-ins, and loading writes no more than the video's row.
"""

from contextlib import closing

import pytest
from airflow.sdk.exceptions import ParamValidationError

from channelscribe.channels.options import ChannelOptions
from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings

pytestmark = pytest.mark.airflow

FEED, OTHER = "https://example.org/feed.xml", "https://example.org/other.xml"


class Archive:
    """A real archive, and the ids of the videos that were loaded into it, in order."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.loaded = []

    def load_video(self, connection, workspace, video_id, profile, ingest_run_id=None):
        video = workspace.read_video(video_id)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO videos "
                "(video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, covered_s) "
                "SELECT %s, channel_id, 's', 'http://x', 't', 60, 'mp3', 'english', 0, 0 FROM channels WHERE url = %s",
                (video_id, video.channel_url),
            )
        self.loaded.append(video_id)

    def rows(self, statement, *parameters):
        from channelscribe.store.connection import connect

        with closing(connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def follow(self, url, **options):
        from channelscribe.store.channels import follow
        from channelscribe.store.connection import connect

        with closing(connect(self.dsn)) as connection:
            follow(connection, url, ChannelOptions(**options))


@pytest.fixture
def archive(monkeypatch, archive_dsn):
    result = Archive(archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "")
    monkeypatch.setattr("channelscribe.store.loader.load_video", result.load_video)
    return result


@pytest.fixture
def run(run_dag, stage_programs, channels, archive):
    return lambda codes=None, **conf: run_dag("backfill", codes, **conf)


def test_day_by_day_the_oldest_are_taken_until_nothing_remains(run, channels, archive):
    archive.follow(FEED, backfill=2)
    archive.follow(OTHER)
    channels.listings = {FEED: ["a5", "a4", "a3", "a2", "a1"]}
    ended = run()
    assert ended.state == "success"
    assert sorted(archive.loaded) == ["a1", "a2"]
    assert f"{FEED}: 2 taken, 3 remain: about 2 more days." in ended.log
    assert "2 videos loaded, 3 more wait for the next run" in ended.log
    # New items are the daily run's: the channel is not asked again.
    channels.listings = {}
    assert f"{FEED}: 2 taken, 1 remain: about 1 more day." in run().log
    assert f"{FEED}: 1 taken, the last ones." in run().log
    assert [sorted(archive.loaded[n : n + 2]) for n in (0, 2, 4)] == [["a1", "a2"], ["a3", "a4"], ["a5"]]
    ended = run()
    assert ended.state == "success" and ended.of_video(-1) == ["skipped"] * 6
    assert (
        f"{FEED}: nothing remains, the archive has all that can be had of it: its option `backfill` can go."
        in ended.log
    )
    assert archive.rows("SELECT count(*), bool_and(run_id LIKE 'backfill/%%') FROM ingest_runs") == [(4, True)]


def test_what_failed_for_want_of_luck_is_taken_again_and_what_is_gone_is_not(run, channels, archive):
    archive.follow(FEED, backfill=2)
    channels.listings = {FEED: ["a3", "a2", "a1"]}
    ended = run({"a1": {"fetch_audio": [75, "The network is down."]}, "a2": {"fetch_audio": [65, "Gone.", "removed"]}})
    assert ended.state == "failed" and archive.loaded == []
    assert "About a1 (fetch_audio: The network is down)" in ended.log
    assert run().state == "success"
    assert sorted(archive.loaded) == ["a1", "a3"]
    assert "nothing remains" in run().log


def test_a_channel_that_nobody_follows_is_listed_to_its_end_and_the_limit_is_the_runs(run, channels, archive):
    channels.listings = {FEED: ["a3", "a2", "a1"]}
    ended = run(channels=[FEED], limit=1)
    assert ended.state == "success" and archive.loaded == ["a1"]
    assert f"{FEED}: 1 taken, 2 remain: about 2 more days." in ended.log
    run(channels=[FEED])
    assert sorted(archive.loaded) == ["a1", "a2", "a3"]


def test_the_channels_other_options_hold(run, channels, archive):
    archive.follow(FEED, backfill=5, title="a[12]")
    channels.listings = {FEED: ["b1", "a3", "a2", "a1"]}
    assert run().state == "success"
    assert sorted(archive.loaded) == ["a1", "a2"]


def test_without_a_channel_it_is_green_and_says_how_to_ask_for_one(run, channels, archive):
    archive.follow(FEED, limit=3)
    ended = run()
    assert ended.state == "success" and "upstream_failed" not in ended.tasks.values()
    assert "No channel asks for a backfill: `channelscribe channels add CHANNEL --backfill 5` does" in ended.log
    assert "No channel to poll" not in ended.log


def test_a_paused_channel_is_left_out(run, channels, archive):
    archive.follow(FEED, backfill=3)
    archive.rows("UPDATE channels SET paused = true")
    assert "No channel asks for a backfill" in run().log


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"channels": ["http://"]}, "the URL names no host"),
        ({"chanels": [FEED]}, "There is no param 'chanels': did you mean 'channels'?"),
    ],
)
def test_a_refused_configuration_touches_nothing(run, channels, archive, conf, reason):
    ended = run(**conf)
    assert ended.state == "failed"
    assert "choose_channels failed: " in ended.log and reason in ended.log
    assert archive.rows("SELECT count(*) FROM claims") == [(0,)]
    assert archive.rows("SELECT state FROM ingest_runs") == [("failed",)]
    assert not list(get_settings().data_dir.glob("videos/*"))


def test_a_channel_that_is_not_there_is_named(run, channels, archive):
    from channelscribe.errors import BadInputError

    channels.listings = {FEED: BadInputError("There is no feed here.")}
    ended = run(channels=[FEED])
    assert ended.state == "failed"
    assert f"1 channel failed: {FEED} (There is no feed here)" in ended.log
    assert f"{FEED}: 0 taken, 0 remain of what is listed, which was not to its end yet." in ended.log


@pytest.fixture
def run_at_work(airflow_database):
    """A run of another DAG that Airflow has at work, and that ends with the test."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType
    from sqlalchemy import delete

    def start(dag_id, run_id="r"):
        with create_session() as session:
            session.add(DagRun(dag_id=dag_id, run_id=run_id, run_type=DagRunType.MANUAL, state="running"))

    yield start
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.run_id == "r"))


def test_what_the_daily_run_is_at_work_on_is_left_to_it(run, channels, archive, run_at_work):
    archive.follow(FEED, backfill=2)
    channels.listings = {FEED: ["a4", "a3", "a2", "a1"]}
    run_at_work("channel_ingest")
    archive.rows("INSERT INTO claims VALUES ('a1', 'channel_ingest', 'r'), ('a2', 'channel_ingest', 'long over')")
    assert run().state == "success"
    assert sorted(archive.loaded) == ["a2", "a3"]
    claims = dict(archive.rows("SELECT video_id, dag_id FROM claims"))
    assert claims == {"a1": "channel_ingest", "a2": "backfill", "a3": "backfill"}


def test_the_daily_run_leaves_out_what_is_being_backfilled(run_dag, run, channels, archive, run_at_work):
    archive.follow(FEED, limit=2)
    channels.listings = {FEED: ["a3", "a2", "a1"]}
    run_at_work("backfill")
    archive.rows("INSERT INTO claims VALUES ('a2', 'backfill', 'r')")
    ended = run_dag("channel_ingest")
    assert ended.state == "success"
    assert sorted(archive.loaded) == ["a1", "a3"]


def test_it_is_paused_at_first_and_daily(load_dags):
    dag = load_dags().dags["backfill"]
    assert dag.is_paused_upon_creation and not dag.catchup and dag.max_active_runs == 1
    assert dag.timetable.expression == "0 16 * * *"


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 1001}, {"channels": "@a"}, {"channels": [""]}])
def test_bad_values_are_refused(load_dags, params):
    dag = load_dags().dags["backfill"]
    dag.params.validate()
    with pytest.raises(ParamValidationError):
        dag.params.update(params)
        dag.params.validate()


def test_no_stage_is_forced(load_dags):
    dag = load_dags().dags["backfill"]
    for stage in STAGES:
        task = dag.get_task(f"ingest_video.{stage}")
        assert (task.profile, task.force) == ("bundled", False)

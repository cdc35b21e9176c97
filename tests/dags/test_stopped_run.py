"""The maintenance writes the report of a run that was stopped, asked of Airflow as its tasks ask."""

import shutil
from contextlib import closing
from types import SimpleNamespace

import pytest

from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.queries import record_ingest_run
from channelscribe.store.runs.alerts import recent_alerts
from channelscribe.store.runs.reports import full_report, list_runs
from channelscribe.workspace import Workspace
from channelscribe_airflow.stopped_runs import report_stopped_runs

pytestmark = pytest.mark.airflow

FEED = "https://example.org/feed.xml"


@pytest.fixture
def archive(monkeypatch, archive_dsn):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setattr("channelscribe.store.loader.load_video", lambda *_: None)
    with closing(connect(archive_dsn)) as connection:
        yield connection


@pytest.fixture
def stopped(run_dag, stage_programs, channels, archive):
    """A run as it stands after it was marked as failed: one video is loaded, one was refused, one is half done."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    channels.listings = {FEED: ["good", "refused", "late"]}
    run_dag("channel_ingest", {"refused": {"diarize": [65, "It is not for us.", "geo_restricted"]}}, channels=[FEED])
    (run,) = list_runs(archive, 2)
    with create_session() as session:
        of_run = session.query(TaskInstance).filter_by(run_id=run.airflow_id)
        of_run.filter_by(task_id="report_run").update({"state": "skipped"})
        of_run.filter_by(task_id="ingest_video.load", map_index=2).update({"state": "skipped"})
    for stage in ("embed_text", "load"):
        shutil.rmtree(Workspace(get_settings().data_dir).video_dir("late") / stage)
    with archive, archive.cursor() as cursor:
        cursor.execute("DELETE FROM run_videos; DELETE FROM alerts")
        cursor.execute("UPDATE ingest_runs SET state = 'running', profile = NULL, summary = NULL, finished_at = NULL")
    return run.run_id


def test_a_run_that_was_stopped_gets_its_report(stopped, run_dag, archive):
    ended = run_dag("maintenance")
    assert ended.tasks["report_stopped_runs", -1] == "success"
    (run,) = list_runs(archive, 2)
    assert (run.run_id, run.state, run.elapsed_s) == (stopped, "failed", None) and run.finished_at is not None
    report = full_report(archive, run)
    assert report.loaded == ("good",)
    assert {video.video_id: (video.stage, video.reason) for video in report.failed} == {
        "refused": ("diarize", "It is not for us."),
        "late": ("embed_text", "It was stopped before its end."),
    }
    # What somebody stopped is no news to them.
    told = [one.alert.subject for one in recent_alerts(archive, 10) if one.alert.kind == "video_failed"]
    assert told.count("late") == 0 and "refused" in told


def airflow(n_at_work):
    """An Airflow that knows nothing of a run but whether it is at work."""
    return SimpleNamespace(
        get_dr_count=lambda **_: n_at_work, get_task_breadcrumbs=lambda **_: [], xcom_pull=lambda **_: None
    )


def test_a_run_that_is_at_work_is_left_alone_and_one_that_was_deleted_is_over(archive):
    record_ingest_run(archive, "channel_ingest/manual__1", "running")
    assert report_stopped_runs(airflow(1)) == 0
    assert list_runs(archive, 1)[0].state == "running"
    assert report_stopped_runs(airflow(0)) == 1
    (run,) = list_runs(archive, 1)
    assert (run.state, run.summary, run.profile) == ("failed", "It was stopped before its end.", None)
    assert report_stopped_runs(airflow(0)) == 0


def test_one_that_ended_just_now_keeps_its_own_report(archive):
    record_ingest_run(archive, "channel_ingest/manual__1", "running")

    def ends(**_):
        record_ingest_run(archive, "channel_ingest/manual__1", "success")
        return 0

    assert report_stopped_runs(SimpleNamespace(get_dr_count=ends)) == 0
    assert list_runs(archive, 1)[0].state == "success"

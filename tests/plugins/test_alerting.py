"""What the DAGs record and tell around a run, over a real archive and to a real target."""

import json
from contextlib import closing
from types import SimpleNamespace

import pytest

from channelscribe.alerts.alert import Alert
from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.runs.alerts import raise_alerts, recent_alerts
from channelscribe_airflow import alerting

pytestmark = pytest.mark.airflow


@pytest.fixture
def told(archive_dsn, workspace, webhook, monkeypatch):
    """Settings by which the webhook is told, whatever the hour."""
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_TARGETS", "hook")
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_QUIET_HOURS", "")
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "generic", "password": webhook.url}))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://ui.example.org/")
    get_settings.cache_clear()
    return webhook


def recorded(archive_dsn: str):
    with closing(connect(archive_dsn)) as connection:
        return recent_alerts(connection, 10)


def test_failures_of_two_dags_runs_with_one_id_are_told_each(told, archive_dsn) -> None:
    for dag_id in ("channel_ingest", "backfill"):
        alerting.record_failed_run(SimpleNamespace(dag_id=dag_id, run_id="scheduled__1"), "There is no image.")
        alerting.deliver()
    assert [one.alert.run_id for one in recorded(archive_dsn)] == [
        "backfill/scheduled__1", "channel_ingest/scheduled__1",
    ]  # fmt: skip
    assert len(told.messages) == 2
    assert told.messages[1]["message"].endswith("http://ui.example.org/dags/backfill/runs/scheduled__1")


@pytest.fixture
def late(told, archive):
    """A run that was late while its target could not be told, and another."""
    runs = ("channel_ingest/manual__1", "channel_ingest/manual__2")
    raise_alerts(archive, [Alert("run_late", run, f"{run} is late", run_id=run) for run in runs], ["hook"])


def test_a_late_run_that_is_over_is_not_told_of(told, late, archive_dsn) -> None:
    alerting.deliver_after_run({"dag": SimpleNamespace(dag_id="channel_ingest"), "run_id": "manual__1"})
    assert told.titles == ["channel_ingest/manual__2 is late"]
    assert [one.ended_at is None for one in recorded(archive_dsn)] == [True, False]


def test_the_maintenance_ends_what_no_callback_did(told, late, archive_dsn) -> None:
    asked = SimpleNamespace(get_dr_count=lambda *, dag_id, run_ids, states: int(run_ids == ["manual__2"]))
    alerting.check_and_deliver(asked)
    assert "channel_ingest/manual__2 is late" in told.titles
    assert "channel_ingest/manual__1 is late" not in told.titles
    over = {
        one.alert.subject: one.ended_at is not None for one in recorded(archive_dsn) if one.alert.kind == "run_late"
    }
    assert over == {"channel_ingest/manual__1": True, "channel_ingest/manual__2": False}


FAILED = {"dag": SimpleNamespace(dag_id="backfill"), "run_id": "manual__1"}


def test_without_the_archive_a_failed_run_is_told_of_at_once(told, monkeypatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", "host=127.0.0.1 port=1 dbname=archive")
    get_settings.cache_clear()
    alerting.deliver_after_run(FAILED)
    assert told.messages == []
    alerting.deliver_after_failed_run(FAILED)
    assert told.titles == ["A run failed, and the archive can't be asked"]
    (message,) = told.messages
    assert "The run backfill/manual__1 failed on " in message["message"]
    assert "The archive cannot be reached" in message["message"]
    assert message["message"].endswith("http://ui.example.org/dags/backfill/runs/manual__1")


def test_without_the_archive_quiet_hours_are_quiet_all_the_same(told, monkeypatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", "host=127.0.0.1 port=1 dbname=archive")
    get_settings.cache_clear()
    monkeypatch.setattr("channelscribe.alerts.delivery.is_quiet", lambda _: True)
    alerting.deliver_after_failed_run(FAILED)
    assert told.messages == []


def test_with_the_archive_a_failed_run_is_told_of_as_recorded(told) -> None:
    alerting.record_failed_run(SimpleNamespace(dag_id="backfill", run_id="manual__1"), "There is no image.")
    alerting.deliver_after_failed_run(FAILED)
    assert told.titles == ["A run failed before it had any video"]

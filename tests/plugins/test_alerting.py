"""What the DAGs record and tell around a run, over a real archive and to a real target."""

import json
from contextlib import closing
from types import SimpleNamespace

import pytest

from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.runs.alerts import recent_alerts
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

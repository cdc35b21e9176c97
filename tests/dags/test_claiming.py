"""A cleared task claims its videos once more, in a real archive."""

import logging
from types import SimpleNamespace

import pytest

from channelscribe.errors import TryAgainError
from channelscribe.store.claims import Run, claim_videos
from channelscribe_airflow.claiming import claim_again, claim_if_cleared

pytestmark = pytest.mark.airflow


@pytest.fixture
def again(monkeypatch, archive_dsn, settings):
    """Claims videos for a cleared task of the run `old`, while these runs are at work."""
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)

    def claim(videos, *at_work):
        ti = SimpleNamespace(
            dag_id="channel_ingest", run_id="old",
            get_dr_count=lambda dag_id, run_ids, states: len({(dag_id, run_id) for run_id in run_ids} & set(at_work)),
        )  # fmt: skip
        return claim_again(ti, videos, logging.getLogger("task"))

    return claim


@pytest.fixture
def claimed_since(archive_dsn):
    """The run `new` of another DAG has claimed v1."""
    from contextlib import closing

    from channelscribe.store.connection import connect

    with closing(connect(archive_dsn)) as connection:
        claim_videos(connection, Run("reprocess", "new"), lambda *_: False, lambda _: SimpleNamespace(video_ids=["v1"]))


def test_what_another_run_is_at_work_on_is_left_out(again, claimed_since, caplog):
    assert again(["v1", "v2"], ("reprocess", "new")) == ["v2"]
    assert "v1 is left out: another run is at work on it." in caplog.text
    with pytest.raises(TryAgainError, match="clear the task once it has ended"):
        again(["v1"], ("reprocess", "new"))
    assert again(["v1", "v2"]) == ["v1", "v2"]


def test_a_run_of_which_a_task_was_cleared_takes_its_videos_back(again, claimed_since, archive):
    at_work = {("reprocess", "new"), ("channel_ingest", "old")}
    ti = SimpleNamespace(
        dag_id="channel_ingest", run_id="old",
        get_dr_count=lambda dag_id, run_ids, states: len({(dag_id, run_id) for run_id in run_ids} & at_work),
    )  # fmt: skip
    cleared, log = SimpleNamespace(clear_number=1), logging.getLogger("task")
    assert claim_if_cleared(ti, cleared, ["v1", "v2"], log) == ["v2"]
    at_work.remove(("reprocess", "new"))
    assert claim_if_cleared(ti, cleared, ["v1", "v2"], log) == ["v1", "v2"]

    def choose(busy):
        return SimpleNamespace(video_ids=sorted({"v1", "v2"} - busy))

    others = claim_videos(archive, Run("reprocess", "newer"), lambda *run: run in at_work, choose)
    assert others.video_ids == []


def test_retries_of_a_run_of_which_nothing_was_cleared_do_without_the_archive(monkeypatch, settings):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", "host=127.0.0.1 port=1 dbname=none connect_timeout=1")
    ti, log = SimpleNamespace(dag_id="channel_ingest", run_id="old"), logging.getLogger("task")
    assert claim_if_cleared(ti, SimpleNamespace(clear_number=0), ["v1"], log) == ["v1"]
    with pytest.raises(TryAgainError):
        claim_if_cleared(ti, SimpleNamespace(clear_number=1), ["v1"], log)

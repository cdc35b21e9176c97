"""A cleared task claims its videos once more, in a real archive."""

import logging
from types import SimpleNamespace

import pytest

from channelscribe.errors import TryAgainError
from channelscribe.store.claims import Run, claim_videos
from channelscribe_airflow.claiming import claim_again

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

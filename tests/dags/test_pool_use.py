"""What the pools are taken by: the tasks that are counted are those that the DAGs have."""

import pytest

from channelscribe_airflow.pool_use import pool_use, pooled_tasks

pytestmark = pytest.mark.airflow


def test_the_tasks_that_are_counted_are_those_of_the_dags(load_dags) -> None:
    found = {
        (dag.dag_id, task.task_id, task.pool, task.pool_slots)
        for dag in load_dags().dags.values()
        for task in dag.tasks
        if task.pool != "default_pool"
    }
    counted = {(task.dag_id, task.task_id, task.pool, task.slots) for task in pooled_tasks()}
    # reprocess has no downloads: these are counted as none.
    assert counted - found == {
        ("reprocess", "poll_channels", "downloads", 1), ("reprocess", "ingest_video.fetch_audio", "downloads", 1),
    }  # fmt: skip
    assert found <= counted


def test_slots_are_those_of_all_dags(monkeypatch) -> None:
    counts = {("channel_ingest", "ingest_video.diarize"): 1, ("backfill", "ingest_video.fetch_audio"): 2}

    def count(dag_id, *, task_ids, states):
        assert states == ["running", "queued"]
        return counts.get((dag_id, *task_ids), 0)

    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_ti_count", count)
    downloads, vram = pool_use()
    assert (downloads.name, downloads.slots, downloads.taken) == ("downloads", 2, {"fetch_audio of backfill": 2})
    assert downloads.needs == {"poll_channels": 1, "fetch_audio": 1}
    assert (vram.name, vram.taken) == ("vram_gib", {"diarize": vram.needs["diarize"]})

"""A stage done again over the archive of the main job, by Airflow and with the real models; and a backfill of it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from channelscribe.errors import BadInputError

pytestmark = [pytest.mark.stages, pytest.mark.timeout(2700)]


def run(main_job: Any, dag_id: str, **conf: Any) -> str:
    """Trigger a DAG and wait for its end; returns the state."""
    with main_job.api as api:
        api.unpause(dag_id)
        run_id = api.trigger(dag_id, conf)
        deadline = time.monotonic() + 1200
        while (state := api.run_state(dag_id, run_id)) not in ("success", "failed"):
            assert time.monotonic() < deadline, f"{dag_id} is {state}"
            time.sleep(0.5)
    return state


def test_a_stage_is_done_again_and_a_dry_run_does_nothing(main_job) -> None:
    before, hits = main_job.manifests(), main_job.search("a season of optimism")
    assert run(main_job, "reprocess", stages=["embed_text"]) == "success"
    assert main_job.manifests() == before

    assert run(main_job, "reprocess", stages=["embed_text"], dry_run=False) == "success"
    after = main_job.manifests()
    assert {key for key in after if after[key] != before[key]} == {key for key in after if key[1] == "embed_text"}
    assert [(hit["video_id"], hit["start_s"]) for hit in main_job.search("a season of optimism")] == [
        (hit["video_id"], hit["start_s"]) for hit in hits
    ]
    # All is as the profile makes it: nothing more is done.
    assert run(main_job, "reprocess", dry_run=False) == "success"
    assert main_job.manifests() == after


def _wait(condition: Callable[[], bool], *, steady_s: float = 0, timeout_s: float = 300) -> None:
    """Wait until something has been so for a while."""
    deadline, since = time.monotonic() + timeout_s, time.monotonic()
    while time.monotonic() < deadline:
        if not condition():
            since = time.monotonic()
        elif time.monotonic() - since >= steady_s:
            return
        time.sleep(0.3)
    raise AssertionError("it never came")


def test_a_run_that_is_paused_goes_on_where_it_was(main_job) -> None:
    # What waits may still be laid out for its videos, or stand as scheduled: what counts is that nothing begins.
    def tasks(api: Any, *states: str | None) -> set[tuple[str, int]]:
        found = api.tasks("reprocess", run_id)
        return {(task.task_id, task.map_index) for task in found if task.state in states}

    with main_job.api as api:
        run_id = api.trigger("reprocess", {"stages": ["diarize"], "dry_run": False})
        try:
            _wait(lambda: any(task_id.endswith("diarize") for task_id, _ in tasks(api, "running", "queued")))
            api._call("PATCH", "/dags/reprocess?update_mask=is_paused", json={"is_paused": True})
            _wait(lambda: not tasks(api, "running", "queued"), steady_s=2)
            done = tasks(api, "success", "skipped")
            time.sleep(5)
            assert not tasks(api, "running", "queued")
            assert tasks(api, "success", "skipped") == done
            assert tasks(api, "scheduled", None)
            assert api.run_state("reprocess", run_id) == "running"
        finally:
            api.unpause("reprocess")  # a run that doesn't end keeps its videos from the tests that follow
            _wait(lambda: api.run_state("reprocess", run_id) in ("success", "failed"), timeout_s=1200)
        assert api.run_state("reprocess", run_id) == "success"


def test_a_wrong_stage_is_refused_by_airflow_in_words(main_job) -> None:
    with main_job.api as api, pytest.raises(BadInputError) as caught:
        api.trigger("reprocess", {"stages": ["speech"]})
    assert "'speech' is not one of ['diarize', 'transcribe', 'identify_speakers', 'embed_text']" in str(caught.value)


def test_a_backfill_of_what_is_there_takes_nothing(main_job) -> None:
    before = main_job.manifests()
    feed = f"http://127.0.0.1:{main_job.environment['CHANNELSCRIBE_DEMO_PORT']}/feed.xml"
    assert run(main_job, "backfill", channels=[feed]) == "success"
    assert main_job.manifests() == before

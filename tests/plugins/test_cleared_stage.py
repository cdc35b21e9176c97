"""What a stage's task does again once somebody clears it, with a real program in the place of the stage."""

import json
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException

from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now
from channelscribe_airflow import claiming
from channelscribe_airflow.process_operator import ProcessStageOperator

pytestmark = pytest.mark.airflow

RETRIES = 2
VIDEOS = ["v1", "v2"]
LONG_AGO = timedelta(hours=1)


@pytest.fixture
def claimed(monkeypatch) -> list[str]:
    """The videos that no other run is at work on; of all others the archive says so."""
    free = list(VIDEOS)
    monkeypatch.setattr(claiming, "claim_again", lambda ti, video_ids, log: [v for v in video_ids if v in free])
    return free


@pytest.fixture
def attempt(workspace, behave, claimed):
    """Makes an attempt of a stage; returns what its program was called for, and whether by force."""
    behave(code=0, state="done", reason="Done.")

    def make(try_number, cleared_at=0, *, stage="transcribe", run_began=None):
        ti = SimpleNamespace(map_index=0, try_number=try_number, max_tries=cleared_at + RETRIES)
        operator = ProcessStageOperator(
            task_id=stage, stage=stage, video_ids=VIDEOS, profile="bundled", retries=RETRIES
        )
        before = len(calls())
        dag_run = SimpleNamespace(start_date=run_began or now() - LONG_AGO, clear_number=int(cleared_at > 0))
        with suppress(AirflowException):
            operator.execute({"ti": ti, "dag_run": dag_run})
        (call,) = calls()[before:]
        return call["videos"], call["force"]

    def calls():
        path = workspace.data_root / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return make


@pytest.fixture
def finished(set_status):
    """Records that stages have ended well, one after the other."""

    def end(*stages):
        for stage in stages:
            for video_id in VIDEOS:
                set_status(video_id, stage, "done")

    end("fetch_audio", "diarize")
    return end


@pytest.fixture
def results(monkeypatch):
    """The videos whose result is there."""
    there = set(VIDEOS)
    monkeypatch.setattr(Workspace, "current", lambda self, video_id, *of: object() if video_id in there else None)
    return there


def test_a_first_attempt_and_its_retries_look_for_what_is_there(attempt, finished, results):
    finished("transcribe")
    assert attempt(1) == (VIDEOS, False)
    assert attempt(2) == (VIDEOS, False)


def test_a_green_stage_that_is_cleared_is_done_again(attempt, finished):
    finished("transcribe", "identify_speakers")
    assert attempt(2, cleared_at=1) == (VIDEOS, True)


def test_what_follows_a_cleared_stage_looks_for_what_has_changed(attempt, finished):
    finished("transcribe", "identify_speakers", "transcribe")
    assert attempt(2, cleared_at=1, stage="identify_speakers") == (VIDEOS, False)


def test_a_run_that_was_over_began_with_the_clearing(attempt, finished):
    finished("transcribe", "diarize")
    # What was done to the stage before in between, was so by an earlier clearing.
    assert attempt(2, cleared_at=1, run_began=now()) == (VIDEOS, True)


def test_what_follows_in_such_a_run_looks_for_what_has_changed(attempt, finished):
    finished("transcribe")
    began = now()
    finished("diarize")
    assert attempt(2, cleared_at=1, run_began=began) == (VIDEOS, False)


def test_audio_is_fetched_again_unless_the_videos_were_chosen_again(workspace, finished, claimed):
    def forced():
        operator = ProcessStageOperator(
            task_id="fetch_audio", stage="fetch_audio", video_ids=VIDEOS, profile="bundled", retries=RETRIES
        )
        operator.videos_to_do({"ti": SimpleNamespace(map_index=0, try_number=2, max_tries=1 + RETRIES)})
        return operator.forced

    assert forced()
    finished("fetch_audio")
    workspace.write_video(workspace.read_video("v1"))
    assert not forced()


def test_of_a_red_stage_only_what_failed_is_done(attempt, finished, results, set_status):
    finished("transcribe")
    results.discard("v1")
    set_status("v1", "transcribe", "failed")
    assert attempt(2, cleared_at=1) == (["v2", "v1"], False)  # the program finds v2's result


def test_what_another_run_is_at_work_on_is_left_out(attempt, finished, claimed, workspace):
    finished("transcribe")
    claimed.remove("v1")
    assert attempt(2, cleared_at=1) == (["v2"], True)
    assert workspace.read_status("v1", "transcribe").state == "done"


def test_what_failed_and_another_run_is_at_work_on_is_left_out_at_every_attempt(
    attempt, finished, results, claimed, set_status, workspace
):
    finished("transcribe")
    results.clear()
    for video_id in VIDEOS:
        set_status(video_id, "transcribe", "failed")
    claimed.remove("v1")
    before = workspace.read_status("v1", "transcribe")
    assert attempt(2, cleared_at=1) == (["v2"], False)
    assert attempt(3, cleared_at=1) == (["v2"], False)
    assert workspace.read_status("v1", "transcribe") == before


def test_the_retry_of_a_run_of_which_nothing_was_cleared_asks_nobody(attempt, finished, results, claimed, set_status):
    results.clear()
    for video_id in VIDEOS:
        set_status(video_id, "transcribe", "failed")
    claimed.clear()  # as if the archive were asked: it would refuse all
    assert attempt(2) == (VIDEOS, False)


def test_an_attempt_to_do_it_again_that_failed_is_retried_by_force(attempt, finished, results, behave, set_status):
    finished("transcribe")
    behave(code=75, state="failed", reason="Not now.")
    assert attempt(2, cleared_at=1) == (VIDEOS, True)
    set_status("v1", "transcribe", "done")
    behave(code=0, state="done", reason="Done.")
    assert attempt(3, cleared_at=1) == (["v2"], True)
    assert attempt(4, cleared_at=1) == (VIDEOS, False)


def test_such_an_attempt_that_failed_for_good_is_made_again_once_it_is_cleared(attempt, finished, results, behave):
    finished("transcribe")
    behave(code=78, state="failed", reason="The model is missing.")
    assert attempt(2, cleared_at=1) == (VIDEOS, True)
    behave(code=0, state="done", reason="Done.")
    assert attempt(3, cleared_at=2) == (VIDEOS, True)
    finished("transcribe")
    assert attempt(1) == (VIDEOS, False)


def test_one_that_was_killed_before_it_began_is_made_again_for_all(attempt, finished, results, behave, workspace):
    finished("transcribe")
    behave(code=0, signal=9)  # before any video
    assert attempt(2, cleared_at=1) == (VIDEOS, True)
    assert [workspace.read_status(video_id, "transcribe").again for video_id in VIDEOS] == [True, True]
    behave(code=0, state="done", reason="Done.")
    assert attempt(3, cleared_at=1) == (VIDEOS, True)
    assert [workspace.read_status(video_id, "transcribe").again for video_id in VIDEOS] == [False, False]


def test_one_that_was_killed_outright_is_made_again_for_all(attempt, finished, results, workspace, claimed):
    finished("transcribe")
    operator = ProcessStageOperator(
        task_id="transcribe", stage="transcribe", video_ids=VIDEOS, profile="bundled", retries=RETRIES
    )
    ti = SimpleNamespace(map_index=0, try_number=2, max_tries=1 + RETRIES)
    operator.videos_to_do({"ti": ti})  # and nothing more
    assert attempt(3, cleared_at=1) == (VIDEOS, True)


def test_a_status_that_could_not_be_written_is_no_wish_to_make_it_again(attempt, finished, results, set_status):
    results.discard("v2")
    set_status("v1", "transcribe", "failed")
    set_status("v2", "transcribe", "done")  # by another model
    assert attempt(2) == (["v2", "v1"], False)


def test_one_that_was_killed_in_the_middle_is_made_again_with_what_has_no_result_now(
    attempt, finished, results, behave, workspace, set_status
):
    finished("transcribe")
    behave(code=0, state="running", reason="Running.", signal=9)
    assert attempt(2, cleared_at=1) == (VIDEOS, True)
    status = workspace.read_status("v1", "transcribe")
    assert (status.state, status.again) == ("failed", True)
    set_status("v2", "transcribe", "done")
    results.discard("v2")  # it is of another model
    behave(code=0, state="done", reason="Done.")
    assert attempt(3, cleared_at=1) == (["v2", "v1"], True)


def test_one_whose_program_could_not_be_started_is_made_again(attempt, finished, results, workspace):
    finished("transcribe")
    there = get_settings().stages_interpreter
    there.rename(there.with_name("away"))
    with pytest.raises(ValueError, match="not enough values"):  # no call
        attempt(2, cleared_at=1)
    there.with_name("away").rename(there)
    assert workspace.read_status("v1", "transcribe").again
    assert attempt(3, cleared_at=2) == (VIDEOS, True)

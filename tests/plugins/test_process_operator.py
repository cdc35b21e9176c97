import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from channelscribe.contracts import Status
from channelscribe.settings import get_settings
from channelscribe.workspace import now
from channelscribe_airflow.process_operator import ProcessStageOperator

pytestmark = pytest.mark.airflow

CONTEXT = {"ti": SimpleNamespace(map_index=0, try_number=1, max_tries=0)}
DONE = {"code": 0, "state": "done", "reason": "Done."}


def operator(**arguments):
    return ProcessStageOperator(
        **{"task_id": "diarize", "stage": "diarize", "video_ids": ["v1"], "profile": "bundled", **arguments}
    )


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_pid(path: Path) -> int:
    deadline = time.monotonic() + 100
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, "the program never started"
        time.sleep(0.02)
    return int(path.read_text())


def assert_dies(pid: int) -> None:
    deadline = time.monotonic() + 60
    while is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.02)


def test_success_returns(workspace, behave):
    behave(code=0, state="done", reason="Three speakers.")
    assert operator().execute(CONTEXT) is None


def test_exit_code_decides_and_the_reason_is_the_stages_own(workspace, behave, ending):
    code, state, expected = ending
    behave(code=code, state=state, reason=f"Because of {code}.")
    with pytest.raises(AirflowException) as caught:
        operator().execute(CONTEXT)
    assert type(caught.value) is expected
    assert str(caught.value) == f"Because of {code}."


def test_status_of_an_earlier_attempt_is_not_taken_for_this_ones(workspace, behave):
    workspace.write_status(
        Status(
            video_id="v1", stage="diarize", state="failed", exit_code=1, reason="Old.", at=now() - timedelta(hours=1)
        )
    )
    behave(code=1)
    with pytest.raises(AirflowException, match="ended with exit code 1 and gave no reason"):
        operator().execute(CONTEXT)
    status = workspace.read_status("v1", "diarize")
    assert (status.state, status.exit_code) == ("failed", 1)
    assert status.reason != "Old."


def test_killed_by_the_kernel_is_said_and_recorded(workspace, behave):
    behave(state="running", code=None, reason="Running.", signal=int(signal.SIGKILL))
    with pytest.raises(AirflowException, match=r"killed by signal 9 \(SIGKILL\): out of memory\?") as caught:
        operator().execute(CONTEXT)
    assert type(caught.value) is AirflowException
    status = workspace.read_status("v1", "diarize")
    assert (status.state, status.exit_code, status.reason) == ("failed", -9, str(caught.value))


def test_other_signals_make_no_guess(workspace, behave):
    behave(signal=int(signal.SIGSEGV))
    with pytest.raises(AirflowException, match=r"killed by signal 11 \(SIGSEGV\)\.$"):
        operator().execute(CONTEXT)


def test_lines_are_logged_as_they_come(workspace, behave, monkeypatch):
    behave(lines=["first", "!second", "third {not a template} %s"], pause=2, **DONE)
    logged = []
    task = operator()
    monkeypatch.setattr(
        task.log,
        "info",
        lambda message, *values: logged.append((message % values, time.monotonic())),
        raising=False,
    )
    task.execute(CONTEXT)
    (command, _), (first, first_at), (second, _), (third, third_at) = logged
    assert command.startswith("Running ")
    assert (first, second, third) == ("first", "!second", "third {not a template} %s")
    assert third_at - first_at > 1


def test_timeout_stays_a_timeout_and_kills_grandchildren(workspace, behave, tmp_path):
    behave(hang=True, leave_behind=str(tmp_path / "pid"))

    def let_time_be_up():
        read_pid(tmp_path / "pid")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)  # as Airflow's own clock does

    clock = threading.Thread(target=let_time_be_up)
    clock.start()
    with pytest.raises(AirflowTaskTimeout), timeout(200):
        operator(execution_timeout=timedelta(seconds=3)).execute(CONTEXT)
    clock.join()
    assert_dies(int((tmp_path / "pid").read_text()))
    status = workspace.read_status("v1", "diarize")
    assert (status.state, status.reason) == ("failed", "It was stopped: it took longer than 0:00:03.")


def test_on_kill_ends_program_and_grandchildren(workspace, behave, tmp_path):
    behave(hang=True, leave_behind=str(tmp_path / "pid"))
    task = operator()

    def kill_when_running():
        read_pid(tmp_path / "pid")
        task.on_kill()

    killer = threading.Thread(target=kill_when_running)
    killer.start()
    with pytest.raises(AirflowException, match="was stopped before its end"):
        task.execute(CONTEXT)
    killer.join()
    assert_dies(int((tmp_path / "pid").read_text()))


def test_what_a_program_leaves_running_is_killed_and_does_not_block(workspace, behave, tmp_path):
    behave(leave_behind=str(tmp_path / "pid"), **DONE)
    started = time.monotonic()
    operator().execute(CONTEXT)
    assert time.monotonic() - started < 300  # what was left would sleep for 600 s
    assert_dies(int((tmp_path / "pid").read_text()))


def test_program_dies_with_a_task_process_that_is_killed_outright(workspace, tmp_path):
    source = (
        "import sys\n"
        "from channelscribe_airflow.process import ChildProcess\n"
        "code = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'\n"
        "for line in ChildProcess([sys.executable, '-c', code], {}).lines():\n"
        "    print(line, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "plugins")}
    task = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=environment)
    pid = int(task.stdout.readline())
    assert is_alive(pid)
    task.kill()
    task.communicate()
    assert_dies(pid)


def test_programs_get_none_of_airflows_settings(workspace, behave, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("CHANNELSCRIBE_LIMIT", "7")
    behave(environment_file=str(tmp_path / "environment"), **DONE)
    operator().execute(CONTEXT)
    environment = json.loads((tmp_path / "environment").read_text())
    assert environment["CHANNELSCRIBE_LIMIT"] == "7"
    assert not [name for name in environment if name.startswith("AIRFLOW__")]


def test_missing_environment_is_one_sentence_and_no_retry(workspace, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", "/nowhere/python")
    get_settings.cache_clear()
    with pytest.raises(AirflowFailException, match=r"The environment of diarize is not there .*`make setup`"):
        operator().execute(CONTEXT)
    assert workspace.read_status("v1", "diarize").exit_code == 78


def test_a_video_that_nobody_recorded_gets_no_folder(workspace, behave):
    behave(code=65)
    with pytest.raises(AirflowFailException):
        operator(video_ids=["unknown"]).execute(CONTEXT)
    assert not workspace.video_dir("unknown").exists()


def test_what_is_no_video_id_is_refused(workspace, behave):
    behave(code=0)
    with pytest.raises(AirflowFailException, match="is not a video id"):
        operator(video_ids=["../elsewhere"]).execute(CONTEXT)


@pytest.mark.parametrize(("force", "expected"), [("True", True), ("False", False), (True, True), (False, False)])
def test_force_is_passed_on(workspace, force, expected):
    assert ("--force" in operator(force=force).command(["v1"])) is expected


def test_fetch_audio_runs_in_airflows_environment(workspace):
    assert operator(stage="fetch_audio").command(["v1"])[0] == sys.executable
    assert operator(stage="diarize").command(["v1"])[0] == str(get_settings().stages_interpreter)

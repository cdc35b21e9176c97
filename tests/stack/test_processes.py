"""Real child processes, in sessions of their own, as Airflow and its tasks make them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from channelscribe.stack.processes import MARKER, is_alive, spawn, stack_processes, stop_processes

SLEEP = "import time; time.sleep(300)"
# Starts a child in a session of its own, and ends: the child is left to init.
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {SLEEP}"


@pytest.fixture
def home(tmp_path: Path):
    yield tmp_path
    stop_processes(tmp_path, grace_s=0)


def start(home: Path, code: str) -> psutil.Process:
    return spawn([sys.executable, "-c", code], os.environ, home, home / "logs" / "child.log")


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_orphan_in_a_session_of_its_own_is_found_and_stopped(home):
    parent = start(home, ORPHAN)
    parent.wait(60)
    wait_for(lambda: stack_processes(home))
    (orphan,) = stack_processes(home)
    assert orphan.ppid() != parent.pid
    assert stop_processes(home) == 1
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ignores_the_kind_signal_is_killed(home):
    process = start(home, STUBBORN)
    wait_for(lambda: "ready" in (home / "logs" / "child.log").read_text())
    started = time.monotonic()
    stop_processes(home, grace_s=1)
    assert not is_alive(process.pid, home)
    assert time.monotonic() - started >= 1


def test_another_stack_and_other_processes_are_left_alone(home, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    other = start(elsewhere, SLEEP)
    environment = {name: value for name, value in os.environ.items() if name != MARKER}
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], env=environment)
    try:
        assert stop_processes(home) == 0
        assert is_alive(other.pid, elsewhere)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        stop_processes(elsewhere, grace_s=0)


def test_a_process_that_sets_its_title_is_still_found(home):
    pytest.importorskip("setproctitle", reason="comes with Airflow")
    code = f"import setproctitle; setproctitle.setproctitle('x' * 4000); print('ready', flush=True); {SLEEP}"
    process = start(home, code)
    wait_for(lambda: "ready" in (home / "logs" / "child.log").read_text())
    assert is_alive(process.pid, home)

"""The stack's processes: started in sessions of their own, and found again by a variable in their environment."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

# Every process of a stack carries it, with the stack's home folder; a child inherits it whatever session it is in.
MARKER = "CHANNELSCRIBE_STACK"
GRACE_S = 10.0
READABLE_S = 5.0


def spawn(command: Sequence[str], environment: Mapping[str, str], home: Path, log_file: Path) -> psutil.Process:
    """Start a process of the stack that outlives its parent, its output in a log file.

    Raises:
        OSError: the program can't be started.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            list(command),
            # Processes that set their title, as Airflow's do, would write it over their environment without this.
            env={**environment, MARKER: str(home), "SPT_NOENV": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home,
            start_new_session=True,
        )
    # Its environment can be read a moment after the call that starts it: until then it would count as dead.
    started, deadline = psutil.Process(process.pid), time.monotonic() + READABLE_S
    while not _belongs(started, home) and started.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.001)
    return started


def stack_processes(home: Path) -> list[psutil.Process]:
    """All living processes of the stack with this home folder, whoever their parents are."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _belongs(process, home)]


def is_alive(pid: int, home: Path) -> bool:
    """Whether a process of the stack with this home folder lives under this id."""
    try:
        return _belongs(psutil.Process(pid), home)
    except psutil.NoSuchProcess:
        return False


def stop_processes(home: Path, grace_s: float = GRACE_S) -> int:
    """Stop all processes of a stack: first kindly, then, after the grace, by force.

    Returns:
        How many there were.
    """
    stopped = set()
    deadline = time.monotonic() + grace_s
    # Again and again, since a process may have started another one while it was being stopped.
    while processes := stack_processes(home):
        forced = time.monotonic() >= deadline
        for process in processes:
            try:
                if forced:
                    process.kill()
                elif process not in stopped:
                    process.terminate()
            except psutil.NoSuchProcess:
                continue
        stopped.update(processes)
        psutil.wait_procs(processes, timeout=0.5)
    return len(stopped)


def _belongs(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get(MARKER) == str(home) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        # Gone in the meantime, or another user's: not ours in either case.
        return False

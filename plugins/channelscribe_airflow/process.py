"""A child process that is never outlived by its own children, nor outlives the process that started it."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

# Stages write into temporary folders and rename them: they can be stopped at any moment, and need no long farewell.
GRACE_S = 3.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_the_parent() -> None:
    # If Airflow's own process is killed outright, nobody is left to stop the child: the kernel does it then.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ChildProcess:
    """A program in a process group of its own, with its output as lines of text. Leaving the context ends it.

    Must be started from the main thread: the child is killed when the thread that started it ends.

    Args:
        command: the program and its arguments.
        environment: its environment variables.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            process_group=0,
            preexec_fn=_die_with_the_parent,
        )
        # What the program leaves running when it ends would keep its output open, and us waiting for more.
        self._reaper = threading.Thread(target=self._reap, daemon=True)
        self._reaper.start()

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        if self._process.stdout:
            self._process.stdout.close()

    def lines(self) -> Iterator[str]:
        """The lines of standard output and error as they come, until the program ends."""
        stdout = self._process.stdout
        if stdout is not None:
            for line in stdout:
                yield line.rstrip()

    def wait(self) -> int:
        """Wait for the end and return the exit code, or minus the signal that killed the program."""
        self._reaper.join()
        return self._process.wait()

    def kill(self) -> None:
        """End the program and all that it started; nothing happens if it has ended already."""
        if self._reaper.is_alive():
            self._signal_group(signal.SIGTERM)
            self._reaper.join(GRACE_S)
            self._signal_group(signal.SIGKILL)
            self._reaper.join(GRACE_S)

    def _reap(self) -> None:
        self._process.wait()
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

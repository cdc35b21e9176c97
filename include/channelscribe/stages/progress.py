"""What a stage is doing while it works, in a file that others may look at: is it slow, and why?

The file is written by a thread that can neither fail the stage nor hold it.
"""

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from channelscribe.contracts import GpuSample, Progress
from channelscribe.stages.clock import Clock, process_age_s
from channelscribe.telemetry.gpu import GpuSampler
from channelscribe.workspace import now, write_atomically

INTERVAL_S = 5.0
# What counts as now: an hour of hard work must not hide that the GPU fell idle a minute ago.
_RECENT_S = 60.0


class ProgressWriter:
    """Writes the `contracts.Progress` of one video while its context is open, and removes the file at its end.

    Args:
        path: the file.
        start_up: the clock of the program's start, which goes on while the engine is loaded.
        device: the one that was asked for.
        interval_s: seconds from writing to writing.
    """

    def __init__(self, path: Path, start_up: Clock, device: str, interval_s: float = INTERVAL_S) -> None:
        self._path, self._start_up, self._device, self._interval_s = path, start_up, device, interval_s
        self._used: str | None = None
        self._clock: Clock | None = None
        self._gpu: GpuSampler | None = None
        self._began = time.perf_counter()
        self._work_began: float | None = None
        self._cpu_before_s, self._waited_before_s = _cpu_s(), cpu_wait_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "ProgressWriter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        # A disk that hangs must not hang the stage.
        self._thread.join(self._interval_s)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def work_begins(self, device_used: str, clock: Clock, gpu: GpuSampler) -> None:
        """Say that the model is there, and where the parts of the work and the GPU's samples are from now on."""
        self._gpu, self._used, self._work_began = gpu, device_used, time.perf_counter()
        self._clock = clock

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with contextlib.suppress(OSError):
                write_atomically(self._path, self._progress().model_dump_json(indent=1))

    def _progress(self) -> Progress:
        recent = _recent(self._gpu.so_far) if self._gpu else []
        span_s = sum(sample.span_s for sample in recent)
        busy = sum((sample.sm_percent or 0.0) * sample.span_s for sample in recent)
        waited_s, now_s = cpu_wait_s(), time.perf_counter()
        if waited_s is not None:  # what threads waited that have ended meanwhile is no longer told
            waited_s = round(max(0.0, waited_s - (self._waited_before_s or 0.0)), 3)
        return Progress(
            part=(self._clock.at_work_on or "work") if self._clock else "start",
            at=now(),
            elapsed_s=round(now_s - self._began, 3),
            work_s=round(now_s - self._work_began, 3) if self._work_began is not None else 0.0,
            start_up_s=round(self._start_up_s(), 3),
            device_requested=self._device,
            device_used=self._used,
            cpu_s=round(_cpu_s() - self._cpu_before_s, 3),
            cpu_wait_s=waited_s,
            gpu_busy_share=round(busy / span_s / 100, 4) if span_s else None,
            gpu_span_s=round(span_s, 3),
        )

    def _start_up_s(self) -> float:
        done = dict(self._start_up.seconds)
        if self._clock:
            return sum(done.values())
        return process_age_s() + done.get("container", 0.0)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cpu_wait_s() -> float | None:
    """Seconds that this process's threads were ready to compute and waited for a processor; None if unknown.

    The second number of ``/proc/<pid>/task/<tid>/schedstat``, in nanoseconds (Linux, Documentation/scheduler/
    sched-stats.rst).
    """
    waited_ns, known = 0, False
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # a thread that has just ended; another kernel
            waited_ns += int(path.read_text(encoding="ascii").split()[1])
            known = True
    return waited_ns / 1e9 if known else None


def _recent(samples: Sequence[GpuSample]) -> list[GpuSample]:
    """Those of the last minute whose busy share is known."""
    if not samples:
        return []
    since_s = samples[-1].at_s - _RECENT_S
    return [sample for sample in samples if sample.at_s > since_s and sample.sm_percent is not None]

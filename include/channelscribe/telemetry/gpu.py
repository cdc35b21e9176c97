"""What the GPU does while a stage works: a sample each second, in a thread that can neither fail the stage nor hold it.

The samples go into the manifest, and a line into the log every ten seconds.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from channelscribe.contracts import GpuSample
from channelscribe.telemetry.nvml import NoGpuError, Reading, open_gpu

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
LOG_INTERVAL_S = 10.0
MAX_SAMPLES = 600
# What NVML may take to answer before the stage goes on without it.
_PATIENCE_S = 2.0


class SampleLog:
    """Samples in bounded memory: when it is full, neighbours are merged, and then each stands for twice the time.

    Args:
        limit: the most samples that it keeps; even.
    """

    def __init__(self, limit: int = MAX_SAMPLES) -> None:
        self._limit = limit
        self._group = 1
        self._kept: list[GpuSample] = []
        self._pending: list[GpuSample] = []

    def add(self, sample: GpuSample) -> None:
        """Add the next sample."""
        if len(self._kept) == self._limit:
            self._kept = [merge(self._kept[at : at + 2]) for at in range(0, self._limit, 2)]
            self._group *= 2
        self._pending.append(sample)
        if len(self._pending) == self._group:
            self._kept.append(merge(self._pending))
            self._pending = []

    @property
    def samples(self) -> tuple[GpuSample, ...]:
        """All that was added, in order, merged as far as need be."""
        return (*self._kept, merge(self._pending)) if self._pending else tuple(self._kept)


def merge(samples: Sequence[GpuSample]) -> GpuSample:
    """One sample for several that follow one another; see `GpuSample` for what becomes of the figures."""
    return GpuSample(
        at_s=samples[-1].at_s,
        span_s=round(sum(sample.span_s for sample in samples), 3),
        sm_percent=_mean([(sample.sm_percent, sample.span_s) for sample in samples]),
        vram_percent=max((s.vram_percent for s in samples if s.vram_percent is not None), default=None),
        temperature_c=max((s.temperature_c for s in samples if s.temperature_c is not None), default=None),
        power_w=_mean([(sample.power_w, sample.span_s) for sample in samples]),
    )


class GpuSampler:
    """Samples the GPU while its context is open. Afterwards there are ``samples``, or None and ``unavailable``.

    Args:
        device: where the stage works; on ``cpu`` there is nothing to sample.
        interval_s: seconds from sample to sample.
    """

    def __init__(self, device: str, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._log = SampleLog()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._reason = "the GPU did not answer in time"
        if device == "cuda":
            self._thread = threading.Thread(target=self._run, name="gpu-sampler", daemon=True)
        else:
            self._reason = "the stage runs on the CPU"
        self.samples: tuple[GpuSample, ...] | None = None
        self.unavailable: str | None = None

    def __enter__(self) -> "GpuSampler":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread:
            self._stop.set()
            # A driver that hangs must not hang the stage: the thread is a daemon, and ends with the process.
            self._thread.join(_PATIENCE_S)
        self.samples = self._log.samples or None
        self.unavailable = None if self.samples else self._reason

    @property
    def so_far(self) -> tuple[GpuSample, ...]:
        """The samples that there are while the context is open."""
        return self._log.samples

    def _run(self) -> None:
        started = time.perf_counter()
        try:
            with open_gpu() as gpu:
                self._sample(gpu.name, gpu.read, started)
        except NoGpuError as error:
            self._reason = str(error)
            logger.warning("The GPU cannot be watched: %s.", error)
        except Exception as error:  # noqa: BLE001 - telemetry never fails a stage
            self._reason = f"{type(error).__name__}: {error}"
            logger.warning("The GPU is no longer watched: %s.", self._reason)

    def _sample(self, name: str, read: Callable[[], Reading], started: float) -> None:
        recent: list[GpuSample] = []
        last_s = 0.0
        stopping = False
        while not stopping:
            stopping = self._stop.wait(self._interval_s)
            at_s = time.perf_counter() - started
            if stopping and last_s and at_s - last_s < self._interval_s / 2:
                return  # too short to say anything that the last sample did not
            span_s, last_s = at_s - last_s, at_s
            reading = read()
            if all(value is None for value in reading):
                self._reason = f"{name} answers no question"
                continue
            sample = GpuSample(at_s=round(at_s, 3), span_s=round(span_s, 3), **reading._asdict())
            self._log.add(sample)
            recent.append(sample)
            if sum(sample.span_s for sample in recent) >= LOG_INTERVAL_S:
                logger.info("%s: %s.", name, describe(merge(recent)))
                recent = []


def describe(sample: GpuSample) -> str:
    """The figures of a sample for people, without those that are not known."""
    figures = (
        ("SM {:.0f} %", sample.sm_percent),
        ("VRAM {:.0f} %", sample.vram_percent),
        ("{:.0f} C", sample.temperature_c),
        ("{:.0f} W", sample.power_w),
    )
    return ", ".join(form.format(value) for form, value in figures if value is not None)


def _mean(weighted: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return round(sum(value * weight for value, weight in known) / total, 2) if total else None

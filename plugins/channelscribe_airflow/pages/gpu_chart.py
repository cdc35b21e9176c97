"""What the GPU did during a run, as a drawing."""

from collections.abc import Iterator

from channelscribe.contracts import GpuSample
from channelscribe.telemetry.gpu_use import GpuRun
from channelscribe.telemetry.report_text import clock
from channelscribe_airflow.pages.charts import Chart, line

_SM, _VRAM = 0, 1
# Samples that are further apart have something between them in which nothing was sampled: a gap, not a line.
_APART = 1.5


def gpu_chart(gpu: GpuRun) -> Chart:
    """SM % and VRAM % over the time from the first sample to the last."""
    moments = gpu.moments
    first_s, last_s = moments[0].at_s - moments[0].span_s, moments[-1].at_s
    known = [moment.sm_percent for moment in moments if moment.sm_percent is not None]
    busy = "It is not known how busy it was." if gpu.busy_share is None else f"Busy {100 * gpu.busy_share:.0f} %"
    highest = f", {max(known):.0f} % at most." if known else ""
    vram = [moment.vram_percent for moment in moments if moment.vram_percent is not None]
    memory = f" Up to {max(vram):.0f} % of its memory was taken." if vram else ""
    length_s = max(last_s - first_s, 1e-9)
    return Chart(
        title="GPU, percent",
        summary=f"{busy}{highest}{memory}",
        top="100",
        first=f"{clock(max(first_s, 0))} after the start",
        last=clock(last_s),
        lines=(
            line(_points(moments, "vram_percent", first_s, length_s), _VRAM, "memory taken"),
            line(_points(moments, "sm_percent", first_s, length_s), _SM, "busy"),
        ),
        legend={_SM: "busy (SM %)", _VRAM: "memory taken (VRAM %)"},
    )


def _points(
    moments: tuple[GpuSample, ...], name: str, first_s: float, length_s: float
) -> Iterator[tuple[float, float | None, bool]]:
    width_s = length_s / len(moments)
    before_s: float | None = None
    for moment in moments:
        value = getattr(moment, name)
        middle_s = moment.at_s - moment.span_s / 2
        goes_on = before_s is not None and moment.at_s - before_s <= _APART * max(width_s, moment.span_s)
        yield (middle_s - first_s) / length_s, None if value is None else value / 100, goes_on
        before_s = moment.at_s

"""Drawings say what the figures say."""

import re

import pytest

pytest.importorskip("airflow")

from channelscribe.contracts import GpuSample
from channelscribe.telemetry.gpu_use import GpuRun
from channelscribe_airflow.pages.charts import bars, line, nice_top
from channelscribe_airflow.pages.gpu_chart import gpu_chart

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(("most", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (37, 50), (100, 100), (101, 200)])
def test_the_upper_edge_is_a_figure_that_people_count_by(most: float, top: float) -> None:
    assert nice_top(most) == pytest.approx(top)


def boxes(path: str) -> tuple[float, ...]:
    """Left, lower edge, width and height."""
    left, bottom, width, height, _ = map(float, re.fullmatch(r"M(\S+) (\S+)h(\S+)v(\S+)h(\S+)z", path).groups())
    return left, bottom, width, -height


def test_bars_stand_side_by_side_and_pieces_on_each_other() -> None:
    first, second = bars([[(0, 10), (3, 5)], [(0, 0)]], ["a", "b"], top=20)
    assert [colour for colour, _ in first.paths] == [0, 3]
    assert [boxes(path) for _, path in first.paths] == [(50, 100, 400, 50), (50, 50, 400, 25)]
    assert (second.text, second.paths) == ("b", ())


def test_a_line_has_a_gap_where_nothing_is_known() -> None:
    mark = line([(0, 0.5, False), (0.1, 1.0, True), (0.2, None, True), (0.3, 0.0, True), (0.4, 0.25, False)], 2, "it")
    assert mark.paths == ((2, "M0.0 50.0h0.1L100.0 0.0M300.0 100.0h0.1M400.0 75.0h0.1"),)


def sample(at_s: float, sm: float | None, vram: float | None = 10.0) -> GpuSample:
    return GpuSample(at_s=at_s, span_s=1, sm_percent=sm, vram_percent=vram, temperature_c=None, power_w=None)


def test_the_gpus_idle_time_is_a_gap() -> None:
    chart = gpu_chart(GpuRun(0.25, None, (sample(1, 50.0), sample(2, 100.0), sample(9, 0.0), sample(10, None, None))))
    memory, busy = chart.lines
    assert busy.paths[0][1] == "M50.0 50.0h0.1L150.0 0.0M850.0 100.0h0.1"
    assert memory.paths[0][1].count("M") == 2
    assert chart.summary == "Busy 25 %, 100 % at most. Up to 10 % of its memory was taken."

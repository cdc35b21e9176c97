"""The drawing of who speaks when."""

import re
from importlib import import_module

import pytest

pytestmark = pytest.mark.airflow


@pytest.fixture
def boxes():
    """Function that gives the start and end of each box that is drawn."""
    lane = import_module("channelscribe_airflow.pages.timeline").lane

    def draw(*spans: tuple[float, float], audio_s: float = 100.0) -> list[tuple[float, float]]:
        path = lane(spans, audio_s)
        found = re.findall(r"M([\d.]+) 1h([\d.]+)v8H([\d.]+)z", path)
        assert "".join(f"M{x} 1h{w}v8H{x}z" for x, w, _ in found) == path
        return [(float(x), float(x) + float(w)) for x, w, _ in found]

    return draw


def test_a_box_is_where_somebody_speaks(boxes) -> None:
    assert boxes((10, 20), (50, 75)) == [(100, 200), (500, 750)]


def test_what_overlaps_or_touches_is_one_box(boxes) -> None:
    assert boxes((50, 60), (10, 20), (15, 18), (20.01, 30)) == [(100, 300), (500, 600)]


def test_a_short_turn_in_hours_is_seen(boxes) -> None:
    assert boxes((18_000, 18_000.5), audio_s=36_000) == [(500, 501)]


def test_ten_thousand_turns_stay_small(boxes) -> None:
    assert len(boxes(*((n * 4, n * 4 + 3) for n in range(10_000)), audio_s=40_000)) <= 700


def test_what_lies_outside_the_recording_is_cut(boxes) -> None:
    assert boxes((-5, 10), (90, 120)) == [(0, 100), (900, 1000)]
    assert boxes((0, 1), audio_s=0) == []

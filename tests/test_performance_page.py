"""docs/performance.md holds what benchmarks/results/ holds."""

import sys
from collections.abc import Iterator

import pytest

from channelscribe.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple]:
    sys.path.insert(0, str(PROJECT_ROOT / "benchmarks"))
    try:
        import goals
        import page

        yield page, goals
    finally:
        sys.path.remove(str(PROJECT_ROOT / "benchmarks"))


def chain(minutes: float, rtfx: float, peak_gb: float) -> dict:
    return {"minutes": minutes, "rtfx": rtfx, "peak_memory_bytes": peak_gb * 1e9, "stages": {}}


def test_the_page_holds_what_was_measured(modules) -> None:
    page, _ = modules
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.made(text) == text, "run `python benchmarks/page.py`"


def test_what_was_not_measured_says_so(modules) -> None:
    _, goals = modules
    assert {goal.verdict for goal in goals.goals({})} == {"not measured"}


def test_goals_are_judged_by_their_figures(modules) -> None:
    _, goals = modules
    diarization = {"all": {"times_stock": 5.0, "worst_der_points": -0.31}, "machine": {"cores": 2}}
    parts = {
        "diarization": {"result": diarization},
        "chain": {"result": {"lengths": [chain(10, 7.9, 1), chain(60, 8.1, 2)]}},
    }
    verdicts = [goal.verdict for goal in goals.goals({"cpu": {"parts": parts}})[:4]]
    assert verdicts == ["yes", "no", "yes", "not measured"]


def test_memory_is_judged_at_three_hours(modules) -> None:
    _, goals = modules
    parts = {"chain": {"result": {"lengths": [chain(180, 8.1, 3.1), chain(10, 9, 1)]}}}
    assert goals.goals({"cpu": {"parts": parts}})[3].verdict == "no"

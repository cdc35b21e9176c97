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
    diarization = {"all": {"times_stock": 5.0, "worst_der_points": 0.31}, "machine": {"cores": 2}}
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
    alone = {"lengths": [chain(180, 1.0, 2.9)]}
    assert goals.goals({}, alone)[3].verdict == "yes"
    assert goals.goals({}, {"lengths": [chain(60, 1.0, 2.9)]})[3].verdict == "not measured"


def test_the_archive_is_judged_at_a_million_and_by_its_slowest_speaker(modules) -> None:
    _, goals = modules

    def archive(asked: int, speaker_ms: float) -> dict:
        filters = {
            name: {"both_p95_ms": ms, "both_cpu_p95_ms": ms / 2, "recall": 0.96}
            for name, ms in (("none", 50.0), ("rare speaker", speaker_ms), ("one video", 500.0))
        }
        fill = {"n_utterances": asked, "rows_s": asked / 5000, "load_average": 1.0}
        return {"asked_utterances": asked, "fill": fill, "searches": {"filters": filters, "load_average": 1.0}}

    def verdicts(*archives: dict) -> list[str]:
        return [goal.verdict for goal in goals.goals({}, None, {"archives": archives})[-3:]]

    assert verdicts(archive(100_000, 1.0)) == ["not measured"] * 3
    assert verdicts(archive(100_000, 1.0), archive(1_000_000, 100.0)) == ["yes", "yes", "yes"]
    assert verdicts(archive(1_000_000, 100.1)) == ["no", "yes", "yes"]

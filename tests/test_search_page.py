"""docs/search.md holds what was measured, and the questions lie within the texts that they are asked of."""

import json
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from channelscribe.settings import PROJECT_ROOT

BENCHMARKS = PROJECT_ROOT / "benchmarks"
QUESTIONS = json.loads((BENCHMARKS / "questions.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> Iterator[object]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import search_page

        yield search_page
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_page_holds_what_was_measured(page) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.made(text) == text, "run `python benchmarks/search_page.py`"
    assert "### How good" in text and "### How fast" in text


def test_the_results_are_of_these_questions() -> None:
    result = json.loads((BENCHMARKS / "results" / "search_quality.json").read_text(encoding="utf-8"))
    assert [row["question"] for row in result["questions"]] == [question["words"] for question in QUESTIONS]


def test_every_question_has_an_answer_within_its_text() -> None:
    assert len({question["words"] for question in QUESTIONS}) == len(QUESTIONS) >= 40
    lengths = {path.stem: len(path.read_text(encoding="utf-8").split()) for path in BENCHMARKS.glob("speeches/*.txt")}
    for question in QUESTIONS:
        assert max(grade for *_, grade in question["relevant"]) == 3, question["words"]
        for speech, first, behind, grade in question["relevant"]:
            assert 0 <= first < behind <= lengths[speech] and grade in (1, 2, 3), question["words"]


def test_each_kind_is_shared_by_both_halves() -> None:
    counts = Counter((question["kind"], question["half"]) for question in QUESTIONS)
    for kind in {question["kind"] for question in QUESTIONS}:
        assert abs(counts[kind, "choice"] - counts[kind, "report"]) <= 1

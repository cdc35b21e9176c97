"""How good search is: nDCG@10 of words alone, of vectors alone, and of both merged, over questions with known answers.

    python benchmarks/search_quality.py

Run by the Python of Airflow's environment, with the tools of the tests (`scripts/setup.py --dev`). The archive is that
of speeches.py: thirteen addresses, 808 chunks, embedded by the bundled model. The 54 questions are in questions.json,
of four kinds: words that are said just so, meaning in other words, names, and questions as people ask them. One person
wrote them, and judged passages before any score was computed and without seeing what had found them, from 0 (beside
the point) to 3 (the answer): the first ten that words, vectors or both merged had found, the first five of any of the
words, and what was known beside them. What was not judged counts as 0. A passage's place is given in words of the
address, so that other chunks can be judged by it: a chunk has the grade of the best passage of which it holds half or
more.

Rankings come from `store.search.hybrid` as it is; vectors alone are what it finds for a word that nobody says. nDCG is
ir_measures', with the grades as gains. Half of the questions, every second of its kind, is there to choose by; the
other half is what is reported. Prints Markdown, and writes benchmarks/results/search_quality.json and docs/search.md.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import ir_measures
import machine
import search_archive
import search_page
import speeches
from ir_measures import Qrel, ScoredDoc, nDCG
from search_archive import Archive

from channelscribe.store.search.hybrid import Hit, search
from channelscribe.store.search.query_embedding import embed_query

QUESTIONS = Path(__file__).with_name("questions.json")
MEASURE = nDCG @ 10
# A word that no address has, so that words find nothing.
NOBODY_SAYS = "xyzzy"
WAYS = ("words", "vectors", "merged")

Question = dict[str, Any]
Run = list[str]


def main() -> None:
    """Measure, print and write."""
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    with search_archive.archive() as made:
        runs = rankings(made, questions)
        grades = list(judged(made, questions))
    scores = {way: ndcg([run[way] for run in runs], grades) for way in WAYS}
    result = {
        "command": "benchmarks/search_quality.py",
        "machine": machine.describe(search_page.PACKAGES),
        "model": list(speeches.MODEL),
        "n_chunks": sum(map(len, made.chunks.values())),
        "rows": list(rows(questions, scores)),
        "questions": [
            {"question": question["words"], **{way: round(scores[way][index], 3) for way in WAYS}}
            for index, question in enumerate(questions)
        ],
    }
    search_page.write("search_quality", result)
    sys.stdout.write("\n".join(search_page.quality_table(result)) + "\n")


def rankings(made: Archive, questions: list[Question]) -> list[dict[str, Run]]:
    """What each way finds for each question: ids of chunks, best first."""
    ids = {(name, chunk.text): f"{name}:{chunk.index}" for name, chunks in made.chunks.items() for chunk in chunks}

    def found(hits: list[Hit]) -> Run:
        return [ids[hit.video_id, hit.text] for hit in hits]

    runs = []
    with search_archive.embedder(made.settings, idle_s=600):
        for question in questions:
            words = question["words"]
            vector = embed_query(words, made.settings.profile, made.settings, sys.stderr.write)
            of = {"words": (words, None), "vectors": (NOBODY_SAYS, vector), "merged": (words, vector)}
            runs.append({way: found(search(made.connection, *asked, speeches.MODEL)) for way, asked in of.items()})
    return runs


def judged(made: Archive, questions: list[Question]) -> Iterator[dict[str, int]]:
    """The grades of the chunks that have any, for each question."""
    places = {}
    for name, chunks in made.chunks.items():
        first = 0
        for chunk in chunks:
            behind = first + len(chunk.text.split())
            places[f"{name}:{chunk.index}"] = (name, first, behind)
            first = behind
    for question in questions:
        grades: dict[str, int] = {}
        for speech, first, behind, grade in question["relevant"]:
            for chunk, (name, start, end) in places.items():
                if name == speech and 2 * (min(end, behind) - max(start, first)) >= behind - first:
                    grades[chunk] = max(grade, grades.get(chunk, 0))
        yield grades


def ndcg(runs: list[Run], grades: list[dict[str, int]]) -> list[float]:
    """nDCG@10 of each question; 0 where nothing was found."""
    qrels = [Qrel(str(n), chunk, grade) for n, of in enumerate(grades) for chunk, grade in of.items()]
    scored = [ScoredDoc(str(n), chunk, -float(rank)) for n, run in enumerate(runs) for rank, chunk in enumerate(run)]
    values = {metric.query_id: metric.value for metric in ir_measures.iter_calc([MEASURE], qrels, scored)}
    return [values.get(str(n), 0.0) for n in range(len(grades))]


def rows(questions: list[Question], scores: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    """Means over the questions of each kind, and over all, in each half."""
    kinds = list(dict.fromkeys(question["kind"] for question in questions))
    for half in ("report", "choice"):
        for kinds_of_row in [*([kind] for kind in kinds), kinds]:
            chosen = [n for n, of in enumerate(questions) if of["half"] == half and of["kind"] in kinds_of_row]
            means = {way: round(fmean(scores[way][n] for n in chosen), 3) for way in WAYS}
            yield {
                "half": half,
                "kind": kinds_of_row[0] if len(kinds_of_row) == 1 else "all",
                "n": len(chosen),
                **means,
            }


if __name__ == "__main__":
    main()

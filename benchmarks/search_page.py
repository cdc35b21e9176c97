"""Makes the measured section of docs/search.md from the JSON files that search_quality.py and search_speed.py write.

    python benchmarks/search_page.py

Needs nothing but the files, so that a test can see whether the page holds what was measured.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "search.md"
BEGIN, END = "<!-- measured: made by benchmarks/search_page.py -->", "<!-- measured: end -->"
# Of Airflow's environment, in which the benchmarks of search run.
PACKAGES = ("channelscribe", "ir_measures")
GOAL_S = 0.3

Result = Mapping[str, Any]


def write(name: str, result: Result) -> None:
    """Write a result and the page."""
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def made(page: str) -> str:
    """The page with the section as it should be."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    lines: list[str] = []
    for name, heading, table in (
        ("search_quality", "### How good", quality_table),
        ("search_speed", "### How fast", speed_table),
    ):
        path = RESULTS / f"{name}.json"
        if path.exists():
            lines += [heading, "", *table(json.loads(path.read_text(encoding="utf-8"))), ""]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"{END}{after}"


def quality_table(result: Result) -> Iterator[str]:
    """nDCG@10 by kind of question."""
    yield _where(result)
    yield from ("", "| questions | number | words | vectors | merged |", "| --- | ---: | ---: | ---: | ---: |")
    halves = {"report": "", "choice": ", the other half"}
    for row in result["rows"]:
        if row["half"] == "report" or row["kind"] == "all":
            figures = " | ".join(f"{row[way]:.3f}" for way in ("words", "vectors", "merged"))
            yield f"| {row['kind']}{halves[row['half']]} | {row['n']} | {figures} |"


def speed_table(result: Result) -> Iterator[str]:
    """Times, and memory."""
    yield _where(result)
    yield from ("", "| what | times | p50 s | p95 s | worst s | processor s |",
                "| --- | ---: | ---: | ---: | ---: | ---: |")  # fmt: skip
    for row in result["rows"]:
        times = " | ".join(f"{row[name]:.3f}" for name in ("p50_s", "p95_s", "worst_s"))
        processor = "-" if row["processor_s"] is None else f"{row['processor_s']:.2f}"
        yield f"| {row['what']} | {row['n']} | {times} | {processor} |"
    answer = result["rows"][0]["p95_s"]
    idle, loaded = (result["memory_bytes"][state] / 1e6 for state in ("idle", "loaded"))
    yield ""
    yield (
        f"The goal, an answer within {1000 * GOAL_S:.0f} ms at the 95th percentile, is "
        f"{'met' if answer < GOAL_S else 'missed'}: {1000 * answer:.0f} ms. The embedder's two processes have "
        f"{idle:.0f} MB while it is idle and {loaded:.0f} MB with the model."
    )


def _where(result: Result) -> str:
    machine = result["machine"]
    return (
        f"`{result['command']}`, {machine['at'][:10]}: {result['n_chunks']} chunks, {' '.join(result['model'])}; "
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"load {machine['load_average']} before; Python {machine['python']}."
    )


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

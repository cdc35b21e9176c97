"""How long a search takes with the resident embedder, and without.

    python benchmarks/search_speed.py [--queries 200] [--commands 20] [--loads 3]

Run by the Python of Airflow's environment. The archive is that of speeches.py, the queries are the words of its first
utterances, no two the same. Measured are: the answer of the embedder once it has its model, as `search` waits for it;
the first answer after it was started or idle, which loads the model; the whole command `channelscribe search`; the same
without an embedder; and the memory of its processes. For the commands their processor time is given, too, which other
work on the machine changes less. Prints Markdown, and writes benchmarks/results/search_speed.json
and docs/search.md.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import machine
import numpy as np
import psutil
import search_archive
import search_page
import speeches
from search_archive import Archive

from channelscribe.contracts import Query
from channelscribe.store.search.resident_embedder import ask_embedder

IDLE_S = 5.0
_COMMAND = Path(sys.executable).with_name("channelscribe")


def main() -> None:
    """Measure, print and write."""
    options = _options()
    about = machine.describe(search_page.PACKAGES)
    with search_archive.archive() as made:
        words = [" ".join(words[at : at + 6]) for words in speeches.speeches().values() for at in range(0, 600, 6)]
        queries = iter(dict.fromkeys(words))
        rows, memory = _with_embedder(made, queries, options)
        before = _processor_s()
        without = [_timed(lambda: _search(made, next(queries))) for _ in range(options.loads)]
        rows.append(_row("the whole command, without an embedder", without, _processor_s() - before))
    result = {
        "command": "benchmarks/search_speed.py",
        "machine": about,
        "model": list(speeches.MODEL),
        "n_chunks": sum(map(len, made.chunks.values())),
        "rows": rows,
        "memory_bytes": memory,
    }
    search_page.write("search_speed", result)
    sys.stdout.write("\n".join(search_page.speed_table(result)) + "\n")


def _with_embedder(
    made: Archive, queries: Iterator[str], options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows of what is measured with an embedder, and its memory without the model and with it."""
    with search_archive.embedder(made.settings, IDLE_S) as server:
        first = []
        for _ in range(options.loads):
            (holder,) = server.children()
            first.append(_timed(lambda: _ask(made, next(queries))))
            holder.wait()
            while not server.children():
                time.sleep(0.05)
    with search_archive.embedder(made.settings, 600) as server:
        memory = {"idle": _resident(server)}
        _ask(made, next(queries))
        memory["loaded"] = _resident(server)
        answers = [_timed(lambda words=words: _ask(made, words)) for words in islice(queries, options.queries)]
        _search(made, next(queries))
        before = _processor_s()
        commands = [_timed(lambda words=words: _search(made, words)) for words in islice(queries, options.commands)]
        processor_s = _processor_s() - before
    rows = [
        _row("the embedder's answer", answers),
        _row("its first answer after it was idle", first),
        _row("the whole command", commands, processor_s),
    ]
    return rows, memory


def _resident(server: psutil.Process) -> int:
    """Bytes of memory that the server and its worker have together."""
    return sum(process.memory_info().rss for process in (server, *server.children()))


def _ask(made: Archive, words: str) -> None:
    model, revision = speeches.MODEL
    ask_embedder(made.settings.embedder_socket, Query(model=model, revision=revision, words=words), lambda _: None)


def _search(made: Archive, words: str) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHANNELSCRIBE_")},
        "CHANNELSCRIBE_HOME": str(made.settings.home),
        "CHANNELSCRIBE_ARCHIVE_DSN": made.dsn,
        "CHANNELSCRIBE_STAGES_PYTHON": str(made.settings.stages_interpreter),
    }
    subprocess.run([str(_COMMAND), "search", "--", words], env=environment, check=True, capture_output=True)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _processor_s() -> float:
    """Seconds of the processor that ended children, and theirs, have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(what: str, seconds: Sequence[float], processor_s: float | None = None) -> dict[str, Any]:
    """The figures of one way; ``processor_s`` is of all times together."""
    p50, p95 = np.percentile(seconds, [50, 95])
    return {
        "what": what,
        "n": len(seconds),
        "p50_s": round(p50, 4),
        "p95_s": round(p95, 4),
        "worst_s": round(max(seconds), 4),
        "processor_s": None if processor_s is None else round(processor_s / len(seconds), 2),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=200, help="queries to a loaded embedder")
    parser.add_argument("--commands", type=int, default=20, help="calls of the whole command")
    parser.add_argument("--loads", type=int, default=3, help="times that the model is loaded, in each way")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The part of docs/performance.md that is made from what archive_scale.py measured."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Results = Mapping[str, Any]

NOTE = """
Made videos, see `benchmarks/made_archive.py`. *Utterances/s* are of `store.bulk.fill`, with all that belongs to them,
from records in memory; *from files* as `channelscribe refill` does it, which reads and checks the artifacts. The
processors' µs are for an utterance from memory (this process + the server). *Indexes* are all indexes, constraints and
statistics, built after. *Daily* is 30 new videos loaded from their artifacts, one by one, into the full archive.
Searches are by words and by meaning together (*both*), and by each alone; ten hits with their words. Their *ms* are p50
/ p95, as a user waits; *of processor* is what this process and the server's for its connection worked for *both*.
*Recall* is of the ten nearest by meaning, mean and worst. *Load*, in the first table that of the fill, is the number of
processes that ran or wanted to: where it is above the number of cores, others had the machine, too, and waiting is most
of the time.
"""
FILL_HEAD = "utterances | utterances/s | from files | processors' µs | indexes s | GB | daily/s | a video s | load"
SEARCH_HEAD = "filter | chunks | both ms | of processor ms | words ms | meaning ms | recall@10 | worst"
RESTORE_HEAD = "utterances | backup s | GB | restore s | utterances/s, with indexes | load"


def section(scale: Results, machine: str) -> Iterator[str]:
    """The tables, as Markdown."""
    archives = scale["archives"]
    yield from (
        "",
        "### The archive at size",
        "",
        f"{machine}.",
        "",
        *NOTE.strip().splitlines(),
        *scale.get("note", "").splitlines(),
        "",
    )
    yield from _table(FILL_HEAD, map(_fill_row, archives))
    for archive in archives:
        searches = archive["searches"]
        of = f"{archive['fill']['n_utterances']:,} utterances, {archive['n_chunks']:,} chunks"
        yield from ("", f"**Search in {of}** ({searches['queries']} queries, load {searches['load_average']})", "")
        yield from _table(SEARCH_HEAD, (_search_row(name, row) for name, row in searches["filters"].items()))
    restored = [archive for archive in archives if "restore" in archive]
    if restored:
        yield from ("", "**Backup and restore**", "")
        yield from _table(RESTORE_HEAD, map(_restore_row, restored))


def _fill_row(archive: Results) -> str:
    fill, daily = archive["fill"], archive["daily"]
    worked = f"{fill['client_cpu_us']:.0f} + {fill['server_cpu_us']:.0f}" if "client_cpu_us" in fill else "-"
    rate = fill["n_utterances"] / fill["rows_s"]
    from_files = f"{fill['n_utterances'] / archive['refill']['rows_s']:,.0f}" if "refill" in archive else "-"
    return (
        f"| {fill['n_utterances']:,} | {rate:,.0f} | {from_files} | {worked} | {fill['indexes_s']:,.0f} | "
        f"{archive['bytes']['all'] / 1e9:.2f} | {daily['utterances_per_s']:,.0f} | {daily['video_p50_s']:.2f} | "
        f"{fill['load_average']} |"
    )


def _search_row(name: str, row: Results) -> str:
    kinds = ("both", "both_cpu", "words", "meaning")
    times = " | ".join(f"{row[f'{kind}_p50_ms']:.0f} / {row[f'{kind}_p95_ms']:.0f}" for kind in kinds)
    return f"| {name} | {row['chunks']:,} | {times} | {row['recall']:.3f} | {row['worst_recall']:.1f} |"


def _restore_row(archive: Results) -> str:
    n_utterances, row = archive["fill"]["n_utterances"], archive["restore"]
    return (
        f"| {n_utterances:,} | {row['backup_s']:.0f} | {row['bytes'] / 1e9:.2f} | {row['restore_s']:.0f} | "
        f"{n_utterances / row['restore_s']:,.0f} | {row['load_average']} |"
    )


def _table(head: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"| {head} |"
    yield "| --- |" + " ---: |" * head.count(" | ")
    yield from rows

"""Makes the section "Measured side by side" of docs/performance.md from the JSON files that bench.py writes.

    python benchmarks/page.py

Needs nothing but channelscribe's source beside it, so that a test can see whether the page holds what was measured.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import goals
import parts
import scale_page
import vram

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: made by benchmarks/page.py -->", "<!-- measured: end -->"
COMMANDS = {"cpu": "make bench", "gpu": "make bench-gpu"}
# Three hours take longer than all the rest. Memory, unlike speed, may be measured beside other work.
MEMORY = "memory-3h.json"
MEMORY_COMMAND = f"benchmarks/chain.py --minutes 60 180 --json benchmarks/results/{MEMORY}"

SCALE = "archive-scale.json"

Results = Mapping[str, Any]


def load() -> dict[str, Any]:
    """What was measured, by device; a device whose file is missing was not."""
    paths = {device: RESULTS / f"bench-{device}.json" for device in COMMANDS}
    return {device: json.loads(path.read_text(encoding="utf-8")) for device, path in paths.items() if path.exists()}


def load_memory() -> Results:
    """The chain over three hours; empty where it was not measured."""
    return _load(MEMORY)


def load_scale() -> Results:
    """The archive at size; empty where it was not measured."""
    return _load(SCALE)


def _load(name: str) -> Results:
    path = RESULTS / name
    found: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def write(result: dict[str, Any], device: str) -> None:
    """Write a device's results and the page."""
    _write(f"bench-{device}.json", result)


def write_scale(result: dict[str, Any]) -> None:
    """Write the results of archive_scale.py and the page."""
    _write(SCALE, result)


def _write(name: str, result: dict[str, Any]) -> None:
    (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def made(page: str) -> str:
    """The page with the section as it should be."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    memory, scale = load_memory(), load_scale()
    lines = [*_goal_lines(load(), memory, scale), "", *section(load()), *_memory_lines(memory)]
    if scale:
        lines += scale_page.section(scale, _machine(scale))
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def section(results: Results) -> list[str]:
    """The tables of what was measured, as Markdown."""
    lines: list[str] = []
    for device, result in results.items():
        lines += [f"### On the {device.upper()}", "", _where(result), ""]
        for name, command in parts.of_device(device).items():
            part = result["parts"].get(name, {"not_measured": "Not measured yet."})
            # Parts may have been measured on other days than the last one.
            day = part.get("at", result["machine"]["at"])[:10]
            now = f"benchmarks/{' '.join(command)}"
            measured = f"`{part['command']}`, {day}" if "command" in part else f"`{now}`"
            lines += [f"**{name.capitalize()}** ({measured})", ""]
            if part.get("command", now) != now:
                lines += [f"`{result['command']}` measures it by `{now}` now.", ""]
            lines += [*_part_lines(name, part), ""]
    return lines[:-1]


def _memory_lines(memory: Results) -> Iterator[str]:
    if not memory:
        return
    machine = memory["machine"]
    yield from ("", "### Memory over one and three hours", "")
    yield (
        f"`{MEMORY_COMMAND}`, {machine['at'][:10]}, on the machine of `make bench` beside other work: speeds are "
        "left out."
    )
    yield ""
    rows = [
        f"| {name} | {length['minutes']:g} | {stage['peak_memory_bytes'] / 1e9:.2f} |"
        for length in memory["lengths"]
        for name, stage in length["stages"].items()
    ]
    yield from _table("stage | minutes | peak memory GB", rows)


def _goal_lines(results: Results, memory: Results, scale: Results) -> Iterator[str]:
    yield from ("| goal | measured | met |", "| --- | --- | --- |")
    for goal in goals.goals(results, memory, scale):
        yield f"| {goal.text} | {goal.measured or 'not measured'} | {goal.verdict} |"


def _where(result: Results) -> str:
    models = ", ".join(f"{model} ({revision})" for model, revision in result["models"].items())
    gpus = [part["result"]["machine"]["gpu"] for part in result["parts"].values() if _gpu_of(part)]
    return f"{_machine(result, *gpus[:1])}. Models and revisions: {models}."


def _machine(result: Results, *gpu: str) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    hardware = ", ".join([*gpu, f"{machine['cores']} cores of {machine['processor']}", f"{machine['memory_gib']} GiB"])
    return (
        f"`{result['command']}`, {machine['at'][:10]}: {hardware}, Linux {'.'.join(machine['kernel'].split('.')[:2])}, "
        f"load {machine['load_average']} before; Python {machine['python']}, {versions}"
    )


def _gpu_of(part: Results) -> Any:
    return part.get("result", {}).get("machine", {}).get("gpu")


def _part_lines(name: str, part: Results) -> Iterator[str]:
    if "result" in part:
        yield from _TABLES[name.split(",")[0]](part["result"])
    if "not_measured" in part:
        yield part["not_measured"]
    if "failed" in part:
        yield f"Failed: {part['failed']}"


def _table(head: str, rows: Iterator[str] | list[str]) -> Iterator[str]:
    names = head.split(" | ")
    yield f"| {head} |"
    yield "|" + "|".join(" --- " if number == 0 else " ---: " for number in range(len(names))) + "|"
    yield from rows


def errors_of(row: Results) -> str:
    """A recording's DER by stock and by ours, and ours less stock's, as cells; dashes where it was not measured."""
    if not row["der_percent"]:
        return "- | - | -"
    return f"{row['der_percent']['stock']:.2f} | {row['der_percent']['ours']:.2f} | {row['der_points']:+.2f}"


def _diarization(result: Results) -> Iterator[str]:
    random = ", random weights" if result.get("weights") == "random" else ""
    yield from (f"{result['model']}{random}, {result['precision']}, medians of {result['runs']} runs.", "")
    rows = [
        f"| {row['recording']} | {row['audio_s']:.0f} | {row['seconds']['stock']:.2f} | {row['seconds']['ours']:.2f} | "
        f"{row['rtfx']['ours']:.1f} | {row['times_stock']:.1f} | {errors_of(row)} |"
        for row in result["rows"]
    ]
    head = "recording | audio s | stock s | ours s | RTFx ours | times stock | DER stock % | DER ours % | points"
    yield from _table(head, rows)
    peak = {way: value / 1e9 for way, value in result["peak_memory_bytes"].items()}
    yield from ("", f"Over all {result['all']['times_stock']:.1f} times stock, as a ratio of sums. "
                f"Peak memory: stock {peak['stock']:.2f} GB, ours {peak['ours']:.2f} GB.")  # fmt: skip


def _voices(result: Results) -> Iterator[str]:
    rows = [
        f"| {name}, {model['weights']} weights, {model['precision']} | {row['way']} | {row['seconds']:.2f} | "
        f"{row['turns_per_s']:.1f} | {row['times_files']:.2f} | {row['worst_cosine']:.4f} | {_percent(row)} |"
        for name, model in result["models"].items()
        for row in model["rows"]
    ]
    yield from _table("model | way | seconds | turns/s | times temporary files | worst cosine | SM busy", rows)


def _texts(result: Results) -> Iterator[str]:
    rows = [
        f"| {model['model']}, {model['weights']} weights | {row['by']} | {row['precision']} | {row['batch']} | "
        f"{row['texts_per_s']:,.1f} | {row['tokens_per_s']:,.0f} | {row['times_stock'] or 0:.2f} | {_percent(row)} |"
        for model in result["architectures"].values()
        for row in model["rows"]
    ]
    yield from _table("model | by | precision | batch | texts/s | tokens/s | times stock | SM busy", rows)


def _transcription(result: Results) -> Iterator[str]:
    yield f"{result['model']}: {result['size']}, {result['weights']} weights, {result['tokens']} tokens of each 30 s,"
    yield from (f"{result['minutes']:g} min of audio, medians of {result['runs']}.", "")
    yield from transcription_table(result)


def transcription_table(result: Results) -> Iterator[str]:
    """The ways of transcription.py; dashes for a batch that did not fit."""
    rows = [
        f"| {row['way']} | {_or_dash(row['seconds'], '.1f')} | {_or_dash(row['rtfx'], '.1f')} | "
        f"{_or_dash(row['vram_gib'], '.2f')} | {_percent(row)} |"
        for row in result["ways"]
    ]
    yield from _table("way | seconds | RTFx | VRAM GiB | SM busy", rows)


def _chain(result: Results) -> Iterator[str]:
    if result.get("weights", "real") != "real":
        yield from (f"Profile `{result['profile']}`, {result['weights']} weights.", "")
    rows = []
    for length in result["lengths"]:
        stages = {**length["stages"], "all": {**length, "work_rtfx": None, "device": "", "sm_percent": None}}
        rows += [
            f"| {name} | {length['minutes']:g} | {stage['device']} | {stage['seconds']:.1f} | {stage['rtfx']:.1f} | "
            f"{_or_dash(stage['work_rtfx'], '.1f')} | {stage['peak_memory_bytes'] / 1e9:.2f} | "
            f"{vram.compared(stage)} | {_percent(stage)} |"
            for name, stage in stages.items()
        ]
    head = "stage | minutes | device | seconds | RTFx | RTFx of the work | peak memory GB | VRAM GiB | SM busy"
    yield from _table(head, rows)


def _quality(result: Results) -> Iterator[str]:
    rows = [f"| {row['recording']} | {row['measure']} | {row['percent']:.2f} |" for row in result["rows"]]
    yield from _table("recording | measure | %", rows)


def _percent(row: Results) -> str:
    return "-" if row.get("sm_percent") is None else f"{row['sm_percent']:.0f} %"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


_TABLES = {
    "diarization": _diarization,
    "voice embedding": _voices,
    "text embedding": _texts,
    "transcription": _transcription,
    "chain": _chain,
    "quality": _quality,
}


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

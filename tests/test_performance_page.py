"""docs/performance.md holds what benchmarks/results/ holds."""

import itertools
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

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


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_part_was_measured_or_is_named_as_not_measured(modules, device: str) -> None:
    page, _ = modules
    import parts

    measured = page.load().get(device, {"parts": {}})["parts"]
    section = page.PAGE.read_text(encoding="utf-8").split(f"### On the {device.upper()}")[1].split("\n### ")[0]
    for name, command in parts.of_device(device).items():
        (part,) = section.split(f"**{name.capitalize()}** (")[1:]
        part = part.split("\n**")[0]
        if "result" not in measured.get(name, {}):
            assert "Not measured" in part
        # What was measured in another way than it would be now says so, too.
        assert f"`benchmarks/{' '.join(command)}`" in part
    assert not set(measured) - set(parts.of_device(device))


def test_a_part_measured_alone_leaves_the_others_as_they_were(modules, tmp_path, monkeypatch) -> None:
    page, _ = modules
    import bench
    import machine

    for name in ("RESULTS", "PAGE"):
        path = tmp_path / getattr(page, name).name
        copy = shutil.copytree if name == "RESULTS" else shutil.copy
        copy(getattr(page, name), path)
        monkeypatch.setattr(page, name, path)
    described = {**page.load()["cpu"]["machine"], "at": "2030-01-02T03:04:05+00:00"}
    rows = [{"way": "a way", "seconds": 1.0, "rtfx": 60.0, "vram_gib": None, "sm_percent": None}]
    result = {
        "model": "w",
        "size": "turbo",
        "weights": "random",
        "tokens": 120,
        "minutes": 1.0,
        "runs": 3,
        "ways": rows,
    }
    commands = []

    def run(command):
        commands.append(command)
        return {"command": f"benchmarks/{' '.join(command)}", "at": described["at"], "result": result}

    before = page.load()["cpu"]["parts"]
    monkeypatch.setattr(machine, "describe", lambda: described)
    monkeypatch.setattr(bench, "_run", run)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "transcription"])
    assert bench.main() == 0
    assert [command[0] for command in commands] == ["transcription.py"]
    after = json.loads((tmp_path / "results" / "bench-cpu.json").read_text())["parts"]
    assert after["transcription"]["result"] == result
    assert all(after[name]["result"] == part["result"] for name, part in before.items() if name != "transcription")
    assert list(after) == [name for name in bench.parts.of_device("cpu") if name in after]
    assert "| a way | 1.0 | 60.0 |" in page.PAGE.read_text()

    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "transcribing"])
    with pytest.raises(SystemExit, match="No such part: transcribing; choose from diarization,"):
        bench.main()


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


def test_the_gpu_is_judged_by_the_production_models(modules) -> None:
    _, goals = modules

    def verdicts(profile: str) -> list[str]:
        stages = {
            "diarize": {"work_rtfx": 600.0, "sm_percent": 85.0},
            "transcribe": {"work_rtfx": 400.0, "sm_percent": 95.0},
            "identify_speakers": {"work_rtfx": 3000.0, "sm_percent": 81.0},
            "embed_text": {"work_rtfx": 1.0, "sm_percent": None},
        }
        rows = [
            {"by": "channelscribe", "texts_per_s": 3500.0, "of_stage": True},
            {"by": "channelscribe", "texts_per_s": 10.0, "of_stage": False},
        ]
        parts = {
            "chain": {"result": {"profile": profile, "lengths": [{"minutes": 60, "stages": stages}]}},
            "text embedding": {"result": {"architectures": {"qwen3-0.6b": {"rows": rows}}}},
        }
        return [goal.verdict for goal in goals.goals({"gpu": {"parts": parts}})[6:9]]

    assert verdicts("gpu") == ["yes", "yes", "yes"]
    assert verdicts("bundled-cuda") == ["yes", "not measured", "not measured"]


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


def test_memory_of_the_gpu_is_what_was_taken_beyond_what_was_before(modules, monkeypatch) -> None:
    import vram

    def gpu(*gib: float | None) -> SimpleNamespace:
        readings = itertools.chain(gib[:-1], itertools.repeat(gib[-1]))
        memory = (None if value is None else SimpleNamespace(used=value * 2**30) for value in readings)
        return SimpleNamespace(_nvml=SimpleNamespace(nvmlDeviceGetMemoryInfo=None), _query=lambda _: next(memory))

    for readings, peak in (((1.0, 3.5), 2.5), ((1.0, 3.5, 2.0), 2.5), ((None,), None)):
        monkeypatch.setattr(vram, "open_gpu", lambda readings=readings: nullcontext(gpu(*readings)))
        monkeypatch.setattr(vram, "_INTERVAL_S", 0.001)
        with vram.VramPeak("cuda") as taken:
            while len(readings) > 2 and taken.peak_gib is None:
                time.sleep(0.001)
        assert taken.peak_gib == peak
    with vram.VramPeak("cpu") as taken:
        pass
    assert taken.peak_gib is None
    assert vram.compared({"vram_gib": 2.5, "vram_of_profile_gib": 4}) == "2.50 of 4"
    assert vram.compared({}) == "-"

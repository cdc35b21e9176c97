"""Diarization: stock pyannote.audio beside ours, with the same weights and the same parameters.

    python benchmarks/diarization.py [--model bundled|community-1] [--device cpu|cuda] [--minutes 1] [--voices 2 3 4]
        [--runs 3] [--json FILE]

Run by the Python of the stages' environment. Each way is a process of its own: stock with the environment and the
threads that torch has by default, ours as the stage has it. Both hear the same recordings in turns, run after run,
after one that counts for nothing; figures are medians of the wall seconds. The recordings are the 30 s of dialogue in
pyannote.audio's package, and made conversations where the packages of their voices are installed (see
conversations.py); where they are not, recordings of the models' packages are tiled to the same length, for speed alone.
DER is pyannote.metrics', over the whole recording, without collar, with overlap. community-1 has its true format and
architecture, but random weights in its speaker network and PLDA, which are as fast: its DER would say nothing. Prints
Markdown. Without a GPU, `--device cuda` says so, and ends with 78.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import conversations
import machine
import numpy as np
import page
import random_models
import recordings
from conversations import Conversation

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Turn
from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED, GPU, Profile
from channelscribe.telemetry.nvml import NoGpuError, open_gpu

WAYS = ("stock", "ours")
PROFILES = {"bundled": BUNDLED, "community-1": GPU}


def main() -> int:
    """Measure, print and write; returns the exit code."""
    options = _options()
    gpu = None
    if options.device == "cuda":
        try:
            with open_gpu() as found:
                gpu = found.name
        except NoGpuError as error:
            sys.stdout.write(f"Not measured, as no GPU was found here: {error}.\n")
            return int(ExitCode.MISCONFIGURED)
    described = {**machine.describe(), "gpu": gpu}
    spoken = [sample(), *_long(options.voices, options.minutes)]
    profile = PROFILES[options.model]
    spec, random = profile.stages["diarize"], profile is GPU
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        if random:
            random_models.write_diarizer(Path(folder))
            os.environ["CHANNELSCRIBE_MODELS_ROOT"] = folder
        answers, peaks = _measure(spoken, profile, options.device, options.runs)
    rows = [_row(one, answers[one.name], random=random) for one in spoken]
    result = {
        "machine": described, "device": options.device, "model": spec.model,
        "revision": None if random else spec.revision, "weights": "random" if random else "real",
        "precision": "float32" if options.device == "cpu" else "float32, ours TF32", "runs": options.runs,
        "peak_memory_bytes": peaks, "rows": rows, "all": _all(rows),
    }  # fmt: skip
    _print(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def sample() -> Conversation:
    """The dialogue in pyannote.audio's package, with its reference."""
    path = recordings.path_of("pyannote.audio", "sample/sample.wav")
    fields = [line.split() for line in path.with_suffix(".rttm").read_text(encoding="utf-8").splitlines()]
    turns = [
        Turn(start_s=float(start), end_s=float(start) + float(length), cluster=speaker)
        for _, _, _, start, length, _, _, speaker, *_ in fields
    ]
    return Conversation("sample.wav", recordings.decode(path), tuple(turns))


def _long(numbers: list[int], minutes: float) -> list[Conversation]:
    """Made conversations; for want of voices a recording without a reference."""
    voices = conversations.installed_voices()
    made = [
        conversations.converse(f"{number} made voices", voices[:number], minutes, seed=number)
        for number in numbers
        if number <= len(voices)
    ]
    if made or not numbers:
        return made
    return [Conversation("tiled, as the packages of voices are missing", recordings.recording(minutes), ())]


def _measure(
    spoken: list[Conversation], profile: Profile, device: str, runs: int
) -> tuple[dict[str, dict[str, list[dict[str, Any]]]], dict[str, int]]:
    """Recording -> way -> the answers of its runs; and the peak memory of each way."""
    answers: dict[str, dict[str, list[dict[str, Any]]]] = {one.name: {way: [] for way in WAYS} for one in spoken}
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        workers = {way: _start(way, profile, device) for way in WAYS}
        try:
            for run in range(runs + 1):
                # One that counts for nothing warms each worker up; of a short recording, as stock takes its time.
                for one in spoken if run else spoken[:1]:
                    path = Path(folder) / f"{spoken.index(one)}.npy"
                    np.save(path, one.waveform)
                    for way, worker in workers.items():
                        answer = _ask(way, worker, path)
                        if run:
                            answers[one.name][way].append(answer)
        finally:
            for worker in workers.values():
                assert worker.stdin  # noqa: S101 - a pipe, see _start
                worker.stdin.close()
                worker.wait(60)
    peaks = {way: max(a["peak_memory_bytes"] for ways in answers.values() for a in ways[way]) for way in WAYS}
    return answers, peaks


def _start(way: str, profile: Profile, device: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if way == "stock":
        # Set by channelscribe.models, for ours.
        environment.pop("OMP_WAIT_POLICY", None)
    program = Path(__file__).with_name("diarization_worker.py")
    return subprocess.Popen(
        [sys.executable, str(program), way, profile.name, device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def _ask(way: str, worker: subprocess.Popen[str], path: Path) -> dict[str, Any]:
    assert worker.stdin and worker.stdout  # noqa: S101 - pipes, see _start
    worker.stdin.write(f"{path}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"The process of {way} ended with {worker.wait(60)}.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _row(one: Conversation, answers: dict[str, list[dict[str, Any]]], *, random: bool) -> dict[str, Any]:
    """A recording's figures; no DER where there is no reference, or weights are random."""
    seconds = {way: [answer["seconds"] for answer in answers[way]] for way in WAYS}
    medians = {way: median(times) for way, times in seconds.items()}
    errors = {way: der(one, answers[way][-1]["turns"]) for way in WAYS} if one.turns and not random else None
    audio_s = len(one.waveform) / SAMPLE_RATE_HZ
    return {
        "recording": one.name,
        "audio_s": round(audio_s, 2),
        "seconds": {way: round(medians[way], 3) for way in WAYS},
        "all_seconds": {way: [round(value, 3) for value in seconds[way]] for way in WAYS},
        "rtfx": {way: round(audio_s / medians[way], 2) for way in WAYS},
        "times_stock": round(medians["stock"] / medians["ours"], 2),
        "der_percent": errors and {way: round(100 * errors[way], 2) for way in WAYS},
        "der_points": errors and round(100 * (errors["ours"] - errors["stock"]), 2) + 0.0,  # no -0.0
    }


def _all(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all recordings: ratios of sums, and by how much our DER is higher than stock's where it is worst."""
    audio_s = sum(row["audio_s"] for row in rows)
    seconds = {way: sum(row["seconds"][way] for row in rows) for way in WAYS}
    return {
        "audio_s": round(audio_s, 2),
        "rtfx": {way: round(audio_s / seconds[way], 2) for way in WAYS},
        "times_stock": round(seconds["stock"] / seconds["ours"], 2),
        "worst_der_points": max((row["der_points"] for row in rows if row["der_percent"]), default=None),
    }


def der(one: Conversation, turns: list[tuple[float, float, str]]) -> float:
    """The diarization error rate, between 0 and 1 or above, of turns as (start, end, cluster)."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(spans: list[tuple[float, float, str]]) -> Any:
        result = Annotation()
        for track, (start_s, end_s, label) in enumerate(spans):
            result[Segment(start_s, end_s), track] = label
        return result

    whole = Timeline([Segment(0, len(one.waveform) / SAMPLE_RATE_HZ)])
    reference = annotation([(turn.start_s, turn.end_s, turn.cluster) for turn in one.turns])
    return float(DiarizationErrorRate(collar=0.0, skip_overlap=False)(reference, annotation(turns), uem=whole))


def _print(result: dict[str, Any]) -> None:
    lines = [
        f"Diarization, {result['model']}, {result['weights']} weights, {result['precision']} on {result['device']}; "
        f"medians of {result['runs']}.",
        "",
        "| recording | audio s | stock s | ours s | times stock | DER stock % | DER ours % | points |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        seconds = row["seconds"]
        lines.append(
            f"| {row['recording']} | {row['audio_s']:.0f} | {seconds['stock']:.2f} | {seconds['ours']:.2f} | "
            f"{row['times_stock']:.2f} | {page.errors_of(row)} |"
        )
    lines += ["", f"Over all, ours is {result['all']['times_stock']:.2f} times as fast."]
    sys.stdout.write("\n".join(lines) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(PROFILES), default="bundled")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of a made conversation")
    parser.add_argument("--voices", type=int, nargs="*", default=[2, 3, 4], help="of the made conversations")
    parser.add_argument("--runs", type=int, default=3, help="runs that are measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Voice embeddings: through temporary files one by one, in memory one by one, and all turns in one call.

    python benchmarks/voice_embedding.py [--model campplus|ecapa ...] [--device cpu|cuda] [--turns 40] [--runs 3]
        [--batch-frames N ...] [--json FILE]

Run by the Python of the stages' environment. CAM++ has its real weights, ECAPA the true architecture of
spkrec-ecapa-voxceleb with random ones, which are as fast. All ways embed the same turns of real speech with the same
weights, in turns, run after run; figures are medians. The first way is that of the script this project came from: each
turn is written to a temporary WAV file, read back, and embedded alone. With --batch-frames ECAPA's batches are measured
in other sizes than the device's own, too. Prints Markdown. Without a GPU, `--device cuda` says so, and ends with 78.
"""

import argparse
import json
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np
import random_ecapa
import recordings
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import GpuSample, Turn
from channelscribe.errors import ExitCode
from channelscribe.models import VoiceEncoder
from channelscribe.profiles import BUNDLED, GPU, StageSpec
from channelscribe.speakers.voices import Windowing, embed_turns, windowing_of
from channelscribe.telemetry.gpu import GpuSampler
from channelscribe.telemetry.nvml import NoGpuError, open_gpu

SPECS = {"campplus": BUNDLED.stages["identify_speakers"], "ecapa": GPU.stages["identify_speakers"]}
FILES, MEMORY, ONE_CALL = "temporary files, one by one", "in memory, one by one", "one call"

Embed = Callable[[], NDArray[np.float32]]


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
    results = {}
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        for name in dict.fromkeys(options.model):
            results[name] = _measure(name, options, Path(folder))
            _print(name, results[name], options.device)
    if options.json:
        content = {"machine": described, "device": options.device, "models": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    spec = SPECS[name]
    waveform = recordings.recording(10)
    turns = _turns(options.turns, len(waveform) / SAMPLE_RATE_HZ)
    audio_s = sum(turn.duration_s for turn in turns)
    seconds, worst, busy = _interleaved(_ways(name, spec, waveform, turns, options, folder), options)
    slowest = median(seconds[FILES])
    rows = [
        {
            "way": way,
            "seconds": round(median(times), 4),
            "seconds_min": round(min(times), 4),
            "seconds_max": round(max(times), 4),
            "sm_percent": machine.busy_percent(busy[way]),
            "turns_per_s": round(len(turns) / median(times), 2),
            "rtfx": round(audio_s / median(times), 1),
            "times_files": round(slowest / median(times), 2),
            "worst_cosine": round(worst[way], 5),
        }
        for way, times in seconds.items()
    ]
    lengths = [round(float(value), 2) for value in np.percentile([turn.duration_s for turn in turns], [0, 50, 100])]
    return {
        "model": spec.model, "revision": spec.revision if name == "campplus" else None,
        "weights": "real" if name == "campplus" else "random",
        "precision": "float32" if options.device == "cpu" else "TF32",
        "turns": len(turns), "audio_s": round(audio_s, 1), "turn_s": lengths, "runs": options.runs, "rows": rows,
    }  # fmt: skip


def _ways(
    name: str,
    spec: StageSpec,
    waveform: NDArray[np.float32],
    turns: Sequence[Turn],
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, Embed]:
    windowing = windowing_of(spec.parameters)

    def all_at_once(encoder: VoiceEncoder) -> Embed:
        return lambda: embed_turns(waveform, SAMPLE_RATE_HZ, turns, encoder, windowing)[1]

    if name == "campplus":
        from channelscribe.models.campplus import load

        encoder: VoiceEncoder = load(spec, options.device)
        others: dict[str, Embed] = {}
    else:
        from channelscribe.models.ecapa import Ecapa

        random_ecapa.write_ecapa(folder / name, waveform[: 60 * SAMPLE_RATE_HZ])
        encoder = Ecapa(folder / name, options.device)
        others = {
            f"{ONE_CALL}, batches of {frames} frames": all_at_once(Ecapa(folder / name, options.device, frames))
            for frames in options.batch_frames
        }
    return {
        FILES: lambda: _through_files(waveform, turns, encoder, windowing),
        MEMORY: lambda: np.concatenate(
            [embed_turns(waveform, SAMPLE_RATE_HZ, [turn], encoder, windowing)[1] for turn in turns]
        ),
        ONE_CALL: all_at_once(encoder),
        **others,
    }


def _through_files(
    waveform: NDArray[np.float32], turns: Sequence[Turn], encoder: VoiceEncoder, windowing: Windowing
) -> NDArray[np.float32]:
    embeddings = []
    for turn in turns:
        samples = waveform[int(turn.start_s * SAMPLE_RATE_HZ) : int(turn.end_s * SAMPLE_RATE_HZ)]
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            with wave.open(file.name, "wb") as wav:
                wav.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
                wav.writeframes((samples * 32767).astype("<i2").tobytes())
            read = decode(Path(file.name))
        whole = Turn(start_s=0.0, end_s=len(read) / SAMPLE_RATE_HZ, cluster=turn.cluster)
        embeddings.append(embed_turns(read, SAMPLE_RATE_HZ, [whole], encoder, windowing)[1])
    return np.concatenate(embeddings)


def _turns(number: int, audio_s: float) -> list[Turn]:
    """Turns as long as those of conversations: half of them below 3 s, none below 0.5 or above 30 s."""
    chosen = np.random.default_rng(0)
    lengths = chosen.lognormal(np.log(3.0), 0.9, number).clip(0.5, 30.0)
    starts = chosen.uniform(0, audio_s - 30.0, number)
    return [
        Turn(start_s=round(float(start), 3), end_s=round(float(start + length), 3), cluster="A")
        for start, length in zip(starts, lengths, strict=True)
    ]


def _interleaved(
    ways: dict[str, Embed], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, list[GpuSample]]]:
    """Seconds of each way, run after run in turns, after a first that counts for nothing; how near; GPU samples.

    How near is the least cosine similarity to what a turn gives by itself, in memory.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    embeddings: dict[str, NDArray[np.float32]] = {}
    busy: dict[str, list[GpuSample]] = {way: [] for way in ways}
    for run in range(options.runs + 1):
        for way, embed in ways.items():
            with GpuSampler(options.device) as gpu:
                started = time.perf_counter()
                embeddings[way] = embed()  # ends with an array in main memory: a GPU is done by then
                taken_s = time.perf_counter() - started
            if run:
                seconds[way].append(taken_s)
                busy[way] += gpu.samples or ()
    worst = {way: float((found * embeddings[MEMORY]).sum(1).min()) for way, found in embeddings.items()}
    return seconds, worst, busy


def _print(name: str, result: dict[str, Any], device: str) -> None:
    shortest, middle, longest = result["turn_s"]
    lines = [
        f"{name}: {result['model']}, {result['weights']} weights, {result['precision']} on {device}; "
        f"{result['turns']} turns of {shortest} to {longest} s, half of them below {middle} s; medians of "
        f"{result['runs']} runs.",
        "",
        "| way | seconds | turns/s | RTFx | times temporary files | worst cosine |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        figures = "{seconds:.2f} | {turns_per_s:.1f} | {rtfx:.0f} | {times_files:.2f} | {worst_cosine:.4f}".format(
            **row
        )
        lines.append(f"| {row['way']} | {figures} |")
    sys.stdout.write("\n".join([*lines, "", ""]))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=list(SPECS), default=list(SPECS))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--turns", type=int, default=40, help="turns to embed")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way that are measured")
    parser.add_argument("--batch-frames", type=int, nargs="+", default=[], help="other sizes of ECAPA's batches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Speech recognition by Whisper beside the obvious stock use of its library, over the same weights.

    python benchmarks/transcription.py [--size turbo|tiny] [--device cpu|cuda] [--minutes 10] [--tokens 120]
        [--runs 3] [--batch N ...] [--reference] [--json FILE]

Run by the Python of the stages' environment. The architecture is large-v3-turbo's (or a tiny one, to see that this
program works), the weights are random, which is as fast: such a model never ends by itself, so every window of 30 s
gets exactly ``--tokens`` tokens. Quality can't be measured so. Stock use is `WhisperModel.transcribe`, one window after
another, without fallback, and without times of words, which ours measures too. All ways hear the same audio in turns,
run after run; figures are medians. VRAM is that of the model and the batch, by NVML, beyond what was taken before; a
batch that does not fit has no figures. Prints Markdown. Without a GPU, `--device cuda` says so, and ends with 78.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np
import page
import random_whisper
from numpy.typing import NDArray
from vram import VramPeak

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import GpuSample, Span
from channelscribe.errors import ExitCode
from channelscribe.model_registry import folder_name
from channelscribe.models import whisper
from channelscribe.profiles import GPU, GPU_REFERENCE
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.stages.gpu_faults import is_out_of_memory
from channelscribe.telemetry.gpu import GpuSampler
from channelscribe.telemetry.nvml import NoGpuError, open_gpu

SIZES = {"turbo": random_whisper.LARGE_V3_TURBO, "tiny": random_whisper.TINY}
FAST, REFERENCE = GPU.stages["transcribe"], GPU_REFERENCE.stages["transcribe"]
WINDOW_S = 30


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
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder, VramPeak(options.device) as vram:
        os.environ["CHANNELSCRIBE_MODELS_ROOT"] = folder
        _write_models(Path(folder), options)
        rows = _measure(options, vram)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    result = {
        "machine": {**machine.describe(), "gpu": gpu}, **settings, "model": FAST.model, "weights": "random",
        "ways": rows,
    }  # fmt: skip
    _print(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _write_models(root: Path, options: argparse.Namespace) -> None:
    fast, reference = (root / folder_name(spec.model, spec.revision) for spec in (FAST, REFERENCE))
    reference.mkdir(parents=True)
    fast.parent.mkdir(parents=True)
    random_whisper.write_openai_checkpoint(reference / "babble.pt", SIZES[options.size])
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        random_whisper.write_ctranslate2_folder(reference / "babble.pt", fast, Path(scratch), "float16")


def _measure(options: argparse.Namespace, vram: VramPeak) -> list[dict[str, Any]]:
    """A row for each way; without figures where the GPU's memory did not hold its batch."""
    n_windows = max(1, round(options.minutes * 60 / WINDOW_S))
    waveform = np.random.default_rng(0).normal(scale=0.05, size=n_windows * WINDOW_S * SAMPLE_RATE_HZ)
    ways = _ways(waveform.astype(np.float32), n_windows, options)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[GpuSample]] = {name: [] for name in ways}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.runs):
        for name, work in list(ways.items()):
            vram.restart()
            try:
                with GpuSampler(options.device) as gpu:
                    started = time.perf_counter()
                    work()
                    seconds[name].append(time.perf_counter() - started)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                del ways[name]
                continue
            busy[name] += gpu.samples or ()
            taken[name] += [] if vram.peak_gib is None else [vram.peak_gib]
    audio_s = n_windows * WINDOW_S
    return [
        {
            "way": name,
            "seconds": median(seconds[name]) if name in ways else None,
            "rtfx": audio_s / median(seconds[name]) if name in ways else None,
            "vram_gib": max(taken[name], default=None),
            "sm_percent": machine.busy_percent(busy[name]),
        }
        for name in seconds
    ]


def _ways(
    waveform: NDArray[np.float32], n_windows: int, options: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    """Name -> what is measured; each is warm, as its model is loaded and has heard a window."""
    whisper._MAX_TOKENS = options.tokens
    regions = [Span(start_s=WINDOW_S * i, end_s=WINDOW_S * (i + 1)) for i in range(n_windows)]
    fast: Any = load_engine(FAST, options.device, Clock())

    def stock() -> object:
        segments, _ = fast._model.transcribe(
            waveform,
            language="en",
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            no_speech_threshold=None,
            # Of which CTranslate2 gives the text half, less what the prompt takes.
            max_new_tokens=2 * options.tokens - 4,
        )
        return list(segments)

    def ours(engine: Any, batch: int) -> Callable[[], object]:
        def work() -> object:
            engine.batch_size = batch
            return engine.transcribe(waveform, regions, "en")

        return work

    ways = {"stock, one window at a time": stock}
    for batch in dict.fromkeys(options.batch or [1, fast.batch_size]):
        ways[f"faster-whisper, batch {batch}"] = ours(fast, batch)
    fast.transcribe(waveform, regions[:1], "en")
    if options.reference:
        reference: Any = load_engine(REFERENCE, options.device, Clock())
        reference.transcribe(waveform, regions[:1], "en")
        ways["openai-whisper, the reference"] = ours(reference, 1)
    return ways


def _print(result: dict[str, Any]) -> None:
    where = result["machine"]["gpu"] or f"{result['machine']['cores']} cores of {result['machine']['processor']}"
    lines = [
        f"Whisper, {result['size']}, random weights, {result['minutes']:g} min of audio, {result['tokens']} tokens a "
        f"window, {where}; medians of {result['runs']}:",
        "",
        *page.transcription_table(result),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="turbo")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0, help="of audio")
    parser.add_argument("--tokens", type=int, default=120, help="of each window of 30 s, at most 224")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", help="regions at once; 1 and the profile's by default")
    parser.add_argument("--reference", action="store_true", help="OpenAI's own code, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

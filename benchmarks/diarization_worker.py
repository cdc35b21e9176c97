"""Diarizes what it is told to, one recording after another: a process of diarization.py's.

    python benchmarks/diarization_worker.py stock|ours PROFILE DEVICE

Reads the paths of arrays from its input, a line each, and answers each with a line of JSON: seconds, turns, and the
peak memory of the process.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from channelscribe.telemetry.memory import peak_memory_bytes

Turns = list[tuple[float, float, str]]


def main() -> None:
    """Load, then answer until the input ends."""
    way, profile, device = sys.argv[1:]
    # Whatever the libraries print goes to the errors, not among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    diarize = (_stock if way == "stock" else _ours)(profile, device)
    for line in sys.stdin:
        waveform = np.load(line.strip())
        started = time.perf_counter()
        turns = diarize(waveform)
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "turns": turns, "peak_memory_bytes": peak_memory_bytes()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _stock(profile: str, device: str) -> Callable[[Any], Turns]:
    # First, so that torch's threads begin with the environment of the process, not with that of channelscribe.models.
    import stock_diarization
    import torch

    from channelscribe.audio import SAMPLE_RATE_HZ
    from channelscribe.profiles import get_profile

    pipeline = stock_diarization.load_stock(get_profile(profile).stages["diarize"], device)

    def diarize(waveform: Any) -> Turns:
        file = {"waveform": torch.from_numpy(waveform)[None], "sample_rate": SAMPLE_RATE_HZ, "uri": "benchmark"}
        annotation = pipeline(file).speaker_diarization
        return [(turn.start, turn.end, label) for turn, _, label in annotation.itertracks(yield_label=True)]

    return diarize


def _ours(profile: str, device: str) -> Callable[[Any], Turns]:
    from channelscribe.profiles import get_profile
    from channelscribe.stages.clock import Clock
    from channelscribe.stages.engines import load_engine

    engine: Any = load_engine(get_profile(profile).stages["diarize"], device, Clock())

    def diarize(waveform: Any) -> Turns:
        turns, _, _ = engine.diarize(waveform, "benchmark")
        return [(turn.start_s, turn.end_s, turn.cluster) for turn in turns]

    return diarize


if __name__ == "__main__":
    main()

import importlib.util
import io
import runpy
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Turn
from channelscribe.profiles import BUNDLED

pytestmark = pytest.mark.stages


@pytest.fixture(scope="module")
def diarizer():
    from channelscribe.models.diarization import load

    return load(BUNDLED.stages["diarize"], "cpu")


@pytest.fixture(scope="module")
def found(diarizer, dialogue: NDArray[np.float32]):
    return diarizer.diarize(dialogue, "sample")


def test_der_of_the_dialogue(found, recordings: dict[str, Path]) -> None:
    from pyannote.database.util import load_rttm
    from pyannote.metrics.diarization import DiarizationErrorRate

    reference = load_rttm(recordings["dialogue"].with_suffix(".rttm"))["sample"]
    hypothesis = load_rttm(io.StringIO(found[2]))["sample"]
    # No collar, overlapping speech scored.
    assert DiarizationErrorRate(collar=0.0, skip_overlap=False)(reference, hypothesis) <= 0.06


def test_two_voices_and_exclusive_turns_exclude_each_other(found) -> None:
    turns, exclusive, _ = found
    assert {turn.cluster for turn in turns} == {"SPEAKER_00", "SPEAKER_01"}
    assert all(before.end_s <= after.start_s for before, after in pairwise(exclusive))
    assert any(before.end_s > after.start_s for before, after in pairwise(turns))
    assert turns == sorted(turns, key=lambda turn: turn.start_s)


@pytest.mark.parametrize("seconds", [0, 0.005, 0.3, 12])
def test_silence_has_no_turns(diarizer, seconds: float) -> None:
    assert diarizer.diarize(np.zeros(int(seconds * 16000), np.float32), "silence") == ([], [], "")


def test_noise_is_nobody(diarizer) -> None:
    noise = np.random.default_rng(0).normal(scale=0.05, size=16000 * 12).astype(np.float32)
    assert diarizer.diarize(noise, "noise")[0] == []


def test_it_says_where_its_parameters_are(diarizer) -> None:
    assert diarizer.device == "cpu"


@pytest.fixture(scope="module")
def stock():
    """pyannote's own pipeline, with the same weights and parameters."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    return runpy.run_path(str(benchmarks / "stock_diarization.py"))["load_stock"](BUNDLED.stages["diarize"], "cpu")


@pytest.fixture(scope="module")
def conversations() -> Iterator[ModuleType]:
    """What puts conversations together from the voices of Debian's packages."""
    path = Path(__file__).parents[2] / "benchmarks" / "conversations.py"
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("conversations", path))
        patch.setitem(sys.modules, "conversations", module)  # its dataclasses look there for their types
        module.__spec__.loader.exec_module(module)
        yield module


def reference_turns(recordings: dict[str, Path]) -> list[Turn]:
    """The dialogue's own reference."""
    lines = [line.split() for line in recordings["dialogue"].with_suffix(".rttm").read_text().splitlines()]
    return [
        Turn(start_s=float(line[3]), end_s=float(line[3]) + float(line[4]), cluster=line[7]) for line in lines if line
    ]


def der(reference: Sequence[Turn], hypothesis: Any, audio_s: float) -> float:
    """Diarization error rate, without collar, overlapping speech scored."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    annotation = Annotation()
    for index, turn in enumerate(reference):
        annotation[Segment(turn.start_s, turn.end_s), index] = turn.cluster
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    return float(metric(annotation, hypothesis, uem=Timeline([Segment(0.0, audio_s)])))


def assert_as_good_as_stock(diarizer, stock, waveform: NDArray[np.float32], reference: Sequence[Turn]) -> None:
    """The goal: within 0.3 points of stock on every recording."""
    import torch
    from pyannote.database.util import load_rttm

    audio_s = len(waveform) / SAMPLE_RATE_HZ
    theirs = stock({"waveform": torch.from_numpy(waveform)[None], "sample_rate": SAMPLE_RATE_HZ, "uri": "x"})
    ours = load_rttm(io.StringIO(diarizer.diarize(waveform, "x")[2]))["x"]
    stock_der = der(reference, theirs.speaker_diarization, audio_s)
    assert stock_der < 0.5  # else it says nothing that ours is no worse
    assert der(reference, ours, audio_s) <= stock_der + 0.003


def test_the_telephone_call_is_diarized_as_well_as_by_stock(diarizer, stock, dialogue, recordings) -> None:
    assert_as_good_as_stock(diarizer, stock, dialogue, reference_turns(recordings))


@pytest.mark.parametrize("seconds", [40, 320])  # with every window embedded by itself, and with every fifth
def test_three_voices_are_diarized_as_well_as_by_stock(
    diarizer, stock, dialogue, reading, recordings, seconds: int
) -> None:
    """The dialogue's two, one after the other, a reader between them."""
    random = np.random.default_rng(0)
    pieces: list[NDArray[np.float32]] = []
    turns: list[Turn] = []

    def add(piece: NDArray[np.float32], voice: str) -> None:
        at_s = sum(map(len, pieces)) / SAMPLE_RATE_HZ
        turns.append(Turn(start_s=at_s, end_s=at_s + len(piece) / SAMPLE_RATE_HZ, cluster=voice))
        pieces.extend([piece, random.normal(scale=5e-4, size=SAMPLE_RATE_HZ // 2).astype(np.float32)])

    spoken = [turn for turn in reference_turns(recordings) if turn.duration_s > 1.5]
    while sum(map(len, pieces)) < seconds * SAMPLE_RATE_HZ:
        for index in random.permutation(len(spoken)):
            turn = spoken[index]
            add(dialogue[int(turn.start_s * SAMPLE_RATE_HZ) : int(turn.end_s * SAMPLE_RATE_HZ)], turn.cluster)
            if random.random() < 0.5:
                start = int(random.uniform(2, 35) * SAMPLE_RATE_HZ)
                add(reading[start : start + 4 * SAMPLE_RATE_HZ], "reader")
    assert len({turn.cluster for turn in turns}) == 3
    assert_as_good_as_stock(diarizer, stock, np.concatenate(pieces), turns)


@pytest.mark.parametrize(("n_voices", "seed"), [(2, 0), (3, 1), (3, 2)])
def test_conversations_are_diarized_as_well_as_by_stock(
    diarizer, stock, conversations, n_voices: int, seed: int
) -> None:
    voices = sorted(conversations.installed_voices())
    if len(voices) < n_voices:
        pytest.skip("the voices of Debian's packages are not installed: see benchmarks/conversations.py")
    chosen = np.random.default_rng(seed).choice(voices, n_voices, replace=False)
    made = conversations.converse("made", list(map(str, chosen)), minutes=0.7, seed=seed)
    assert_as_good_as_stock(diarizer, stock, made.waveform, made.turns)

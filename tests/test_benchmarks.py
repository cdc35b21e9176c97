"""The benchmarks of the production models work, over random weights in their true formats."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from channelscribe.models import ENGINES
from channelscribe.profiles import GPU
from channelscribe.settings import PROJECT_ROOT, get_settings
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

pytestmark = pytest.mark.stages

BENCHMARKS = PROJECT_ROOT / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import conversations
        import diarization
        import random_models
        import transcription

        yield SimpleNamespace(
            conversations=conversations,
            diarization=diarization,
            random_models=random_models,
            transcription=transcription,
        )
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_models_of_the_production_chain_are_taken_for_the_real_ones(modules, tmp_path: Path, monkeypatch) -> None:
    modules.random_models.write_all(tmp_path, tiny=True)
    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(tmp_path))
    get_settings.cache_clear()
    try:
        engines = {
            stage: load_engine(spec, "cpu", Clock()) for stage, spec in GPU.stages.items() if spec.engine in ENGINES
        }
    finally:
        get_settings.cache_clear()
    assert list(engines) == ["diarize", "transcribe", "identify_speakers", "embed_text"]
    # Texts have about as many tokens as with the real vocabulary.
    assert engines["embed_text"].count_tokens(["It was the spring of hope, it was the winter of despair."])[0] < 20


def test_for_want_of_voices_a_recording_of_the_same_length_is_diarized(modules, monkeypatch) -> None:
    monkeypatch.setattr(modules.conversations, "installed_voices", list)
    (tiled,) = modules.diarization._long([2, 3], 0.5)
    assert "voices are missing" in tiled.name and len(tiled.waveform) == 30 * 16_000
    answers = {way: [{"seconds": seconds, "turns": []}] for way, seconds in (("stock", 6.0), ("ours", 2.0))}
    row = modules.diarization._row(tiled, answers, random=False)
    assert (row["times_stock"], row["rtfx"]["ours"], row["der_percent"], row["der_points"]) == (3.0, 15.0, None, None)
    assert modules.diarization._all([row])["worst_der_points"] is None
    assert "| - | - | - |" in "\n".join(modules.diarization.page._diarization(
        {"model": "m", "precision": "float32", "runs": 1, "rows": [row], "all": {"times_stock": 3.0},
         "peak_memory_bytes": {"stock": 1, "ours": 1}}
    ))  # fmt: skip


def test_of_random_weights_there_is_no_error_rate(modules) -> None:
    sample = modules.diarization.sample()
    answers = {way: [{"seconds": 1.0, "turns": [(0.0, 30.0, "A")]}] for way in ("stock", "ours")}
    rows = [modules.diarization._row(sample, answers, random=random) for random in (False, True)]
    assert rows[0]["der_percent"]["ours"] > 0 and rows[1]["der_percent"] is None


def test_a_batch_that_does_not_fit_has_no_figures(modules, monkeypatch) -> None:
    def too_much() -> None:
        raise RuntimeError("CUDA failed with error out of memory")  # as CTranslate2 says it

    ways = {"batch 1": lambda: None, "batch 64": too_much}
    monkeypatch.setattr(modules.transcription, "_ways", lambda *_: ways)
    options = SimpleNamespace(minutes=0.5, runs=2, device="cpu")
    fits, does_not = modules.transcription._measure(options, modules.transcription.VramPeak("cpu"))
    assert fits["seconds"] is not None and (does_not["seconds"], does_not["rtfx"]) == (None, None)
    table = "\n".join(modules.transcription.page.transcription_table({"ways": [fits, does_not]}))
    assert "| batch 64 | - | - | - | - |" in table

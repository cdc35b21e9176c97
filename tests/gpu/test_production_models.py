"""The production engines on a real GPU beside the CPU, over the same small random weights; skipped without a GPU."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Span
from channelscribe.models import ENGINES
from channelscribe.profiles import GPU, GPU_REFERENCE, StageSpec
from channelscribe.settings import PROJECT_ROOT, get_settings
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

DEVICE = "cuda"
SPECS = {stage: spec for stage, spec in GPU.stages.items() if spec.engine in ENGINES}
WHISPERS = {spec.engine: spec for spec in (GPU.stages["transcribe"], GPU_REFERENCE.stages["transcribe"])}

Load = Callable[[StageSpec, str], Any]


pytestmark = pytest.mark.stages


@pytest.fixture(scope="module")
def load(tmp_path_factory) -> Iterator[Load]:
    """What loads an engine as its stage does, from a folder of models with random weights."""
    from channelscribe.model_registry import folder_name

    root = tmp_path_factory.mktemp("models")
    reference = root / folder_name(WHISPERS["openai-whisper"].model, WHISPERS["openai-whisper"].revision)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT_ROOT / "benchmarks"))
        import random_models
        import random_whisper

        random_models.write_all(root, tiny=True)
        reference.mkdir(parents=True)
        random_whisper.write_openai_checkpoint(reference / "babble.pt")
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(root))
        get_settings.cache_clear()
        yield lambda spec, device: load_engine(spec, device, Clock())
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """20 s of a telephone call, two speakers."""
    import importlib.util

    from channelscribe.audio import decode

    found = importlib.util.find_spec("pyannote.audio")
    assert found is not None and found.origin is not None
    return decode(Path(found.origin).parent / "sample" / "sample.wav")[8 * SAMPLE_RATE_HZ : 28 * SAMPLE_RATE_HZ]


@pytest.mark.parametrize("stage", SPECS)
def test_all_parameters_are_on_the_gpu(load: Load, stage: str) -> None:
    assert load(SPECS[stage], DEVICE).device == DEVICE


@pytest.mark.parametrize("engine", WHISPERS)
def test_whisper_in_half_precision_hears_what_it_hears_on_the_cpu(load: Load, speech, engine: str) -> None:
    there, here = (load(WHISPERS[engine], device) for device in (DEVICE, "cpu"))
    clips = [speech[: 5 * SAMPLE_RATE_HZ], speech[: 10 * SAMPLE_RATE_HZ]]
    told = [[list(clip.values()) for clip in each.languages(each.encode(clips))] for each in (there, here)]
    assert cosines(*map(np.array, told)).min() >= 0.99

    # More than a batch of them.
    regions = [Span(start_s=start / 2, end_s=start / 2 + 0.5) for start in range(20)]
    lines = [[line for heard in each.transcribe(speech, regions, "en").regions for line in heard.lines]
             for each in (there, here)]  # fmt: skip
    assert len(lines[0]) >= 15
    assert all(0 <= word.start_s <= word.end_s <= 10 for line in lines[0] for word in line.words)
    sure = [float(np.mean([line.avg_logprob for line in each])) for each in lines]
    assert sure[0] == pytest.approx(sure[1], rel=0.1)


def test_voice_embeddings_do_not_depend_on_device_or_batch(load: Load, speech) -> None:
    there, here = (load(SPECS["identify_speakers"], device) for device in (DEVICE, "cpu"))
    items = [speech[16_000 * start :][: int(seconds * 16_000)] for start, seconds in enumerate((12, 0.3, 7.1, 1, 3.3))]
    together = there.embed(items)
    for other in (there, here):
        alone = np.concatenate([other.embed([item]) for item in items])
        assert cosines(together, alone).min() >= 0.998


def test_text_embeddings_in_bfloat16_are_those_of_the_cpu(load: Load) -> None:
    texts = ["It was the spring of hope.", "Oh, hello. I didn't know you were there.", "no " * 60]
    there, here = (load(SPECS["embed_text"], device) for device in (DEVICE, "cpu"))
    assert {str(parameter.dtype) for parameter in there._model.parameters()} == {"torch.bfloat16"}
    assert cosines(there.embed(texts), here.embed(texts)).min() >= 0.99


def test_community_1_finds_the_speech_that_it_finds_on_the_cpu(load: Load, speech) -> None:
    found = [load(SPECS["diarize"], device).diarize(speech, "talk")[0] for device in (DEVICE, "cpu")]
    spoken = [
        {step for turn in turns for step in range(round(turn.start_s * 100), round(turn.end_s * 100))}
        for turns in found
    ]
    assert len(spoken[1]) > 500
    assert len(spoken[0] ^ spoken[1]) <= 50  # of 10 ms


def cosines(some: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return (some * others).sum(axis=1) / norms

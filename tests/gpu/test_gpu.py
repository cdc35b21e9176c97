"""The engines and the telemetry on a real GPU; skipped where there is none."""

import time

import numpy as np
import pytest

from channelscribe.profiles import BUNDLED_CUDA
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.telemetry.gpu import GpuSampler

DEVICE = "cuda"
SPECS = {stage: spec for stage, spec in BUNDLED_CUDA.stages.items() if spec.device == "cuda"}


pytestmark = pytest.mark.stages


@pytest.mark.parametrize("stage", SPECS)
def test_all_parameters_are_on_the_gpu(stage: str) -> None:
    assert load_engine(SPECS[stage], DEVICE, Clock()).device == DEVICE


def test_text_embeddings_are_those_of_the_cpu() -> None:
    texts = ["It was the spring of hope.", "Oh, hello. I didn't know you were there."]
    there, here = (load_engine(SPECS["embed_text"], device, Clock()).embed(texts) for device in (DEVICE, "cpu"))
    assert (there * here).sum(1).min() >= 0.999


def test_voice_embeddings_are_those_of_the_cpu() -> None:
    noise = np.random.default_rng(0).normal(scale=0.05, size=5 * 16000).astype(np.float32)
    engines = [load_engine(SPECS["identify_speakers"], device, Clock()) for device in (DEVICE, "cpu")]
    there, here = (engine.embed([engine.features(noise)]) for engine in engines)
    assert (there * here).sum() >= 0.999


def test_work_shows_in_the_samples() -> None:
    import torch

    matrix = torch.ones(4096, 4096, device=DEVICE)
    with GpuSampler(DEVICE) as sampler:
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            (matrix @ matrix).sum().item()
    assert sampler.unavailable is None
    assert sampler.samples is not None and len(sampler.samples) >= 3
    assert max(sample.vram_percent or 0 for sample in sampler.samples) > 0
    # A partition of a GPU (MIG) has no such figure.
    busy = [sample.sm_percent for sample in sampler.samples if sample.sm_percent is not None]
    assert not busy or max(busy) > 20

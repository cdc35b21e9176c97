"""What holds for every voice encoder, as the stage uses it: by `embed_turns`, with the windowing of its profile."""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Turn
from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED, GPU, StageSpec
from channelscribe.speakers.voices import VoiceCache, embed_turns, windowing_of
from channelscribe.stages import engines
from channelscribe.stages.clock import Clock

pytestmark = pytest.mark.stages

SPECS = {"campplus": BUNDLED.stages["identify_speakers"], "ecapa": GPU.stages["identify_speakers"]}


class Counted:
    """An encoder, and how it was called."""

    def __init__(self, encoder: Any, spec: StageSpec) -> None:
        self.encoder, self.spec = encoder, spec
        self.device = encoder.device
        self.features = encoder.features
        self.calls: list[int] = []

    def embed(self, items: Sequence[Any]) -> NDArray[np.float32]:
        self.calls.append(len(items))
        return self.encoder.embed(items)

    def embed_turns(self, waveform: NDArray[np.float32], turns: Sequence[Turn], cache: Path | None = None):
        stored = VoiceCache(cache, self.spec.model) if cache else None
        windowing = windowing_of(self.spec.parameters)
        return embed_turns(waveform, SAMPLE_RATE_HZ, turns, self, windowing, stored)


@pytest.fixture(scope="module", params=list(SPECS))
def loaded(request, ecapa_models):
    spec = SPECS[request.param]
    return spec, engines.load_engine(spec, "cpu", Clock())


@pytest.fixture
def encoder(loaded) -> Counted:
    spec, engine = loaded
    return Counted(engine, spec)


def turns(*spans: tuple[float, float]) -> list[Turn]:
    return [
        Turn(start_s=start, end_s=end, cluster=f"SPEAKER_{index % 3:02}") for index, (start, end) in enumerate(spans)
    ]


TURNS = turns((0, 0.6), (1, 3.3), (4, 9.9), (10, 11), (12, 40), (41, 41.3))


def test_all_turns_of_all_clusters_go_through_one_call_and_files_have_no_part(
    encoder, reading, tmp_path, side_effects
) -> None:
    encoder.embed_turns(reading, TURNS[:1])  # what is loaded late is loaded now
    encoder.calls.clear()
    with side_effects() as none:
        found, embeddings = encoder.embed_turns(reading, TURNS)
    assert none == []
    with side_effects() as written:
        encoder.embed_turns(reading, TURNS, tmp_path / "voices" / "cache.npz")
    # One file, the cache itself, under the name it has until it is whole; Python announces its folder, too.
    (new,) = {Path(path) for _, path in written} - {tmp_path / "voices"}
    assert new.parent == tmp_path / "voices" and new.name.startswith(".new-")
    assert found == TURNS[:-1]
    assert embeddings.shape == (5, 192) and embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert len(encoder.calls) == 2
    assert [path.name for path in (tmp_path / "voices").iterdir()] == ["cache.npz"]


def test_turns_together_are_turns_one_by_one(encoder, reading) -> None:
    found, together = encoder.embed_turns(reading, TURNS)
    alone = np.concatenate([encoder.embed_turns(reading, [turn])[1] for turn in found])
    assert (together * alone).sum(1).min() >= 0.998
    assert (together @ together.T - np.eye(len(found))).max() < 0.998  # turns differ: mixed up, they would be noticed
    _, reverse = encoder.embed_turns(reading, TURNS[::-1])
    assert (together * reverse[::-1]).sum(1).min() >= 0.998


def test_what_was_embedded_is_not_embedded_again(encoder, reading, tmp_path) -> None:
    cache = tmp_path / "cache.npz"
    _, once = encoder.embed_turns(reading, TURNS[:3], cache)
    encoder.calls.clear()
    _, twice = encoder.embed_turns(reading, TURNS[:3], cache)
    assert encoder.calls == [] and np.array_equal(once, twice)
    encoder.embed_turns(reading, TURNS[:4], cache)
    assert len(encoder.calls) == 1


def test_no_turn_too_short_a_turn_and_no_audio(encoder) -> None:
    for waveform, asked in ((np.zeros(16000, np.float32), []), (np.zeros(16000, np.float32), turns((0, 0.4)))):
        assert encoder.embed_turns(waveform, asked)[0] == []
    assert encoder.embed_turns(np.zeros(0, np.float32), turns((0, 5)))[0] == []
    assert encoder.calls == []


def test_silence_has_an_embedding_like_any_other(encoder) -> None:
    _, embeddings = encoder.embed_turns(np.zeros(80_000, np.float32), turns((0, 1), (1, 5)))
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(8000, 1), (16000, 2), (48000, 1), (48000, 2)])
def test_any_format_is_nearly_the_same_voice(encoder, reading, tmp_path, rate_hz: int, n_channels: int) -> None:
    import librosa

    path = tmp_path / "clip.wav"
    samples = librosa.resample(reading[: 8 * 16000], orig_sr=16000, target_sr=rate_hz)
    with wave.open(str(path), "wb") as file:
        file.setparams((n_channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(np.repeat((samples * 32767).astype("<i2"), n_channels).tobytes())
    _, original = encoder.embed_turns(reading, turns((0, 8)))
    _, found = encoder.embed_turns(decode(path), turns((0, 8)))
    similarity = float((original @ found.T)[0, 0])
    assert found.shape == (1, 192)
    # Half of the band is missing at 8 kHz, which random weights take for another sound altogether.
    assert similarity > (0.99 if rate_hz > 8000 else 0.6 if "campplus" in encoder.spec.engine else -1)


def test_three_hours_with_few_turns(encoder, reading) -> None:
    waveform = np.zeros(3 * 3600 * SAMPLE_RATE_HZ, np.float32)  # memory that nobody touches takes no room
    at = len(waveform) - len(reading)
    waveform[at:] = reading
    start_s = at / SAMPLE_RATE_HZ
    found, embeddings = encoder.embed_turns(waveform, turns((start_s, start_s + 5), (start_s + 10, start_s + 12)))
    _, expected = encoder.embed_turns(reading, turns((0, 5), (10, 12)))
    assert len(found) == 2 and (embeddings * expected).sum(1).min() >= 0.998


def test_a_long_turn_is_capped(encoder, reading) -> None:
    long = np.concatenate([reading, reading])
    _, embeddings = encoder.embed_turns(long, turns((0, 80), (0, 60)))
    assert np.array_equal(embeddings[0], embeddings[1])
    assert encoder.calls == [1 if encoder.spec.engine == "speechbrain" else 39]


def test_a_model_on_another_device_than_asked_for_is_found_out(loaded, monkeypatch) -> None:
    spec, engine = loaded
    monkeypatch.setattr(engines, "require_gpu", lambda model: None)
    monkeypatch.setattr(engines, "model_folder", lambda model, revision: None)
    monkeypatch.setattr(f"{type(engine).__module__}.load", lambda spec, device: engine)
    with pytest.raises(MisconfiguredError, match="was asked to run on cuda but is on cpu"):
        engines.load_engine(spec, "cuda", Clock())

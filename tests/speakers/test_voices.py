"""Windows and the cache, with an encoder simple enough to compute its results by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.contracts import Turn
from channelscribe.profiles import BUNDLED, GPU
from channelscribe.speakers.voices import VoiceCache, Windowing, embed_turns, windowing_of

RATE_HZ = 100  # one sample a frame
WINDOWING = Windowing(window_s=1.0, hop_s=0.5, min_turn_s=0.5, max_turn_s=4.0)


class DirectionEncoder:
    """A frame is its sample; a stretch is the direction (mean, 1). It counts what it is asked for."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.lengths: set[int] = set()

    def features(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        return waveform

    def embed(self, items: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        self.batches.append(len(items))
        self.lengths |= {len(item) for item in items}
        vectors = np.array([[item.mean(), 1.0] for item in items], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def turn(start_s: float, end_s: float) -> Turn:
    return Turn(start_s=start_s, end_s=end_s, cluster="A")


@pytest.fixture
def waveform() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=1000).astype(np.float32)


def test_one_pass_for_all_turns_with_windows_of_one_length(waveform: NDArray[np.float32]) -> None:
    encoder = DirectionEncoder()
    turns = [turn(0, 0.7), turn(1, 3.3), turn(4, 5)]
    embedded, embeddings = embed_turns(waveform, RATE_HZ, turns, encoder, WINDOWING)
    assert embedded == turns
    assert encoder.batches == [1 + 4 + 1]  # 2.3 s: windows at 0, 0.5, 1.0 and one that ends with the turn
    assert encoder.lengths == {100}
    assert embeddings.shape == (3, 2) and embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1, 1, 1])


def test_short_turns_get_none_and_long_ones_are_capped(waveform: NDArray[np.float32]) -> None:
    encoder = DirectionEncoder()
    turns = [turn(0, 0.4), turn(1, 9.5)]
    embedded, capped = embed_turns(waveform, RATE_HZ, turns, encoder, WINDOWING)
    _, four_seconds = embed_turns(waveform, RATE_HZ, [turn(1, 5)], encoder, WINDOWING)
    assert embedded == turns[1:]
    assert np.array_equal(capped, four_seconds)


def test_nothing_is_extracted_twice(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path / "cache.npz", "model")
    first = DirectionEncoder()
    _, once = embed_turns(waveform, RATE_HZ, [turn(0, 1), turn(2, 4)], first, WINDOWING, cache)
    again = DirectionEncoder()
    _, twice = embed_turns(waveform, RATE_HZ, [turn(2, 4), turn(0, 1), turn(5, 6)], again, WINDOWING, cache)
    assert again.batches == [1]
    assert np.array_equal(twice[:2], once[::-1])


def test_other_audio_at_the_same_time_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path / "cache.npz", "model")
    results = [
        embed_turns(np.full(200, level, np.float32), RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, cache)
        for level in (0.1, 0.9)
    ]
    assert not np.allclose(results[0][1], results[1][1])


def test_another_model_or_windowing_is_not_taken_from_the_cache(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    encoder, cache = DirectionEncoder(), tmp_path / "cache.npz"
    for model, windowing in (("a", WINDOWING), ("b", WINDOWING), ("a", Windowing(min_turn_s=0.5, max_turn_s=4.0))):
        embed_turns(waveform, RATE_HZ, [turn(0, 2)], encoder, windowing, VoiceCache(cache, model))
    assert len(encoder.batches) == 3


def test_without_windows_an_encoder_gets_whole_turns(waveform: NDArray[np.float32]) -> None:
    encoder = DirectionEncoder()
    whole = Windowing(min_turn_s=0.5, max_turn_s=4.0)
    _, embeddings = embed_turns(waveform, RATE_HZ, [turn(0, 0.7), turn(1, 3.3), turn(4, 9)], encoder, whole)
    assert encoder.batches == [3] and encoder.lengths == {70, 230, 400}
    assert np.allclose(embeddings[1:2], DirectionEncoder().embed([waveform[100:330]]))


def test_the_profiles_cut_turns_as_their_models_want_them() -> None:
    assert windowing_of(BUNDLED.stages["identify_speakers"].parameters) == Windowing(0.5, 60.0, 3.0, 1.5)
    assert windowing_of(GPU.stages["identify_speakers"].parameters) == Windowing(0.5, 60.0, None, None)


def test_a_damaged_cache_is_made_anew(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    path = tmp_path / "cache.npz"
    cache = VoiceCache(path, "model")
    _, expected = embed_turns(waveform, RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, cache)
    for damaged in (b"", b"not an archive", path.read_bytes()[:-40]):
        path.write_bytes(damaged)
        _, embeddings = embed_turns(waveform, RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, cache)
        assert np.array_equal(embeddings, expected)


def test_no_turns(waveform: NDArray[np.float32]) -> None:
    embedded, embeddings = embed_turns(waveform, RATE_HZ, [], DirectionEncoder(), WINDOWING)
    assert embedded == [] and len(embeddings) == 0

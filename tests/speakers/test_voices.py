"""Windows and the cache, with an encoder simple enough to compute its results by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.contracts import Turn
from channelscribe.speakers.voices import Windowing, embed_turns

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


def test_one_pass_for_all_turns_with_windows_of_one_length(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    encoder = DirectionEncoder()
    turns = [turn(0, 0.7), turn(1, 3.3), turn(4, 5)]
    embedded, embeddings = embed_turns(waveform, RATE_HZ, turns, encoder, WINDOWING, tmp_path / "cache.npz")
    assert embedded == turns
    assert encoder.batches == [1 + 4 + 1]  # 2.3 s: windows at 0, 0.5, 1.0 and one that ends with the turn
    assert encoder.lengths == {100}
    assert embeddings.shape == (3, 2) and embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1, 1, 1])


def test_short_turns_get_none_and_long_ones_are_capped(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    encoder = DirectionEncoder()
    turns = [turn(0, 0.4), turn(1, 9.5)]
    embedded, capped = embed_turns(waveform, RATE_HZ, turns, encoder, WINDOWING, tmp_path / "a.npz")
    _, four_seconds = embed_turns(waveform, RATE_HZ, [turn(1, 5)], encoder, WINDOWING, tmp_path / "b.npz")
    assert embedded == turns[1:]
    assert np.array_equal(capped, four_seconds)


def test_nothing_is_extracted_twice(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    cache = tmp_path / "cache.npz"
    first = DirectionEncoder()
    _, once = embed_turns(waveform, RATE_HZ, [turn(0, 1), turn(2, 4)], first, WINDOWING, cache)
    again = DirectionEncoder()
    _, twice = embed_turns(waveform, RATE_HZ, [turn(2, 4), turn(0, 1), turn(5, 6)], again, WINDOWING, cache)
    assert again.batches == [1]
    assert np.array_equal(twice[:2], once[::-1])


def test_other_audio_at_the_same_time_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    results = [
        embed_turns(
            np.full(200, level, np.float32), RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, tmp_path / "c"
        )
        for level in (0.1, 0.9)
    ]
    assert not np.allclose(results[0][1], results[1][1])


def test_a_damaged_cache_is_made_anew(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    cache = tmp_path / "cache.npz"
    _, expected = embed_turns(waveform, RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, cache)
    for damaged in (b"", b"not an archive", cache.read_bytes()[:-40]):
        cache.write_bytes(damaged)
        _, embeddings = embed_turns(waveform, RATE_HZ, [turn(0, 1)], DirectionEncoder(), WINDOWING, cache)
        assert np.array_equal(embeddings, expected)


def test_no_turns(waveform: NDArray[np.float32], tmp_path: Path) -> None:
    embedded, embeddings = embed_turns(waveform, RATE_HZ, [], DirectionEncoder(), WINDOWING, tmp_path / "cache.npz")
    assert embedded == [] and len(embeddings) == 0

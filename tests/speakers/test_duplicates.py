"""Speakers whose voices are near, by arrays alone."""

import numpy as np
import pytest

from channelscribe.speakers import duplicates
from channelscribe.speakers.duplicates import near_pairs


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_near_ones_are_paired_the_nearest_first() -> None:
    voices = unit((1, 0, 0), (0, 1, 0), (1, 0.5, 0), (1, 0.1, 0))
    pairs = near_pairs(voices, 0.8, 10)
    assert [pair[:2] for pair in pairs] == [(0, 3), (2, 3), (0, 2)]
    assert pairs[0][2] == pytest.approx(1 / np.sqrt(1.01))


def test_the_threshold_itself_is_near_enough() -> None:
    assert near_pairs(unit((1, 0), (0, 1)), 0.0, 10) == [(0, 1, 0.0)]


def test_no_more_than_asked_for() -> None:
    assert [pair[:2] for pair in near_pairs(unit(*[(1.0, 0.0)] * 4), 0.5, 2)] == [(0, 1), (0, 2)]


def test_nobody_and_one_alone_have_no_pair() -> None:
    assert near_pairs(np.empty((0, 3), np.float32), 0.5, 10) == []
    assert near_pairs(unit((1, 0)), 0.5, 10) == []


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    voices = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    whole = near_pairs(voices, 0.7, 1000)
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    assert [pair[:2] for pair in near_pairs(voices, 0.7, 1000)] == [pair[:2] for pair in whole]
    assert len(whole) == sum(voices[a] @ voices[b] >= 0.7 for a in range(50) for b in range(a + 1, 50)) > 50

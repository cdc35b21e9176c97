"""Which unknown voices of different videos are one."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from channelscribe.speakers import discovery
from channelscribe.speakers.discovery import group_voices


def people(n_people: int, n_videos: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 192) voices of people who all speak once in every video, (n,) their videos, and (n,) whose each is."""
    random = np.random.default_rng(seed)
    owners, videos = np.tile(np.arange(n_people), n_videos), np.repeat(np.arange(n_videos), n_people)
    centres = random.normal(size=(n_people, 192))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    voices = centres[owners] + noise * random.normal(size=(len(owners), 192)) / np.sqrt(192)
    return (voices / np.linalg.norm(voices, axis=1, keepdims=True)).astype(np.float32), videos, owners


def test_people_are_told_apart_and_found_again() -> None:
    voices, videos, owners = people(12, 9, noise=0.6)
    assert (group_voices(voices, videos, 0.5) == owners).all()  # counted in the order of their first rows


def test_the_order_of_videos_makes_no_difference() -> None:
    voices, videos, _ = people(20, 6, noise=1.1, seed=3)
    groups = group_voices(voices, videos, 0.45)
    assert groups.max() > 1 and (groups == -1).any()  # a hard case: not all are found
    order = np.random.default_rng(1).permutation(len(voices))
    shuffled = group_voices(voices[order], videos[order], 0.45)
    assert as_sets(groups) == {frozenset(order[list(rows)].tolist()) for rows in as_sets(shuffled)}


def as_sets(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups[groups >= 0])}


def test_two_voices_of_one_video_are_never_one() -> None:
    voice = np.eye(192, dtype=np.float32)[:1]
    groups = group_voices(np.repeat(voice, 4, axis=0), np.array([0, 0, 1, 1]), 0.7)
    assert sorted(groups.tolist()) == [0, 0, 1, 1]
    assert {tuple(sorted(rows)) for rows in as_sets(groups)} <= {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert group_voices(np.repeat(voice, 3, axis=0), np.array([0, 0, 0]), 0.7).tolist() == [-1, -1, -1]


def test_a_chain_of_alike_voices_is_not_one_voice() -> None:
    angles = np.deg2rad([0.0, 30.0, 60.0, 90.0, 120.0])  # each like the next (0.87), the ends unlike
    voices = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    groups = group_voices(voices, np.arange(5), 0.7)
    assert groups[0] != groups[4] and groups.max() == 1


def test_the_average_decides_at_the_threshold_itself() -> None:
    voices = np.array([[1.0, 0.0], [0.8, 0.6]], np.float32)
    assert group_voices(voices, np.array([0, 1]), 0.8).tolist() == [0, 0]
    assert group_voices(voices, np.array([0, 1]), 0.80001).tolist() == [-1, -1]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare(n: int) -> None:
    assert group_voices(np.zeros((n, 192), np.float32), np.zeros(n, np.int64), 0.7).tolist() == [-1] * n


def test_blocks_come_to_the_same(monkeypatch) -> None:
    voices, videos, _ = people(7, 5, noise=0.9, seed=5)
    whole = group_voices(voices, videos, 0.5)
    monkeypatch.setattr(discovery, "_BLOCK", 4)
    assert (group_voices(voices, videos, 0.5) == whole).all()

"""Speakers that may be one: those whose voices are near each other."""

import numpy as np
from numpy.typing import NDArray

# Rows compared at once, which bounds the memory.
_BLOCK = 1024


def near_pairs(voices: NDArray[np.float32], at_least: float, limit: int) -> list[tuple[int, int, float]]:
    """Pairs of voices by their cosine similarity, the nearest first.

    Args:
        voices: (n, dim) float32, L2-normalised: the mean direction of each speaker.
        at_least: similarity from which on a pair is taken.
        limit: most pairs to return.

    Returns:
        Rows of the two, the smaller first, and their similarity.
    """
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(voices), _BLOCK):
        scores = voices[start : start + _BLOCK] @ voices[start:].T
        first, second = np.nonzero(np.triu(scores >= at_least, k=1))
        found = scores[first, second]
        best = np.argsort(-found, kind="stable")[:limit]
        pairs += [(start + int(first[n]), start + int(second[n]), float(found[n])) for n in best]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:limit]

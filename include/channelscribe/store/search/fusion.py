"""Merging ranked lists."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

K = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[T]], k: int = K) -> list[tuple[T, float]]:
    """Merge rankings: an item's score is the sum of 1 / (k + rank) over the lists that have it, ranks from 1.

    G. V. Cormack, C. L. A. Clarke and S. Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual
    Rank Learning Methods", SIGIR 2009, with their k = 60.

    Args:
        rankings: lists, best first; none has an item twice.
        k: how little the first ranks count over the next.

    Returns:
        Items with their scores, best first; of equal scores, the one met first stands first.
    """
    scores: dict[T, float] = {}
    # Rank by rank, not list by list: of equal scores the better rank stands first, whichever list it comes from.
    for rank in range(max(map(len, rankings), default=0)):
        for ranking in rankings:
            if rank < len(ranking):
                scores[ranking[rank]] = scores.get(ranking[rank], 0.0) + 1 / (k + rank + 1)
    return sorted(scores.items(), key=lambda item: -item[1])

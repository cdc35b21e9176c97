"""Where, among the words of a chunk, the words of a query are said."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MatchedWord:
    """A spoken word: who says it, when, and the query's lexemes that it has."""

    speaker: str
    start_s: float
    lexemes: frozenset[str]


def best_run(words: Sequence[MatchedWord]) -> MatchedWord | None:
    """First word of the shortest run that holds every lexeme of the query that the words have at all.

    Args:
        words: in the order in which they are said.

    Returns:
        Of several shortest runs the first one's beginning; None where no word matches.
    """
    wanted = frozenset().union(*(word.lexemes for word in words))
    if not wanted:
        return None
    inside: Counter[str] = Counter()
    best: tuple[int, int] | None = None  # (length, first)
    first = 0
    for last, word in enumerate(words):
        inside.update(word.lexemes)
        while all(inside[lexeme] for lexeme in wanted):
            if best is None or last - first < best[0]:
                best = (last - first, first)
            inside.subtract(words[first].lexemes)
            first += 1
    return words[best[1]] if best else None

"""From words and exclusive turns to utterances: who said which words."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from channelscribe.contracts import Segment, Turn, Utterance, Word

# Silence that ends an utterance although the same voice goes on.
_MAX_GAP_S = 1.0
SENTENCE_ENDS = (".", "?", "!", "…", "。", "\uff1f", "\uff01")
"""What the last word of a sentence ends with."""


def words_to_turns(words: Sequence[Word], turns: Sequence[Turn]) -> NDArray[np.intp]:
    """Find the turn of each word: the one that it overlaps most, else the nearest.

    Args:
        words: sorted by start.
        turns: exclusive turns, sorted by start; at least one.

    Returns:
        (n_words,) indexes into ``turns``.
    """
    word_starts, word_ends = _edges([(word.start_s, word.end_s) for word in words])
    turn_starts, turn_ends = _edges([(turn.start_s, turn.end_s) for turn in turns])
    # Exclusive turns are sorted by both ends, so the word's neighbours are found by bisection. A word that reaches over
    # several turns may overlap one between those of its ends most: its middle lies there.
    candidates = np.stack(
        [
            np.searchsorted(turn_ends, word_starts, side="right"),
            np.searchsorted(turn_ends, (word_starts + word_ends) / 2, side="right"),
            np.searchsorted(turn_starts, word_ends, side="left") - 1,
        ]
    ).clip(0, len(turns) - 1)
    # Negative where they do not overlap: the distance, so that the nearest wins.
    overlap = np.minimum(turn_ends[candidates], word_ends) - np.maximum(turn_starts[candidates], word_starts)
    best = overlap.argmax(axis=0)
    chosen: NDArray[np.intp] = candidates[best, np.arange(len(words))]
    return chosen


def build_utterances(segments: Sequence[Segment], turns: Sequence[Turn], *, max_utterance_s: float) -> list[Utterance]:
    """Group consecutive words of one cluster into utterances.

    An utterance ends at a change of cluster, at a pause of a second, and before it gets longer than
    ``max_utterance_s``: then at the end of its last whole sentence, if it has one. It has the suspicions of the
    segments that its words come from.
    """
    words = [word for segment in segments for word in segment.words]
    if not words:
        return []
    clusters = [turns[index].cluster for index in words_to_turns(words, turns)]
    groups: list[tuple[str, list[Word]]] = []
    for word, cluster in zip(words, clusters, strict=True):
        if not groups or groups[-1][0] != cluster or word.start_s - groups[-1][1][-1].end_s > _MAX_GAP_S:
            groups.append((cluster, []))
        current = groups[-1][1]
        if current and word.end_s - current[0].start_s > max_utterance_s:
            groups.append((cluster, _split_off_last_sentence(current)))
        groups[-1][1].append(word)
    # Word by word, in the order of the words in the groups.
    suspicions = iter([segment.suspicions for segment in segments for _ in segment.words])
    return [
        Utterance(
            index=index,
            cluster=cluster,
            start_s=group[0].start_s,
            end_s=group[-1].end_s,
            words=tuple(group),
            suspicions=tuple(sorted({found for of_word in islice(suspicions, len(group)) for found in of_word})),
        )
        for index, (cluster, group) in enumerate(groups)
    ]


def _split_off_last_sentence(words: list[Word]) -> list[Word]:
    """Take the unfinished sentence off the end of the words, in place; nothing if there is no sentence before it."""
    ends = [index for index, word in enumerate(words) if word.text.endswith(SENTENCE_ENDS)]
    if not ends:
        return []
    rest = words[ends[-1] + 1 :]
    del words[ends[-1] + 1 :]
    return rest


def _edges(spans: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(spans, np.float64).reshape(-1, 2).T

"""From exclusive turns to the regions that are transcribed, and from a region's text to the times of its words."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from channelscribe.contracts import Span, Turn, Word

# A shorter turn holds no word; segmentation makes some at changes of speaker.
_MIN_TURN_S = 0.2


def speech_regions(turns: Sequence[Turn], *, max_gap_s: float, max_region_s: float) -> list[list[Turn]]:
    """Group exclusive turns into regions to transcribe: one speaker each, across short pauses.

    Args:
        turns: exclusive turns, sorted by start.
        max_gap_s: a longer pause ends a region.
        max_region_s: no region is longer; a longer turn is cut into equal parts.

    Returns:
        The turns of each region, all of one cluster, in order.
    """
    regions: list[list[Turn]] = []
    for turn in turns:
        if turn.duration_s < _MIN_TURN_S:
            continue
        for part in _cut(turn, max_region_s):
            last = regions[-1] if regions else None
            if (
                last
                and last[-1].cluster == part.cluster
                and part.start_s - last[-1].end_s <= max_gap_s
                and part.end_s - last[0].start_s <= max_region_s
            ):
                last.append(part)
            else:
                regions.append([part])
    return regions


def padded_spans(regions: Sequence[Sequence[Turn]], *, before_s: float, after_s: float, audio_s: float) -> list[Span]:
    """Widen each region a little, as turns end tightly on speech; never into another region or out of the audio."""
    ends = [0.0, *(region[-1].end_s for region in regions[:-1])]
    starts = [*(region[0].start_s for region in regions[1:]), audio_s]
    return [
        Span(
            start_s=min(max(region[0].start_s - before_s, last_end), region[0].start_s),
            end_s=max(min(region[-1].end_s + after_s, next_start), region[-1].end_s),
        )
        for region, last_end, next_start in zip(regions, ends, starts, strict=False)
    ]


def interpolate_words(text: str, span: Span, turns: Sequence[Turn]) -> list[Word]:
    """Give the words of a text times, where only the whole text has them.

    The words share the speech within the span by their number of characters; pauses between the turns get none. A
    word that would reach over a pause stays on the side of it where most of it is, so each lies in one turn.

    Args:
        text: words parted by white space.
        span: time of the text.
        turns: the region's turns, sorted and exclusive; the words stay inside them.
    """
    tokens = text.split()
    pieces = [(max(turn.start_s, span.start_s), min(turn.end_s, span.end_s)) for turn in turns]
    pieces = [piece for piece in pieces if piece[1] > piece[0]] or [(turn.start_s, turn.end_s) for turn in turns]
    starts, ends = np.array(pieces).T
    spoken = np.concatenate([[0.0], np.cumsum(ends - starts)])
    weights = np.cumsum([0] + [len(token) + 1 for token in tokens])
    edges = weights / weights[-1] * spoken[-1]
    words = []
    for token, start, end in zip(tokens, edges[:-1], edges[1:], strict=True):
        piece = int(np.searchsorted(spoken, (start + end) / 2, side="right").clip(1, len(pieces))) - 1
        low, high = spoken[piece], spoken[piece + 1]
        start_s = float(starts[piece] + max(start, low) - low)
        end_s = float(starts[piece] + min(end, high) - low)
        words.append(Word(text=token, start_s=round(start_s, 3), end_s=round(end_s, 3)))
    return words


def _cut(turn: Turn, max_s: float) -> list[Turn]:
    n_parts = max(1, int(np.ceil(turn.duration_s / max_s)))
    edges = [round(float(edge), 3) for edge in np.linspace(turn.start_s, turn.end_s, n_parts + 1)]
    return [Turn(start_s=start_s, end_s=end_s, cluster=turn.cluster) for start_s, end_s in pairwise(edges)]

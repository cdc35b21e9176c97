"""From exclusive turns to the regions that are transcribed, and from a region's text to the times of its words."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Span, Turn, Word

# A shorter turn holds no word; segmentation makes some at changes of speaker.
_MIN_TURN_S = 0.2
# A silence that no word reaches over.
_PAUSE_S = 0.2
# Loudness is compared over this much.
_FRAME_S = 0.1


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


def packed_regions(
    turns: Sequence[Turn], waveform: NDArray[np.float32], *, max_gap_s: float, max_region_s: float
) -> list[list[Turn]]:
    """Group exclusive turns into regions as long as they may be, whoever speaks, cut at pauses where there are any.

    It is for a recogniser that gives times of words, by which each finds its turn later.

    Args:
        turns: exclusive turns, sorted by start.
        waveform: (n_samples,) float32 at 16 kHz: a turn that is too long is cut where it is quietest.
        max_gap_s: a longer pause ends a region.
        max_region_s: no region is longer.

    Returns:
        The turns of each region, in order; what is shorter than any word is left out.
    """
    regions: list[list[Turn]] = []
    current: list[Turn] = []
    for turn in turns:
        for part in _cut_where_quiet(turn, waveform, max_region_s):
            if current and part.start_s - current[-1].end_s > max_gap_s:
                regions.append(current)
                current = []
            while current and part.end_s - current[0].start_s > max_region_s:
                n = _best_cut([*current, part], max_region_s)
                regions.append(current[:n])
                current = current[n:]
            current.append(part)
    return [region for region in (*regions, current) if region and region[-1].end_s - region[0].start_s >= _MIN_TURN_S]


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


def _best_cut(turns: Sequence[Turn], max_region_s: float) -> int:
    """How many of the turns the region before the cut gets: it ends at a pause, the last one in its second half."""
    pauses = {n: after.start_s - before.end_s for n, (before, after) in enumerate(pairwise(turns), 1)}
    late = [n for n in pauses if turns[n - 1].end_s - turns[0].start_s >= max_region_s / 2]
    return max(late or pauses, key=lambda n: (min(pauses[n], _PAUSE_S), n))


def _cut_where_quiet(turn: Turn, waveform: NDArray[np.float32], max_s: float) -> list[Turn]:
    """Parts of a turn, each at most so long, cut where the second half of that is quietest."""
    parts = []
    start_s = turn.start_s
    while turn.end_s - start_s > max_s:
        cut_s = _quietest_s(waveform, start_s + max_s / 2, start_s + max_s)
        parts.append(Turn(start_s=start_s, end_s=cut_s, cluster=turn.cluster))
        start_s = cut_s
    return [*parts, Turn(start_s=start_s, end_s=turn.end_s, cluster=turn.cluster)]


def _quietest_s(waveform: NDArray[np.float32], start_s: float, end_s: float) -> float:
    """Middle of the quietest tenth of a second; the end where there is no sound at all."""
    n = int(_FRAME_S * SAMPLE_RATE_HZ)
    samples = waveform[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    frames = samples[: len(samples) // n * n].reshape(-1, n)
    if not len(frames):
        return end_s
    return round(start_s + (int(np.square(frames).sum(axis=1).argmin()) + 0.5) * _FRAME_S, 3)


def _cut(turn: Turn, max_s: float) -> list[Turn]:
    n_parts = max(1, int(np.ceil(turn.duration_s / max_s)))
    edges = [round(float(edge), 3) for edge in np.linspace(turn.start_s, turn.end_s, n_parts + 1)]
    return [Turn(start_s=start_s, end_s=end_s, cluster=turn.cluster) for start_s, end_s in pairwise(edges)]

"""How often a voice model errs, and where to draw the line, from embeddings of labelled clips: arrays alone.

Equal error rate and detection threshold as in NIST's speaker recognition evaluations: a *target* trial compares a voice
with itself, an *impostor* trial with another.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from channelscribe.speakers.variance import speaker_variance, weighted_centroid

# Scores are compared by the archive rounded to this: a threshold is that far above what it is to refuse.
_STEP = 1e-6
# One piece in so many is of the second voice, in the clusters that count as mixed.
_MINORITY = 4


@dataclass(frozen=True)
class Pieces:
    """Voice embeddings of labelled speech.

    Args:
        embeddings: (n, dim) float32, L2-normalised.
        seconds: (n,) of speech behind each.
        speakers: (n,) whose each is.
        clips: (n,) number of the recording each was taken from.
    """

    embeddings: NDArray[np.float32]
    seconds: NDArray[np.float64]
    speakers: NDArray[np.int64]
    clips: NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """What came of comparing each piece with the voices that the other clips give.

    Args:
        targets: (n_target,) scores of a piece with its own voice.
        impostors: (n_impostor,) scores of a piece with another voice.
        right_leads: (n_target,) by how much its own voice leads the best other one; negative where another is nearer.
        wrong_scores: scores of a piece with the best other voice, as if its own were not enrolled; none of two voices.
        wrong_leads: by how much that voice leads the second.
    """

    targets: NDArray[np.float64]
    impostors: NDArray[np.float64]
    right_leads: NDArray[np.float64]
    wrong_scores: NDArray[np.float64]
    wrong_leads: NDArray[np.float64]


def compare(pieces: Pieces) -> Trials:
    """Compare each piece with all voices; its own voice is known by the speaker's other clips alone.

    A voice is the mean direction of its pieces, weighted by seconds, as in the archive.
    """
    targets, impostors, right, wrong, leads = [], [], [], [], []
    names = np.unique(pieces.speakers)
    for clip in np.unique(pieces.clips):
        tested = pieces.clips == clip
        owner = pieces.speakers[tested][0]
        known = np.stack([_voice(pieces, (pieces.speakers == name) & ~tested) for name in names])
        scores = pieces.embeddings[tested].astype(np.float64) @ known.T
        own, others = scores[:, names == owner][:, 0], np.sort(scores[:, names != owner], axis=1)
        targets.append(own)
        impostors.append(others.ravel())
        right.append(own - others[:, -1])
        if others.shape[1] > 1:
            wrong.append(others[:, -1])
            leads.append(others[:, -1] - others[:, -2])
    parts = (targets, impostors, right, wrong, leads)
    return Trials(*(np.concatenate(values) if values else np.zeros(0) for values in parts))


def equal_error_rate(high: NDArray[np.float64], low: NDArray[np.float64]) -> tuple[float, float]:
    """Where as large a share of the high values lies below a line as of the low ones above it.

    Args:
        high: values that should lie above the line, such as target scores.
        low: values that should lie below it.

    Returns:
        The error rate, and the line. Both shares change in steps. Where they are equal between two values, the line
        is half-way; where one crosses the other at a value, the line is that, and the rate is interpolated.
    """
    values = np.unique(np.concatenate([high, low]))
    lines = np.concatenate([[values[0] - _STEP], (values[:-1] + values[1:]) / 2, [values[-1] + _STEP]])
    missed = np.searchsorted(np.sort(high), lines) / len(high)
    accepted = 1 - np.searchsorted(np.sort(low), lines) / len(low)
    ahead = missed - accepted  # from -1 to 1, and never falls
    at = int(np.flatnonzero(ahead <= 0)[-1])
    if ahead[at] == 0:
        return float(missed[at]), float(lines[at])
    part = ahead[at] / (ahead[at] - ahead[at + 1])
    return float(missed[at] + part * (missed[at + 1] - missed[at])), float(values[at])


def threshold_at(rate: float, impostors: NDArray[np.float64]) -> float:
    """The lowest threshold that lets at most this share of the impostors pass.

    Not one half-way to the target scores: clips of one recording session are nearer to each other than a voice is to
    itself in another video, so the space below them is needed.
    """
    return _just_above(np.sort(impostors)[::-1], int(rate * len(impostors)))


def margin_at(rate: float, threshold: float, trials: Trials) -> float:
    """The lowest lead over the runner-up at which at most this share of strangers is named.

    A stranger is a piece whose own voice is not enrolled. It is named if its best score reaches the threshold and leads
    the second by the margin. Of two voices there is no second: 0.
    """
    leads = np.sort(trials.wrong_leads[trials.wrong_scores >= threshold])[::-1]
    return max(0.0, _just_above(leads, int(rate * len(trials.wrong_leads))))


def _just_above(descending: NDArray[np.float64], n_allowed: int) -> float:
    return float(descending[n_allowed]) + _STEP if n_allowed < len(descending) else 0.0


def clip_impostors(pieces: Pieces) -> NDArray[np.float64]:
    """(n_pairs,) similarity of the mean voices of each two clips of different speakers, as if of two videos."""
    clips = np.unique(pieces.clips)
    voices = np.stack([_voice(pieces, pieces.clips == clip) for clip in clips]).astype(np.float64)
    owners = np.array([pieces.speakers[pieces.clips == clip][0] for clip in clips])
    firsts, seconds = np.triu_indices(len(clips), 1)
    strangers = owners[firsts] != owners[seconds]
    scores: NDArray[np.float64] = (voices @ voices.T)[firsts[strangers], seconds[strangers]]
    return scores


def cluster_variances(pieces: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Speaker variance of clusters of one voice, and of clusters that mix two.

    A pure cluster holds the pieces of one clip, three at least. A mixed one holds those, and a third as many of a clip
    of another speaker: a quarter of it is another voice. Less moves the variance too little to be told from chance.
    """
    clips = [np.flatnonzero(pieces.clips == clip) for clip in np.unique(pieces.clips)]
    large = [rows for rows in clips if len(rows) >= _MINORITY - 1]
    pure = [_variance(pieces, rows) for rows in large]
    mixed = []
    for most, other in product(large, clips):
        n_least = len(most) // (_MINORITY - 1)
        if pieces.speakers[most[0]] != pieces.speakers[other[0]] and len(other) >= n_least:
            # As near to a quarter as whole pieces allow.
            mixed.append(_variance(pieces, np.concatenate([most[: n_least * (_MINORITY - 1)], other[:n_least]])))
    return np.array(pure), np.array(mixed)


def _voice(pieces: Pieces, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return weighted_centroid(pieces.embeddings[chosen], pieces.seconds[chosen])


def _variance(pieces: Pieces, rows: NDArray[np.intp]) -> float:
    return speaker_variance(pieces.embeddings[rows], pieces.seconds[rows]) or 0.0

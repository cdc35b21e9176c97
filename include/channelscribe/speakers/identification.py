"""Who speaks: voice embeddings against enrolled voices, with `unknown` as a result like any other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from channelscribe.speakers.operating_points import OperatingPoint
from channelscribe.speakers.variance import weighted_centroid

# Sums of products differ in their last bits with the number of rows at once. Rounded, a score is the same however
# many videos are looked at together, and so is the decision.
_DECIMALS = 6


@dataclass(frozen=True)
class Voices:
    """The enrolled voices of one model.

    Args:
        speaker_ids: whose they are.
        directions: (n_voices, dim) float32, L2-normalised: the mean direction of each one's enrollment embeddings.
    """

    speaker_ids: tuple[int, ...]
    directions: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """Whose voice it is.

    Args:
        speaker_id: the speaker, or None for unknown.
        score: cosine similarity to the nearest enrolled voice; None where there is nothing to compare.
        margin: how much nearer it is than the runner-up; None where there is none.
        runner_up: the second nearest speaker.
    """

    speaker_id: int | None = None
    score: float | None = None
    margin: float | None = None
    runner_up: int | None = None


UNKNOWN = Match()


def mean_voices(speaker_ids: Sequence[int], embeddings: NDArray[np.float32], seconds: Sequence[float]) -> Voices:
    """Gather enrollment embeddings into one direction per speaker.

    Args:
        speaker_ids: (n,) whose each embedding is.
        embeddings: (n, dim) float32, L2-normalised.
        seconds: (n,) of audio behind each: its weight.
    """
    speakers = tuple(sorted(set(speaker_ids)))
    owners, weights = np.asarray(speaker_ids), np.asarray(seconds, np.float64)
    directions = [weighted_centroid(embeddings[owners == speaker], weights[owners == speaker]) for speaker in speakers]
    return Voices(speakers, np.array(directions, np.float32).reshape(len(speakers), embeddings.shape[1]))


def match_voices(embeddings: NDArray[np.float32], voices: Voices, point: OperatingPoint | None) -> list[Match]:
    """Find the speaker of each voice embedding.

    The nearest enrolled voice is named if its score reaches the threshold and exceeds the runner-up's by the margin.
    Both are needed: a threshold alone names whoever is nearest of two alike voices, a margin alone names strangers.

    Args:
        embeddings: (n, dim) float32, L2-normalised: of clusters or of turns.
        voices: enrolled with the same model.
        point: what decides, or None to name nobody.
    """
    if not len(embeddings) or not voices.speaker_ids:
        return [UNKNOWN] * len(embeddings)
    scores = np.round(embeddings.astype(np.float64) @ voices.directions.T.astype(np.float64), _DECIMALS)
    order = np.argsort(-scores, axis=1, kind="stable")
    return [_decide(row, ranks, voices.speaker_ids, point) for row, ranks in zip(scores, order, strict=True)]


def _decide(
    scores: NDArray[np.float64], ranks: NDArray[np.intp], speaker_ids: tuple[int, ...], point: OperatingPoint | None
) -> Match:
    score, margin, runner_up = float(scores[ranks[0]]), None, None
    if len(ranks) > 1:
        margin = round(score - float(scores[ranks[1]]), _DECIMALS)
        runner_up = speaker_ids[ranks[1]]
    named = point is not None and score >= point.threshold and (margin is None or margin >= point.margin)
    return Match(speaker_ids[ranks[0]] if named else None, score, margin, runner_up)


def mixes_voices(speaker_variance: float | None, point: OperatingPoint | None) -> bool:
    """Whether a cluster's speaker variance says that it holds more than one voice, and is to be taken turn by turn."""
    return point is not None and speaker_variance is not None and speaker_variance > point.max_variance


def match_utterances(
    utterances: NDArray[np.float64], turns: NDArray[np.float64], matches: Sequence[Match]
) -> list[Match]:
    """Find the speaker of each utterance of one cluster from those of its turns.

    A speaker must hold more than half of an utterance: one that lies for the most part in turns of unknown voices, or
    in turns too short for a voice embedding, is unknown.

    Args:
        utterances: (n, 2) start and end in seconds.
        turns: (n_turns, 2) of those with a voice embedding.
        matches: (n_turns,) their speakers.

    Returns:
        For each utterance the match of the turn that holds most of it, of the speaker's where one is named; without
        a speaker if none is.
    """
    if not len(turns):
        return [UNKNOWN] * len(utterances)
    overlaps = np.minimum(utterances[:, 1:], turns[:, 1]) - np.maximum(utterances[:, :1], turns[:, 0])
    overlaps = overlaps.clip(0.0)
    speakers = sorted({match.speaker_id for match in matches if match.speaker_id is not None})
    owned = np.array([[match.speaker_id == speaker for speaker in speakers] for match in matches], np.float64)
    held = overlaps @ owned.reshape(len(turns), len(speakers))
    result = []
    for index, (start_s, end_s) in enumerate(utterances):
        overlap = overlaps[index]
        if speakers and held[index].max() > (end_s - start_s) / 2:
            best = held[index].argmax()
            result.append(matches[int((overlap * owned[:, best]).argmax())])
        elif overlap.max() > 0:
            nearest = matches[int(overlap.argmax())]
            result.append(Match(None, nearest.score, nearest.margin, nearest.runner_up))
        else:
            result.append(UNKNOWN)
    return result

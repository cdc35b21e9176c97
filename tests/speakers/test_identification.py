"""Identification by voice, on vectors whose cosines are known."""

import numpy as np
import pytest

from channelscribe.speakers.identification import (
    UNKNOWN,
    Match,
    Voices,
    match_utterances,
    match_voices,
    mean_voices,
    mixes_voices,
)
from channelscribe.speakers.operating_points import OPERATING_POINTS, OperatingPoint
from channelscribe.speakers.variance import speaker_variance

ADA, BOB = 7, 3
POINT = OperatingPoint(threshold=0.6, margin=0.1, max_variance=0.4)


def vector(*parts: float) -> np.ndarray:
    """A vector of length 1 with these first parts; what is missing to the length goes into a part of its own."""
    rest = np.sqrt(max(0.0, 1 - sum(part**2 for part in parts)))
    return np.array([*parts, *[0.0] * (4 - len(parts)), rest], np.float32)


VOICES = mean_voices([ADA, BOB], np.array([vector(1, 0), vector(0, 1)]), [10.0, 10.0])


@pytest.mark.parametrize(
    ("ada", "bob", "speaker_id"),
    [
        (0.8, 0.1, ADA),
        (0.1, 0.8, BOB),
        (0.6, 0.5, ADA),  # the threshold and the margin themselves are enough
        (0.5999, 0.1, None),  # too far from everybody
        (0.7, 0.61, None),  # near two
        (-0.5, -0.6, None),
    ],
)
def test_a_voice_is_named_by_threshold_and_margin(ada, bob, speaker_id):
    (match,) = match_voices(vector(ada, bob)[None], VOICES, POINT)
    best, second = sorted((ada, bob), reverse=True)
    assert match.speaker_id == speaker_id
    assert (match.score, match.margin) == pytest.approx((best, best - second), abs=1e-5)
    assert match.runner_up == (BOB if ada >= bob else ADA)


def test_a_single_enrolled_voice_has_no_runner_up():
    alone = mean_voices([ADA], vector(1)[None], [10.0])
    near, far = match_voices(np.array([vector(0.7), vector(0.5)]), alone, POINT)
    assert (near.speaker_id, near.margin, near.runner_up) == (ADA, None, None)
    assert (far.speaker_id, far.score) == (None, pytest.approx(0.5, abs=1e-5))


def test_nobody_enrolled_leaves_everybody_unknown():
    nobody = mean_voices([], np.zeros((0, 5), np.float32), [])
    assert match_voices(np.array([vector(1), vector(0, 1)]), nobody, POINT) == [UNKNOWN, UNKNOWN]
    assert match_voices(np.zeros((0, 5), np.float32), VOICES, POINT) == []


def test_without_an_operating_point_nobody_is_named_but_the_scores_are_there():
    (match,) = match_voices(vector(1)[None], VOICES, None)
    assert (match.speaker_id, match.score) == (None, 1.0)
    assert not mixes_voices(1.0, None)


def test_the_direction_of_a_voice_is_the_mean_of_its_embeddings_by_seconds():
    embeddings = np.array([vector(1), vector(0, 1), vector(0, 0, 1)])
    voices = mean_voices([ADA, BOB, ADA], embeddings, [30.0, 5.0, 10.0])
    assert voices.speaker_ids == (BOB, ADA)
    assert voices.directions[0].tolist() == [0, 1, 0, 0, 0]
    assert voices.directions[1] == pytest.approx(np.array([3, 0, 1, 0, 0]) / np.sqrt(10))


def test_a_decision_does_not_depend_on_how_many_are_looked_at_together():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(500, 192))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    voices = Voices(tuple(range(40)), vectors[:40])
    point = OperatingPoint(threshold=0.15, margin=0.02, max_variance=0.4)
    together = match_voices(vectors, voices, point)
    assert together == [match_voices(row[None], voices, point)[0] for row in vectors]
    assert {match.speaker_id is None for match in together} == {True, False}


def test_the_variance_of_two_voices_in_one_cluster_is_seen():
    one = np.array([vector(0.9, 0, 0.1), vector(0.9, 0.1)])
    two = np.array([vector(1), vector(0, 1)])
    assert not mixes_voices(speaker_variance(one, np.ones(2)), POINT)
    assert mixes_voices(speaker_variance(two, np.ones(2)), POINT)
    assert not mixes_voices(0.4, POINT)
    assert not mixes_voices(None, POINT)  # a single turn mixes nothing that could be told apart


TURNS = np.array([[0.0, 4.0], [4.0, 8.0], [10.0, 14.0]])
MATCHES = [Match(ADA, 0.9, 0.5, BOB), Match(BOB, 0.8, 0.4, ADA), Match(None, 0.3, 0.1, BOB)]


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.5, 3.5, MATCHES[0]),
        (3.0, 7.0, MATCHES[1]),  # three of its four seconds are Bob's
        (2.0, 6.0, Match(None, 0.9, 0.5, BOB)),  # half and half
        (11.0, 12.0, Match(None, 0.3, 0.1, BOB)),  # the turn is of nobody known
        (8.2, 9.8, UNKNOWN),  # in a turn too short for a voice embedding
        (7.0, 9.8, Match(None, 0.8, 0.4, ADA)),  # for the most part in such a turn
    ],
)
def test_an_utterance_has_the_speaker_that_holds_more_than_half_of_it(start_s, end_s, expected):
    assert match_utterances(np.array([[start_s, end_s]]), TURNS, MATCHES) == [expected]


def test_an_utterance_over_several_turns_of_one_speaker_is_that_speakers():
    matches = [Match(ADA, 0.7, 0.2, BOB), Match(ADA, 0.9, 0.5, BOB), Match(None, 0.1, 0.0, BOB)]
    assert match_utterances(np.array([[1.0, 8.0]]), TURNS, matches) == [matches[1]]


def test_utterances_without_any_embedded_turn_are_unknown():
    assert match_utterances(np.array([[0.0, 1.0]]), np.zeros((0, 2)), []) == [UNKNOWN]
    assert match_utterances(np.array([[0.0, 1.0]]), TURNS[:1], [MATCHES[2]])[0].speaker_id is None


def test_the_operating_points_can_decide():
    for point in OPERATING_POINTS.values():
        assert -1 < point.threshold < 1
        assert 0 <= point.margin < 1
        assert 0 < point.max_variance < 1

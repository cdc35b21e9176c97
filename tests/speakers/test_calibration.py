import numpy as np
import pytest

from channelscribe.speakers.calibration import (
    Pieces,
    Trials,
    cluster_variances,
    compare,
    equal_error_rate,
    margin_at,
    threshold_at,
)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def voices(n_speakers: int, n_clips: int, n_pieces: int, spread: float) -> Pieces:
    """Pieces around a direction of each speaker's own, in 64 dimensions."""
    chosen = np.random.default_rng(0)
    centres = np.linalg.qr(chosen.normal(size=(64, n_speakers)))[0].T
    speakers = np.repeat(np.arange(n_speakers), n_clips * n_pieces)
    rows = centres[speakers] + chosen.normal(scale=spread / 8, size=(len(speakers), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    clips = np.repeat(np.arange(n_speakers * n_clips), n_pieces)
    return Pieces(rows.astype(np.float32), np.full(len(rows), 3.0), speakers, clips)


def test_rates_meet_where_as_many_are_missed_as_pass() -> None:
    # Of four targets one lies below 0.45, and of four impostors one above.
    assert equal_error_rate(scores(0.4, 0.6, 0.7, 0.8), scores(0.1, 0.2, 0.3, 0.5)) == (0.25, pytest.approx(0.45))
    # At 0.3 the share that is missed goes from none to a half, across the quarter of the impostors that still pass.
    assert equal_error_rate(scores(0.3, 0.9), scores(0.1, 0.2, 0.25, 0.5)) == (0.25, 0.3)


def test_values_that_lie_apart_are_parted_half_way_and_equal_ones_not_at_all() -> None:
    assert equal_error_rate(scores(0.7, 0.9), scores(0.1, 0.3)) == (0.0, pytest.approx(0.5))
    assert equal_error_rate(scores(0.5, 0.5), scores(0.5, 0.5))[0] == 0.5
    assert equal_error_rate(scores(0.1, 0.2), scores(0.8, 0.9))[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0.9), (0.1, 0.8), (0.19, 0.8), (0.2, 0.7)])
def test_a_threshold_lets_no_more_impostors_pass_than_it_may(rate: float, expected: float) -> None:
    impostors = scores(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    threshold = threshold_at(rate, impostors)
    assert threshold == pytest.approx(expected, abs=1e-5) and threshold > expected
    assert (impostors >= threshold).mean() <= rate


def test_a_margin_counts_only_strangers_that_reach_the_threshold() -> None:
    trials = Trials(
        targets=scores(0.9),
        impostors=scores(0.5),
        right_leads=scores(0.4),
        wrong_scores=scores(0.7, 0.65, 0.2, 0.1),
        wrong_leads=scores(0.10, 0.05, 0.60, 0.50),
    )
    assert margin_at(0.0, 0.6, trials) == pytest.approx(0.10, abs=1e-5)
    assert margin_at(0.25, 0.6, trials) == pytest.approx(0.05, abs=1e-5)
    assert margin_at(0.5, 0.6, trials) == 0.0  # two of four may be named, and no more are
    assert margin_at(0.0, 0.8, trials) == 0.0


def test_a_piece_is_never_compared_with_its_own_clip() -> None:
    # Speaker 0's two clips point in different directions; with its own clip among the others they would look alike.
    rows = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    trials = compare(Pieces(rows, np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3])))
    assert trials.targets.tolist() == pytest.approx([0, 0, 1, 1])
    assert trials.impostors.tolist() == pytest.approx([0, 0, 0, 0])
    assert len(trials.wrong_scores) == len(trials.wrong_leads) == 0  # of two voices no stranger has a runner-up


def test_a_long_piece_weighs_more_in_a_voice() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]], np.float32)
    pieces = Pieces(rows, np.array([9.0, 1.0, 1.0, 1.0, 1.0]), np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3]))
    own = compare(pieces).targets[2]  # clip 1 with the voice of clip 0
    assert own == pytest.approx(9 / np.hypot(9, 1))


def test_counts_and_leads_of_voices_that_lie_well_apart() -> None:
    trials = compare(voices(n_speakers=5, n_clips=2, n_pieces=4, spread=0.4))
    assert (len(trials.targets), len(trials.impostors), len(trials.wrong_leads)) == (40, 160, 40)
    assert equal_error_rate(trials.targets, trials.impostors)[0] == 0.0
    assert trials.right_leads.min() > trials.wrong_leads.max() > 0


def test_voices_that_overlap_have_errors() -> None:
    trials = compare(voices(n_speakers=8, n_clips=2, n_pieces=10, spread=4.0))
    rate, _ = equal_error_rate(trials.targets, trials.impostors)
    assert 0.05 < rate < 0.45


def test_clusters_with_a_quarter_of_another_voice_spread_more() -> None:
    pieces = voices(n_speakers=3, n_clips=2, n_pieces=6, spread=0.3)
    pure, mixed = cluster_variances(pieces)
    assert (len(pure), len(mixed)) == (6, 24)
    assert pure.max() < mixed.min()
    # Two of eight pieces at a right angle: 1 - (3/4)^2 - (1/4)^2 of unit vectors without spread.
    exact = voices(n_speakers=3, n_clips=1, n_pieces=6, spread=0.0)
    assert cluster_variances(exact)[1] == pytest.approx(np.full(6, 0.375))


def test_clips_of_fewer_than_three_pieces_make_no_cluster() -> None:
    pure, mixed = cluster_variances(voices(n_speakers=2, n_clips=2, n_pieces=2, spread=0.3))
    assert len(pure) == len(mixed) == 0

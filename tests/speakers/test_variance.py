import numpy as np
import pytest

from channelscribe.speakers.variance import speaker_variance, weighted_centroid


def unit_rows(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_one_voice_has_no_variance_and_opposite_ones_have_all() -> None:
    assert speaker_variance(unit_rows([[1, 2, 3]] * 4), np.ones(4)) == pytest.approx(0.0, abs=1e-6)
    assert speaker_variance(unit_rows([[1, 0], [-1, 0]]), np.ones(2)) == pytest.approx(1.0)


def test_it_is_one_minus_the_mean_cosine_over_all_pairs() -> None:
    embeddings = unit_rows(np.random.default_rng(0).normal(size=(9, 16)).tolist())
    assert speaker_variance(embeddings, np.ones(9)) == pytest.approx(1 - float((embeddings @ embeddings.T).mean()))


def test_weights_are_seconds_of_speech() -> None:
    two_voices = unit_rows([[1, 0], [0, 1]])
    even = speaker_variance(two_voices, np.array([1.0, 1.0]))
    mostly_one = speaker_variance(two_voices, np.array([99.0, 1.0]))
    assert even == pytest.approx(0.5)
    assert mostly_one == pytest.approx(1 - 0.99**2 - 0.01**2)
    assert weighted_centroid(two_voices, np.array([99.0, 1.0])) == pytest.approx([1, 0.0101], abs=1e-3)


def test_fewer_than_two_embeddings_have_no_variance() -> None:
    assert speaker_variance(unit_rows([[1, 0]]), np.ones(1)) is None


def test_a_centroid_is_a_unit_vector() -> None:
    centroid = weighted_centroid(unit_rows([[1, 2], [2, 1], [0, 1]]), np.array([1.0, 2.0, 3.0]))
    assert centroid.dtype == np.float32
    assert np.linalg.norm(centroid) == pytest.approx(1)

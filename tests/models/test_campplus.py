import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.profiles import BUNDLED

pytestmark = pytest.mark.stages


@pytest.fixture(scope="module")
def encoder():
    from channelscribe.models.campplus import load

    return load(BUNDLED.stages["identify_speakers"], "cpu")


def test_batched_equals_single(encoder, dialogue: NDArray[np.float32]) -> None:
    features = encoder.features(dialogue)
    lengths = [300, 300, 120, 300, 120, 450]
    items = [features[700 + 150 * i : 700 + 150 * i + length] for i, length in enumerate(lengths)]
    batched = encoder.embed(items)
    single = np.concatenate([encoder.embed([item]) for item in items])
    assert batched.shape == (6, 192) and batched.dtype == np.float32
    assert (batched * single).sum(1).min() >= 0.998
    assert np.linalg.norm(batched, axis=1) == pytest.approx(np.ones(6), abs=1e-5)


def test_voices_are_told_apart(encoder, dialogue: NDArray[np.float32]) -> None:
    # Turns of the sample's reference: speaker90 twice, speaker91 twice.
    spans = [(10.7, 14.2), (18.6, 21.4), (14.7, 17.7), (22.0, 27.5)]
    embeddings = encoder.embed([encoder.features(dialogue[int(a * 16000) : int(b * 16000)]) for a, b in spans])
    similarity = embeddings @ embeddings.T
    same, different = min(similarity[0, 1], similarity[2, 3]), similarity[:2, 2:].max()
    assert same > different + 0.1


def test_too_little_audio_for_a_frame_has_no_features(encoder) -> None:
    assert encoder.features(np.zeros(100, np.float32)).shape == (0, 80)


def test_it_says_where_its_parameters_are(encoder) -> None:
    assert encoder.device == "cpu"

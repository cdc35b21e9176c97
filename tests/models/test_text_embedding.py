import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED

pytestmark = pytest.mark.stages

QUERY = "weather in spring"


@pytest.fixture(scope="module")
def embedder():
    from channelscribe.models.text_embedding import load

    return load(BUNDLED.stages["embed_text"], "cpu")


def test_meaning_is_nearer_than_words(embedder) -> None:
    embeddings = embedder.embed(["The doctor cured her illness.", "A physician healed the patient.", "The train left."])
    similarity = embeddings @ embeddings.T
    assert embeddings.shape == (3, 384)
    assert similarity[0, 1] > similarity[0, 2] + 0.2


def test_the_bundled_weights_give_the_vectors_they_always_gave(embedder) -> None:
    # Golden vectors: other weights, another pooling or a model that was never loaded would not give these.
    golden = np.load(Path(__file__).parent / "golden_minilm.npy")
    assert (embedder.embed([QUERY])[0] @ golden) == pytest.approx(1.0, abs=1e-4)


def test_tokens_are_the_models_own(embedder) -> None:
    assert embedder.count_tokens(["hello world", "unbelievability", ""]) == [2, 5, 0]
    assert BUNDLED.stages["embed_text"].parameters["max_tokens"] + 2 <= embedder.max_tokens


def test_a_blank_before_a_text_is_no_token(embedder) -> None:
    # So chunks count behind it with any model, and the bundled one's stay as they were.
    texts = ["7", "spring", "'s", "of 12 hopes"]
    assert embedder.count_tokens([f" {text}" for text in texts]) == embedder.count_tokens(texts)


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([], []),
        ([3], [[0]]),
        ([2, 9, 3, 9], [[1, 3], [2, 0]]),
        ([1] * 5, [[0, 1, 2, 3, 4]]),
        ([50, 1, 20], [[0], [2], [1]]),  # longer than a batch may be, and alone in it
        ([0, 0, 0], [[0, 1, 2]]),
    ],
)
def test_batches_are_of_like_lengths_and_bounded_with_their_padding(lengths, batches) -> None:
    from channelscribe.models.text_embedding import batches_of

    assert batches_of(lengths, 20) == batches


def test_a_model_that_is_not_known_is_refused() -> None:
    from channelscribe.models.text_embedding import load

    with pytest.raises(MisconfiguredError, match="There is no text model 'nonsense'; known are all-MiniLM-L6-v2, Qwen"):
        load(replace(BUNDLED.stages["embed_text"], model="nonsense"), "cpu")


def test_the_query_program_writes_the_same_vector(embedder, tmp_path: Path) -> None:
    out = tmp_path / "query.npy"
    command = [sys.executable, "-m", "channelscribe.models.embed_query", "--profile", "bundled", "--out", str(out)]
    subprocess.run([*command, "--", QUERY], check=True)
    assert (np.load(out) @ embedder.embed([QUERY])[0]) == pytest.approx(1.0, abs=1e-5)
    assert list(tmp_path.iterdir()) == [out]
    assert subprocess.run([*command[:-3], "nonsense", "--out", str(out), "x"], capture_output=True).returncode == 78

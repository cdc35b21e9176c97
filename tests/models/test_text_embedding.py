import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    assert embeddings.shape == (3, 384) and embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert similarity[0, 1] > similarity[0, 2] + 0.2


def test_the_bundled_weights_give_the_vectors_they_always_gave(embedder) -> None:
    # Golden vectors: other weights, another pooling or a model that was never loaded would not give these.
    golden = np.load(Path(__file__).parent / "golden_minilm.npy")
    assert (embedder.embed([QUERY])[0] @ golden) == pytest.approx(1.0, abs=1e-4)


def test_a_batch_changes_nothing(embedder) -> None:
    texts = ["one", "a much longer text of many more words than the others have", "two words"]
    single = np.concatenate([embedder.embed([text]) for text in texts])
    assert (embedder.embed(texts) * single).sum(1).min() >= 0.9999


def test_tokens_are_the_models_own(embedder) -> None:
    assert embedder.count_tokens(["hello world", "unbelievability", ""]) == [2, 5, 0]
    assert embedder.count_tokens([]) == []
    assert BUNDLED.stages["embed_text"].parameters["max_tokens"] + 2 <= embedder.max_tokens


def test_no_texts(embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_the_query_program_writes_the_same_vector(embedder, tmp_path: Path) -> None:
    out = tmp_path / "query.npy"
    command = [sys.executable, "-m", "channelscribe.models.embed_query", "--profile", "bundled", "--out", str(out)]
    subprocess.run([*command, "--", QUERY], check=True)
    assert (np.load(out) @ embedder.embed([QUERY])[0]) == pytest.approx(1.0, abs=1e-5)
    assert list(tmp_path.iterdir()) == [out]
    assert subprocess.run([*command[:-3], "nonsense", "--out", str(out), "x"], capture_output=True).returncode == 78

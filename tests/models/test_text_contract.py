"""What holds for every text embedder: MiniLM with its weights, and both of the Qwen family with small random ones."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.model_registry import folder_name
from channelscribe.profiles import BUNDLED, GPU, GPU_REFERENCE
from channelscribe.stages import engines
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

pytestmark = pytest.mark.stages

SPECS = {
    "minilm": BUNDLED.stages["embed_text"],
    "qwen3-0.6b": GPU.stages["embed_text"],
    "gte-1.5b": GPU_REFERENCE.stages["embed_text"],
}
# What stands before a query, by the publishers' model cards; nothing before a document.
_ASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
INSTRUCTIONS = {"minilm": "", "qwen3-0.6b": _ASK, "gte-1.5b": f"{_ASK} "}
TEXTS = [
    "It was the best of times,", "we had 12 of nothing", "", "it was the worst of times before us " * 6, "é", " \n",
    "the winter of despair",
]  # fmt: skip


@pytest.fixture(scope="module", params=SPECS)
def loaded(request, text_folders: dict[str, Path], tmp_path_factory):
    from channelscribe.settings import get_settings

    name, spec = request.param, SPECS[request.param]
    root = tmp_path_factory.mktemp("models")
    if name in text_folders:
        shutil.copytree(text_folders[name], root / folder_name(spec.model, spec.revision))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(root))
        get_settings.cache_clear()
        yield name, load_engine(spec, "cpu", Clock())
    get_settings.cache_clear()


@pytest.fixture
def embedder(loaded):
    return loaded[1]


def check(embeddings: np.ndarray, n_texts: int) -> None:
    """Type and lengths of what came back."""
    assert isinstance(embeddings, np.ndarray) and embeddings.dtype == np.float32
    assert embeddings.ndim == 2 and len(embeddings) == n_texts
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(n_texts), abs=1e-5)


def test_every_text_has_a_vector_of_length_1_even_an_empty_one(embedder) -> None:
    embeddings = embedder.embed(TEXTS)
    check(embeddings, len(TEXTS))
    assert np.array_equal(embedder.embed(tuple(TEXTS)), embeddings)


def test_no_texts_have_no_vectors_of_the_same_dimension(embedder) -> None:
    none = embedder.embed([])
    check(none, 0)
    assert none.shape[1] == embedder.embed(TEXTS[:1]).shape[1]
    assert embedder.count_tokens([]) == []


def test_neither_order_nor_company_changes_a_vector(embedder, monkeypatch) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = embedder.embed([TEXTS[index] for index in order])
    monkeypatch.setattr(embedder, "_max_batch_tokens", 40)
    small_batches = embedder.embed(TEXTS)
    for other in (alone, shuffled[np.argsort(order)], small_batches):
        assert (together * other).sum(1).min() > 0.99999
    # Mixed up, it would be noticed; but an empty text and a blank one may be the same.
    alike = together @ together.T - np.eye(len(TEXTS))
    alike[2, 5] = alike[5, 2] = 0
    assert alike.max() < 0.99


def test_a_query_is_embedded_behind_the_models_instruction_and_a_document_is_not(loaded) -> None:
    name, embedder = loaded
    query, text = "best of times", f"{INSTRUCTIONS[name]}best of times"
    found = embedder.embed_query(query)
    check(found[None], 1)
    assert found @ embedder.embed([text])[0] > 0.99999
    if INSTRUCTIONS[name]:
        assert found @ embedder.embed([query])[0] < 0.9


def test_tokens_are_counted_without_the_models_marks(embedder) -> None:
    counts = embedder.count_tokens(TEXTS)
    assert counts[2] == 0 and all(type(count) is int for count in counts)
    one, two = embedder.count_tokens(["we", "we had"])
    assert 0 < one < two
    assert [embedder.count_tokens([text])[0] for text in TEXTS] == counts


def test_what_is_too_long_is_cut_with_a_warning(embedder, caplog) -> None:
    cut = embedder.max_tokens
    with caplog.at_level(logging.WARNING):
        embeddings = embedder.embed(["we " * cut, "we " * 2 * cut, "of " * cut, "we"])
    assert f"Of 4 texts, 3 are longer than {cut} tokens: cut." in caplog.text
    check(embeddings, 4)
    # What is beyond makes no difference, what is not does.
    assert embeddings[0] @ embeddings[1] == pytest.approx(1, abs=1e-5)
    assert embeddings[0] @ embeddings[2] < 0.99


def test_a_model_on_another_device_than_asked_for_is_found_out(loaded, monkeypatch) -> None:
    name, engine = loaded
    monkeypatch.setattr(engines, "require_gpu", lambda model: None)
    monkeypatch.setattr(f"{type(engine).__module__}.load", lambda spec, device: engine)
    with pytest.raises(MisconfiguredError, match="was asked to run on cuda but is on cpu"):
        load_engine(SPECS[name], "cuda", Clock())

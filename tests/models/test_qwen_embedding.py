"""The two models of the Qwen family: small ones with random weights, in the published format, by the true loader."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from channelscribe.contracts import Utterance, Word
from channelscribe.errors import MisconfiguredError
from channelscribe.model_registry import folder_name
from channelscribe.profiles import GPU, GPU_REFERENCE
from channelscribe.stages.chunking import build_chunks
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

pytestmark = pytest.mark.stages

QWEN3, GTE = "qwen3-0.6b", "gte-1.5b"
SPECS = {QWEN3: GPU.stages["embed_text"], GTE: GPU_REFERENCE.stages["embed_text"]}
BOTH = pytest.mark.parametrize("name", [QWEN3, GTE])
TEXTS = ["It was the best of times,", "we had 12 of nothing", "", "it was the worst of times before us " * 6, "é"]


@pytest.fixture
def models_root(tmp_path, monkeypatch):
    """The folder of the models: an empty one."""
    from channelscribe.settings import get_settings

    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def load(text_folders, models_root):
    """Load a model as the stage does, from a copy of its folder that may be spoilt before."""
    from channelscribe.models import text_embedding

    def load(name: str, spoil=lambda folder: None):
        folder = models_root / folder_name(SPECS[name].model, SPECS[name].revision)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(text_folders[name], folder)
        spoil(folder)
        return text_embedding.load(SPECS[name], "cpu")

    return load


def change(file: str, **content):
    """A spoiler that changes settings in one of a folder's files."""

    def spoil(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | content))

    return spoil


def reference(folder: Path, ids: list[int], *, causal: bool) -> np.ndarray:
    """The text embedding of one text by Qwen2 or Qwen3 written down from its definition: (dim,) float32."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    weights = {name.removeprefix("model."): w.float() for name, w in load_file(folder / "model.safetensors").items()}
    n_heads, n_groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", config["hidden_size"] // n_heads)

    def norm(x, name):
        return x * (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt() * weights[f"{name}.weight"]

    def linear(x, name):
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def heads(x, name, n):
        x = linear(x, name).view(len(ids), n, size)
        return (norm(x, name.replace("proj", "norm")) if config["model_type"] == "qwen3" else x).transpose(0, 1)

    # Each pair (x[i], x[i + size / 2]) is turned by an angle that grows with the token's position.
    speed = config["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    turn = torch.polar(torch.ones(len(ids), size // 2), torch.arange(len(ids))[:, None] * speed)

    def rotate(x):
        turned = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * turn
        return torch.cat((turned.real, turned.imag), -1)

    hidden = torch.tril(torch.ones(len(ids), len(ids))) == 0 if causal else torch.zeros(len(ids), len(ids)) > 0
    x = weights["embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"layers.{layer}.self_attn"
        y = norm(x, f"layers.{layer}.input_layernorm")
        query = rotate(heads(y, f"{at}.q_proj", n_heads))
        key = rotate(heads(y, f"{at}.k_proj", n_groups)).repeat_interleave(n_heads // n_groups, 0)
        value = linear(y, f"{at}.v_proj").view(len(ids), n_groups, size).transpose(0, 1)
        scores = (query @ key.transpose(1, 2) / size**0.5).masked_fill(hidden, -torch.inf)
        mixed = scores.softmax(-1) @ value.repeat_interleave(n_heads // n_groups, 0)
        x = x + linear(mixed.transpose(0, 1).reshape(len(ids), -1), f"{at}.o_proj")
        y = norm(x, f"layers.{layer}.post_attention_layernorm")
        gate = torch.nn.functional.silu(linear(y, f"layers.{layer}.mlp.gate_proj"))
        x = x + linear(gate * linear(y, f"layers.{layer}.mlp.up_proj"), f"layers.{layer}.mlp.down_proj")
    result: np.ndarray = torch.nn.functional.normalize(norm(x, "norm")[-1], dim=0).numpy()
    return result


@pytest.mark.parametrize(("name", "causal"), [(QWEN3, True), (GTE, False)])
def test_vectors_are_those_of_the_definition(load, text_folders, name: str, causal: bool) -> None:
    embedder = load(name)
    embeddings = embedder.embed(TEXTS)
    ids = embedder.encode(TEXTS)
    right = np.stack([reference(text_folders[name], row, causal=causal) for row in ids])
    wrong = np.stack([reference(text_folders[name], row, causal=not causal) for row in ids])
    assert (embeddings * right).sum(1).min() > 0.99999
    # A text of one token, its end mark, is the same either way; the others are far from it.
    several = [len(row) > 1 for row in ids]
    assert sum(several) == 4 and (embeddings * wrong).sum(1)[several].max() < 0.98


@pytest.mark.parametrize("says", [{}, {"is_causal": False}, {"is_causal": True}])
def test_gte_attends_both_ways_whatever_its_configuration_says(load, text_folders, says) -> None:
    # It has said all three: see https://github.com/vllm-project/vllm/pull/14609 and 18683.
    embedder = load(GTE, change("config.json", **says))
    expected = reference(text_folders[GTE], embedder.encode(TEXTS[:1])[0], causal=False)
    assert embedder.embed(TEXTS[:1])[0] @ expected > 0.99999


def test_stock_use_of_gte_is_causal_and_lacks_the_end_mark(load, text_folders) -> None:
    # Why there is more to loading it than naming its folder. If this fails the libraries have learnt it.
    from sentence_transformers import SentenceTransformer

    stock = SentenceTransformer(str(text_folders[GTE]), device="cpu", model_kwargs={"dtype": "float32"})
    ids = stock.tokenizer(TEXTS[0])["input_ids"]
    assert load(GTE).encode(TEXTS[:1])[0] == [*ids, stock.tokenizer.eos_token_id]
    assert stock.encode(TEXTS[0]) @ reference(text_folders[GTE], ids, causal=True) > 0.99999


@BOTH
def test_every_text_ends_by_the_mark_once(load, name: str) -> None:
    embedder = load(name)
    (mark,) = embedder.encode([""])[0]
    assert all(row.index(mark) == len(row) - 1 for row in embedder.encode(TEXTS))
    assert embedder.count_tokens(TEXTS) == [len(row) - 1 for row in embedder.encode(TEXTS)]


@BOTH
def test_what_is_cut_keeps_its_mark(load, name: str) -> None:
    embedder = load(name)
    rows = embedder.encode(["we " * 300, "we"])
    assert len(rows[0]) == embedder.max_tokens and rows[0][-1] == rows[1][-1]


@BOTH
def test_no_chunk_is_longer_than_it_may_be(load, name: str) -> None:
    embedder = load(name)
    texts = ["7 12 times", "we had 1 of 3", "before", "it's 100 % of everything, nothing; and 2024 times 7"]
    utterances = [
        Utterance(
            index=index,
            cluster="A",
            start_s=index,
            end_s=index + 1,
            words=tuple(Word(text=word, start_s=index, end_s=index + 1) for word in text.split()),
        )
        for index, text in enumerate(texts)
    ]
    for max_tokens in range(8, 60):
        chunks = build_chunks(utterances, embedder.count_tokens, max_tokens=max_tokens)
        assert " ".join(chunk.text for chunk in chunks) == " ".join(texts)
        assert all(
            n <= max_tokens or " " not in chunk.text
            for n, chunk in zip(embedder.count_tokens([chunk.text for chunk in chunks]), chunks, strict=True)
        )


@BOTH
def test_bfloat16_stays_near(load, name: str) -> None:
    # On a CPU as on a GPU: what is lost is the same.
    embedder = load(name)
    exact = embedder.embed(TEXTS)
    embedder._model.bfloat16()
    half = embedder.embed(TEXTS)
    assert half.dtype == np.float32
    assert np.linalg.norm(half, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    assert (half * exact).sum(1).min() > 0.999


@BOTH
@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (
            change("1_Pooling/config.json", pooling_mode_lasttoken=False, pooling_mode_mean_tokens=True),
            "pools by 'mean'",
        ),
        (lambda folder: (folder / "modules.json").unlink(), "no instruction for queries"),
        (change("config_sentence_transformers.json", prompts={}), "no instruction for queries"),
        (change("config.json", num_hidden_layers=4), "weights are missing, layers.3"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
    ],
)
def test_a_model_that_is_not_as_published_is_refused(load, name: str, spoil, fault: str) -> None:
    with pytest.raises(MisconfiguredError, match=fault) as caught:
        load(name, spoil)
    assert str(caught.value).endswith("Fetch it anew by `channelscribe models pull`.")


def test_a_causal_model_that_must_not_be_is_refused(load, monkeypatch) -> None:
    # As if transformers no longer asked its configuration.
    from transformers.models.qwen2 import modeling_qwen2

    real = modeling_qwen2.Qwen2Attention.forward
    masks = modeling_qwen2.create_causal_mask

    def masked(config, **arguments):
        config.is_causal = True
        return masks(config=config, **arguments)

    def forward(self, *arguments, **named):
        return real(self, *arguments, **(named | {"is_causal": True}))

    monkeypatch.setattr(modeling_qwen2.Qwen2Attention, "forward", forward)
    with pytest.raises(MisconfiguredError, match="Attention depends on the batch"):
        load(GTE)
    monkeypatch.setattr(modeling_qwen2, "create_causal_mask", masked)
    with pytest.raises(MisconfiguredError, match="should attend to all of a text, and does not"):
        load(GTE)


@BOTH
def test_a_model_that_was_moved_stops_the_stage(load, monkeypatch, name: str) -> None:
    from channelscribe.models import text_embedding

    embedder = load(name)
    embedder._model[0].auto_model.norm.to("meta")
    monkeypatch.setattr(text_embedding, "load", lambda spec, device: embedder)
    with pytest.raises(MisconfiguredError, match="asked to run on cpu but is on cpu and meta"):
        load_engine(SPECS[name], "cpu", Clock())


def test_a_model_that_was_not_fetched_is_a_sentence(models_root) -> None:
    from channelscribe.models import text_embedding

    with pytest.raises(MisconfiguredError, match=r"Qwen3-Embedding-0\.6B is missing"):
        text_embedding.load(SPECS[QWEN3], "cpu")


@pytest.mark.weights
@pytest.mark.parametrize(("profile", "dimension"), [(GPU, 1024), (GPU_REFERENCE, 1536)], ids=lambda x: str(x))
def test_real_weights_find_what_is_meant(profile, dimension: int) -> None:
    from channelscribe.model_files import model_folder
    from channelscribe.models import text_embedding

    spec = profile.stages["embed_text"]
    try:
        model_folder(spec.model, spec.revision)
    except MisconfiguredError as error:
        pytest.skip(str(error))
    embedder = text_embedding.load(spec, "cpu")
    pairs = {
        "What is the capital of China?": "The capital of China is Beijing.",
        "How does gravity work?": "Masses attract each other, which keeps the planets in their orbits.",
        "Wer hat das Spiel gewonnen?": "Our team won the match by two goals in the last minute.",
        "recipe without meat": "For the soup we fry onions, then add lentils, carrots and cumin.",
    }
    documents = embedder.embed(list(pairs.values()))
    assert documents.shape == (len(pairs), dimension)
    similarity = np.stack([embedder.embed_query(query) for query in pairs]) @ documents.T
    assert similarity.argmax(1).tolist() == list(range(len(pairs)))
    right = similarity.diagonal()
    others = np.where(np.eye(len(pairs), dtype=bool), -1.0, similarity).max(1)
    assert (right - others).min() > 0.1

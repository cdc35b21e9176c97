"""Speech recognition by Whisper on CTranslate2, with faster-whisper's features, tokenizer and alignment."""

import ctypes
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2 import set_random_seed
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, merge_punctuations, pad_or_trim

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.models.whisper import (
    APPENDED,
    BEAM_SIZE,
    BEST_OF,
    FRAMES_PER_S,
    PREPENDED,
    SEED,
    Clip,
    Decoded,
    RawWord,
    Whisper,
)
from channelscribe.profiles import StageSpec

# Weights of large-v3-turbo in float16, CUDA's context and cuBLAS's workspace; and what one region takes on top, most of
# it attention in the encoder.
_FIXED_GIB = 2.5
_GIB_PER_REGION = 0.2
_MAX_BATCH = 64
# On a CPU more at once is no faster, and takes 0.4 GiB each.
_CPU_BATCH = 4
_CUBLAS_WHEEL = "nvidia-cublas-cu12"


class CTranslateWhisper(Whisper):
    """The recogniser. On a GPU it computes in float16, on a CPU in float32, as its results are to be the same."""

    def __init__(self, folder: Path, device: str, batch_size: int) -> None:
        super().__init__(batch_size)
        # It counts until a thread first samples, and never again: equal runs are equal, equal calls may not be.
        set_random_seed(SEED)
        self._model = WhisperModel(
            str(folder),
            device=device,  # "auto" would take the CPU without a word
            compute_type="float16" if device == "cuda" else "float32",
            cpu_threads=len(os.sched_getaffinity(0)),  # the default is 4 at most
            local_files_only=True,
        )

    @property
    def device(self) -> str:
        """Where CTranslate2 says that the model is."""
        return str(self._model.model.device)

    def encode(self, clips: Sequence[Clip]) -> Any:
        """Encoder output as a StorageView of (n_clips, 1500, width)."""
        extract = self._model.feature_extractor
        features = np.stack([pad_or_trim(extract(clip)[..., :-1]) for clip in clips])
        return self._model.encode(features)

    def languages(self, encoded: Any) -> list[dict[str, float]] | None:
        """Probability of every language for each clip, by one step of the decoder."""
        if not self._model.model.is_multilingual:
            return None
        return [
            {token.strip("<|>"): probability for token, probability in of_clip}
            for of_clip in self._model.model.detect_language(encoded)
        ]

    def decode(
        self, encoded: Any, clips: Sequence[Clip], language: str, temperature: float, max_tokens: int
    ) -> list[Decoded]:
        """Text of each clip, with times of its words by cross-attention."""
        tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
        )
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        results = self._model.model.generate(
            encoded,
            [prompt] * len(clips),
            # CTranslate2 takes half of it for the text, or what the prompt leaves of it, whichever is less.
            max_length=max(2 * max_tokens, len(prompt) + max_tokens),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            **_search(temperature),
        )
        # A model may say timestamps although it was told not to; they can't be aligned.
        tokens = [[token for token in result.sequences_ids[0] if token < tokenizer.eot] for result in results]
        n_frames = [max(2, len(clip) * FRAMES_PER_S // SAMPLE_RATE_HZ) for clip in clips]
        alignments = self._model.find_alignment(tokenizer, tokens, encoded, n_frames)
        decoded = []
        for result, words in zip(results, alignments, strict=True):
            merge_punctuations(words, PREPENDED, APPENDED)
            n_tokens = len(result.sequences_ids[0])
            decoded.append(
                Decoded(
                    [RawWord(word["word"], word["start"], word["end"], word["probability"]) for word in words],
                    # The score is the mean without the end of text, which Whisper counts as a token.
                    avg_logprob=result.scores[0] * n_tokens / (n_tokens + 1),
                    no_speech_prob=result.no_speech_prob,
                )
            )
        return decoded


def load(spec: StageSpec, device: str) -> CTranslateWhisper:
    """Load the model that was fetched.

    As many regions are worked on together as fit the memory that the profile gives the stage: other stages may have the
    rest of the GPU.

    Raises:
        MisconfiguredError: the model was not fetched, or CUDA's library is missing.
    """
    folder = model_folder(spec.model, spec.revision)
    if device == "cpu":
        return CTranslateWhisper(folder, device, _CPU_BATCH)
    _load_cublas()
    n_regions = int((spec.memory_gib - _FIXED_GIB) / _GIB_PER_REGION)
    return CTranslateWhisper(folder, device, min(max(n_regions, 1), _MAX_BATCH))


def _search(temperature: float) -> dict[str, Any]:
    """How to look for the text: by beams, or by sampling."""
    if temperature == 0:
        return {"beam_size": BEAM_SIZE}
    return {"beam_size": 1, "num_hypotheses": BEST_OF, "sampling_topk": 0, "sampling_temperature": temperature}


def _load_cublas() -> None:
    """Load CUDA 12's cuBLAS, which CTranslate2 is linked with, where torch brings that of CUDA 13 only.

    Its wheel puts it into a folder where the loader does not look; once it is loaded from there, CTranslate2 finds it
    by its name. Without the wheel it may be one of the system's libraries.

    Raises:
        MisconfiguredError: there is none.
    """
    try:
        folder = Path(str(distribution(_CUBLAS_WHEEL).locate_file("nvidia/cublas/lib")))
    except PackageNotFoundError:
        folder = None
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        try:
            ctypes.CDLL(str(folder / name) if folder else name)
        except OSError as error:
            raise MisconfiguredError(
                f"faster-whisper on a GPU needs CUDA 12's cuBLAS ({error}): install {_CUBLAS_WHEEL} by `make setup`."
            ) from error

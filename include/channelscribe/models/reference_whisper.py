"""Speech recognition by OpenAI's own Whisper, on torch: slow, and what the fast engine is held against."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import whisper
from whisper.audio import N_FRAMES, log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingOptions
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import get_tokenizer

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.models.devices import device_of
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

# Silence that is added to a clip and cut off again with the last frame, as faster-whisper does.
_TAIL_SAMPLES = SAMPLE_RATE_HZ // FRAMES_PER_S


class ReferenceWhisper(Whisper):
    """The recogniser, one region at a time. On a GPU it computes in float16, on a CPU in float32."""

    def __init__(self, checkpoint: Path, device: str) -> None:
        super().__init__(batch_size=1)
        self._model = whisper.load_model(str(checkpoint), device=device)
        # The library knows which heads follow the speech only of a model that it fetched itself.
        heads = whisper._ALIGNMENT_HEADS.get(checkpoint.stem)
        if heads:
            self._model.set_alignment_heads(heads)
        self._on_gpu = device == "cuda"

    @property
    def device(self) -> str:
        """Where all parameters are."""
        return device_of(self._model)

    def encode(self, clips: Sequence[Clip]) -> Any:
        """The spectrograms, (n_clips, n_mels, 3000), and the encoder's output, (n_clips, 1500, width)."""
        spectrograms = []
        for clip in clips:
            spectrogram = log_mel_spectrogram(
                torch.from_numpy(clip.copy()), self._model.dims.n_mels, padding=_TAIL_SAMPLES, device=self._model.device
            )
            spectrograms.append(pad_or_trim(spectrogram[:, :-1], N_FRAMES))
        mel = torch.stack(spectrograms)
        mel = mel.half() if self._on_gpu else mel
        with torch.no_grad():
            return mel, self._model.embed_audio(mel)

    def languages(self, encoded: Any) -> list[dict[str, float]] | None:
        """Probability of every language for each clip, by one step of the decoder."""
        if not self._model.is_multilingual:
            return None
        probabilities: list[dict[str, float]] = self._model.detect_language(encoded[1])[1]
        return probabilities

    def decode(
        self, encoded: Any, clips: Sequence[Clip], language: str, temperature: float, max_tokens: int
    ) -> list[Decoded]:
        """Text of each clip, with times of its words by cross-attention (for which the library encodes it again)."""
        model = self._model
        tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=language, task="transcribe"
        )
        torch.manual_seed(SEED)
        options = DecodingOptions(
            language=language,
            temperature=temperature,
            beam_size=None if temperature else BEAM_SIZE,
            best_of=BEST_OF if temperature else None,
            sample_len=max_tokens,
            without_timestamps=True,
            fp16=self._on_gpu,
        )
        decoded = []
        for clip, mel, result in zip(clips, encoded[0], model.decode(encoded[1], options), strict=True):
            n_frames = max(2, len(clip) * FRAMES_PER_S // SAMPLE_RATE_HZ)
            # A model may say timestamps although it was told not to; they can't be aligned.
            tokens = [token for token in result.tokens if token < tokenizer.eot]
            words = find_alignment(model, tokenizer, tokens, mel, n_frames)
            merge_punctuations(words, PREPENDED, APPENDED)
            decoded.append(
                Decoded(
                    [RawWord(word.word, word.start, word.end, word.probability) for word in words],
                    avg_logprob=result.avg_logprob,
                    no_speech_prob=result.no_speech_prob,
                )
            )
        return decoded


def load(spec: StageSpec, device: str) -> ReferenceWhisper:
    """Load the checkpoint that was fetched.

    Raises:
        MisconfiguredError: it was not fetched.
    """
    folder = model_folder(spec.model, spec.revision)
    checkpoints = list(folder.glob("*.pt"))
    if len(checkpoints) != 1:
        raise MisconfiguredError(
            f"{folder} holds {len(checkpoints)} checkpoints of Whisper instead of one: empty it, and run "
            "`channelscribe models pull --profile gpu-reference`."
        )
    return ReferenceWhisper(checkpoints[0], device)

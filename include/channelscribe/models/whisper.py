"""What both adapters of Whisper share: the order of work, the language, and times that stay inside the audio.

Whisper hears 30 s at a time, whatever a region's length, so each region is one window: one pass of the encoder, and one
of the decoder, which ends after a bounded number of tokens. The libraries' own loops, which look for the next window by
what the last one said, can walk a babbling model through a recording in steps of 20 ms; they are not used.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice
from math import ceil, floor
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Span, Word
from channelscribe.models import Heard, Line, Recognition

WINDOW_S = 30.0
BEAM_SIZE = 5
BEST_OF = 5
"""Texts that are sampled at a temperature, of which the likeliest is kept. Both are the libraries' defaults."""

SEED = 0
FRAMES_PER_S = 100
PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,\uff0c!\uff01?\uff1f:\uff1a”)]}、"
"""Punctuation that belongs to the word after it, and to the word before it."""

# As many as a window of Whisper's training text had; and no language has more tokens in a second of speech. A loop in a
# short region ends early that way.
_MAX_TOKENS = 224
_MAX_TOKENS_PER_S = 30
_MIN_TOKENS = 10
# A shorter region holds no word, and has too few samples for a spectrum.
_MIN_REGION_S = 0.1
# Regions that the language is detected over, spread over the recording.
_N_LANGUAGE_SAMPLE = 8
# Whisper's names of languages that are not ISO 639-1's.
_ISO_639 = {"jw": "jv"}
_WHISPER_NAMES = {iso: name for name, iso in _ISO_639.items()}

Clip = NDArray[np.float32]


class RawWord(NamedTuple):
    """A word as a library gives it: white space around it, times in seconds of the clip, numbers of whatever type."""

    text: str
    start_s: float
    end_s: float
    probability: float


class Decoded(NamedTuple):
    """What the decoder said of a clip."""

    words: Sequence[RawWord]
    avg_logprob: float
    no_speech_prob: float


class Whisper(ABC):
    """A recogniser by one of the libraries, which says how to encode, tell the language, and decode.

    The language is detected once, over up to eight regions spread over the recording, and fixed for all of it. It costs
    no pass of the encoder: these regions are encoded first, and decoded from the same output. The languages of a region
    are weighted by its length. Every region also tells its own language, by one step of the decoder, so that one
    in another language can be seen.

    Args:
        batch_size: regions that are encoded and decoded together.
    """

    word_timing: Literal["aligned"] = "aligned"
    temperatures = (0.2, 0.4, 0.6, 0.8, 1.0)

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    @abstractmethod
    def encode(self, clips: Sequence[Clip]) -> Any:
        """Encoder output of clips of at most 30 s, (n_clips, 1500, width), in the library's type."""

    @abstractmethod
    def languages(self, encoded: Any) -> list[dict[str, float]] | None:
        """Probability of every language for each clip, by Whisper's names; None if the model is English only."""

    @abstractmethod
    def decode(
        self, encoded: Any, clips: Sequence[Clip], language: str, temperature: float, max_tokens: int
    ) -> list[Decoded]:
        """Text of each clip, with times of its words."""

    def transcribe(
        self,
        waveform: NDArray[np.float32],
        regions: Sequence[Span],
        language: str | None = None,
        temperature: float = 0.0,
    ) -> Recognition:
        """See `models.Recogniser`."""
        clips = {index: _clip(waveform, region) for index, region in enumerate(regions)}
        indexes = [index for index, clip in clips.items() if len(clip) >= _MIN_REGION_S * SAMPLE_RATE_HZ]
        if not indexes:
            return Recognition(language or "und", None, tuple(Heard(()) for _ in regions))
        sample = [] if language else _spread(indexes, _N_LANGUAGE_SAMPLE)
        rest = sorted(set(indexes) - set(sample))
        kept = [self._encoded(batch, clips) for batch in _batches(sample, self.batch_size)]
        probability = None
        if language is None:
            language, probability = _vote([(len(clips[i]), said) for batch in kept for i, said in batch.languages()])
        name = _WHISPER_NAMES.get(language, language)

        heard = {index: Heard(()) for index in clips}
        waiting = _batches(rest, self.batch_size)
        while kept or waiting:
            # Taken off the list, so that the encoder's output does not outlive its use.
            batch = kept.pop() if kept else self._encoded(waiting.pop(), clips)
            batch_clips = [clips[index] for index in batch.indexes]
            decoded = self.decode(batch.output, batch_clips, name, temperature, _max_tokens(batch_clips))
            for (index, said), text in zip(batch.languages(), decoded, strict=True):
                heard[index] = _heard(text, said, regions[index], len(waveform) / SAMPLE_RATE_HZ)
        return Recognition(language, probability, tuple(heard.values()))

    def _encoded(self, indexes: list[int], clips: dict[int, Clip]) -> "_Batch":
        output = self.encode([clips[index] for index in indexes])
        return _Batch(indexes, output, self.languages(output))


class _Batch(NamedTuple):
    """Regions that were encoded together, by their indexes."""

    indexes: list[int]
    output: Any
    probabilities: list[dict[str, float]] | None

    def languages(self) -> list[tuple[int, dict[str, float]]]:
        return list(zip(self.indexes, self.probabilities or [{} for _ in self.indexes], strict=True))


def _clip(waveform: NDArray[np.float32], region: Span) -> Clip:
    """The samples of a region, not copied.

    Raises:
        ValueError: it is longer than Whisper hears: what is beyond would be lost without a word.
    """
    first, last = round(region.start_s * SAMPLE_RATE_HZ), round(region.end_s * SAMPLE_RATE_HZ)
    if last - first > WINDOW_S * SAMPLE_RATE_HZ + 1:  # one for rounding
        raise ValueError(f"A region of {region.end_s - region.start_s:.2f} s is longer than {WINDOW_S:.0f} s.")
    return waveform[max(first, 0) : max(last, 0)]


def _spread(indexes: Sequence[int], n: int) -> list[int]:
    """At most n of the indexes, evenly spread over them."""
    places = np.linspace(0, len(indexes) - 1, min(n, len(indexes))).round().astype(int)
    return [indexes[place] for place in places]


def _batches(indexes: Iterable[int], size: int) -> list[list[int]]:
    waiting = iter(indexes)
    return list(iter(lambda: list(islice(waiting, size)), []))


def _vote(said: Sequence[tuple[int, dict[str, float]]]) -> tuple[str, float | None]:
    """The likeliest language and its mean probability over clips, weighted by their length; English if none is told."""
    totals: dict[str, float] = {}
    for n_samples, probabilities in said:
        for name, probability in probabilities.items():
            totals[name] = totals.get(name, 0.0) + n_samples * probability
    if not totals:
        return "en", None
    best = max(totals, key=lambda name: totals[name])
    return _ISO_639.get(best, best), totals[best] / sum(n_samples for n_samples, _ in said)


def _max_tokens(clips: Sequence[Clip]) -> int:
    longest_s = max(len(clip) for clip in clips) / SAMPLE_RATE_HZ
    return min(_MAX_TOKENS, _MIN_TOKENS + int(_MAX_TOKENS_PER_S * longest_s))


def _heard(decoded: Decoded, said: dict[str, float], region: Span, audio_s: float) -> Heard:
    language = max(said, key=lambda name: said[name]) if said else None
    words = _words(decoded.words, max(region.start_s, 0.0), min(region.end_s, audio_s))
    lines = []
    if words:
        text = " ".join(word.text for word in words)
        figures = float(decoded.avg_logprob), float(decoded.no_speech_prob)
        lines.append(Line(words[0].start_s, words[-1].end_s, text, tuple(words), *figures))
    return Heard(
        tuple(lines),
        language=_ISO_639.get(language, language) if language else None,
        language_probability=float(said[language]) if language else None,
    )


def _words(raw: Sequence[RawWord], start_s: float, end_s: float) -> list[Word]:
    """Words that follow one another between two times, with the plain floats that the libraries do not give."""
    # In whole milliseconds inside, so that rounding leads nowhere else.
    start_s = ceil(start_s * 1000) / 1000
    end_s = max(floor(end_s * 1000) / 1000, start_s)
    words: list[Word] = []
    for word in raw:
        first_s = words[-1].end_s if words else start_s
        word_start_s = min(max(start_s + float(word.start_s), first_s), end_s)
        word_end_s = min(max(start_s + float(word.end_s), word_start_s), end_s)
        if word.text.strip():
            words.append(
                Word(
                    text=word.text.strip(),
                    start_s=round(word_start_s, 3),
                    end_s=round(word_end_s, 3),
                    probability=round(float(word.probability), 4),
                )
            )
    return words

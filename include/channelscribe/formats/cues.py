"""Captions: utterances cut at their words into what can be read in the time that it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from channelscribe.channels.identity import one_line
from channelscribe.contracts import Word
from channelscribe.formats.plain import speaker_name
from channelscribe.formats.recording import Recording, SpokenUtterance

# What a caption may hold: two lines of 42 characters, as broadcasters have it, and for as long as people look at it.
MAX_CHARACTERS = 84
MAX_S = 7.0
_ENDS_OF_PHRASES = tuple(".?!,;:…。？！、，")  # noqa: RUF001 - those of Chinese and Japanese, too


@dataclass(frozen=True)
class Cue:
    """A caption. Text and name are on one line each, and not escaped.

    ``is_first`` says that the name must be shown: the utterance begins, or goes on behind a cue of another one.
    """

    start_ms: int
    end_ms: int
    speaker: str
    text: str
    is_first: bool


def cues(recording: Recording) -> list[Cue]:
    """The captions of a recording, by start; each lasts at least 1 ms and at most 7 s, with at most 84 characters."""
    found = [
        (utterance, words)
        for utterance in recording.utterances
        for words in _split([piece for word in utterance.words for piece in _pieces(word)])
    ]
    found.sort(key=lambda item: _start_ms(item[1]))
    before: SpokenUtterance | None = None
    result = []
    for utterance, words in found:
        start_ms = _start_ms(words)
        end_ms = max(round(max(word.end_s for word in words) * 1000), start_ms + 1)
        result.append(
            Cue(
                start_ms=start_ms,
                end_ms=min(end_ms, start_ms + round(MAX_S * 1000)),
                speaker=speaker_name(utterance.speaker, utterance.cluster),
                text=" ".join(word.text for word in words),
                is_first=utterance is not before,
            )
        )
        before = utterance
    return result


def _start_ms(words: Sequence[Word]) -> int:
    return max(0, round(words[0].start_s * 1000))


def _split(words: list[Word]) -> list[list[Word]]:
    result, at = [], 0
    while at < len(words):
        n = _how_many(words, at)
        result.append(words[at : at + n])
        at += n
    return result


def _how_many(words: Sequence[Word], at: int) -> int:
    """How many words from one on make the next cue: all that fit, or fewer where that ends it with a phrase."""
    n, n_characters = 1, len(words[at].text)
    while at + n < len(words):
        word = words[at + n]
        n_characters += 1 + len(word.text)
        if n_characters > MAX_CHARACTERS or word.end_s - words[at].start_s > MAX_S:
            break
        n += 1
    else:
        return n
    for shorter in range(n, n // 2, -1):
        if words[at + shorter - 1].text.endswith(_ENDS_OF_PHRASES):
            return shorter
    return n


def _pieces(word: Word) -> list[Word]:
    """The word on one line, in parts that fit where it is longer than a cue; none where it shows nothing."""
    text = one_line(word.text)
    parts = [text[first : first + MAX_CHARACTERS] for first in range(0, len(text), MAX_CHARACTERS)]
    step_s = (word.end_s - word.start_s) / max(1, len(parts))
    return [
        Word(text=part, start_s=word.start_s + n * step_s, end_s=word.start_s + (n + 1) * step_s)
        for n, part in enumerate(parts)
    ]

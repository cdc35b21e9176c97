"""Is what a recogniser wrote to be believed? Checks of a region's text against itself and against the speech in it.

What fails one is marked, and never dropped: a reader can judge it, and a missing text could not be judged.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from channelscribe.contracts import Segment, Span, Suspicion, Turn, Word
from channelscribe.models import Heard, Line
from channelscribe.speakers.regions import interpolate_words
from channelscribe.speakers.utterances import SENTENCE_ENDS

# Whisper's own limits: of length over compressed length, of the mean log-probability of a token, and of the
# probability that nobody speaks, which counts only where the text is improbable too.
_MAX_COMPRESSION = 2.4
_MIN_AVG_LOGPROB = -1.0
_MAX_NO_SPEECH_PROB = 0.6
# A phrase of up to so many words, said so often in a row, over so many words in all, is a loop and no emphasis.
_MAX_PHRASE_WORDS = 12
_MIN_REPEATS = 3
_MIN_REPEATED_WORDS = 10
# Of another language only where it is sure and there was enough to hear.
_MIN_LANGUAGE_PROBABILITY = 0.8
_MIN_LANGUAGE_S = 3.0
# Turns end tightly on speech: a word this far outside may still be said.
_WORD_TOLERANCE_S = 0.5
# A word speaks for the speech this far around it; what is left and is longer than a breath or a laugh has no text.
_WORD_REACH_S = 1.0
_MIN_GAP_IN_TEXT_S = 1.0
# A pause that ends a segment.
_MAX_PAUSE_S = 1.0

# The worst first. Better a hole than a guess, so speech without text is the least of them.
_GRAVITY: tuple[Suspicion, ...] = ("repetition", "no_speech", "low_probability", "missing_text")


@dataclass(frozen=True)
class CheckedRegion:
    """The text of a region, and what speaks against it.

    Args:
        segments: with their suspicions.
        speech_s: seconds of speech in it.
        without_text: stretches of its speech that got none.
        avg_logprob: the lowest of its lines, where the recogniser tells it.
    """

    segments: tuple[Segment, ...]
    speech_s: float
    without_text: tuple[Span, ...]
    avg_logprob: float | None = None

    @property
    def covered_s(self) -> float:
        """Seconds of its speech that got text."""
        if not self.segments:
            return 0.0
        return self.speech_s - sum(span.end_s - span.start_s for span in self.without_text)

    @property
    def suspicions(self) -> frozenset[Suspicion]:
        """Everything that another attempt may mend: another language stays what it is."""
        found: set[Suspicion] = {suspicion for segment in self.segments for suspicion in segment.suspicions}
        if self.without_text:
            found.add("missing_text")
        return frozenset(found - {"other_language"})

    def is_better_than(self, other: "CheckedRegion") -> bool:
        """It lacks the gravest fault that only one of them has; or else its text is the likelier one.

        No text is never better than one: it would hide what was heard.
        """
        if not self.segments:
            return False
        mine, others = ([fault in region.suspicions for fault in _GRAVITY] for region in (self, other))
        if mine != others:
            return mine < others
        if self.avg_logprob is None or other.avg_logprob is None:
            return False
        return self.avg_logprob > other.avg_logprob


def check_region(heard: Heard, turns: Sequence[Turn], language: str) -> CheckedRegion:
    """Make segments of a region's lines, and say of each why it may be wrong.

    Args:
        heard: what the recogniser heard there.
        turns: the region's exclusive turns, sorted: at least one.
        language: of the whole recording.
    """
    of_all = _suspicions_of_region(heard, turns, language)
    segments: list[Segment] = []
    for line in heard.lines:
        for words in _segmented(line, turns):
            found = of_all | _suspicions_of_line(line)
            if line.words and _is_outside(words, turns):
                found |= {"no_speech"}
            segments.append(_segment(words, found))
    without_text = _speech_without_text(heard.lines, segments, turns)
    logprobs = [line.avg_logprob for line in heard.lines if line.avg_logprob is not None]
    return CheckedRegion(
        segments=tuple(_marked_beside(segments, without_text)),
        speech_s=sum(turn.duration_s for turn in turns),
        without_text=tuple(without_text),
        avg_logprob=min(logprobs, default=None),
    )


def repeats_itself(text: str) -> bool:
    """Whether a text goes round in circles: a phrase many times in a row, or hardly anything in all its length."""
    encoded = text.encode()
    if encoded and len(encoded) / len(zlib.compress(encoded)) > _MAX_COMPRESSION:
        return True
    words = ["".join(filter(str.isalnum, word)) or word for word in text.casefold().split()]
    for length in range(1, min(_MAX_PHRASE_WORDS, len(words) // _MIN_REPEATS) + 1):
        # Words in a row that are equal to the one a phrase earlier; a phrase said k times has k - 1 phrases of them.
        run = 0
        for earlier, later in zip(words, words[length:], strict=False):
            run = run + 1 if earlier == later else 0
            said = run + length
            if said >= max(_MIN_REPEATED_WORDS, _MIN_REPEATS * length):
                return True
    return False


def in_order(segments: Sequence[Segment]) -> list[Segment]:
    """Segments whose words never begin before the last one ended: what is around a cut may be heard on both sides."""
    result: list[Segment] = []
    last_end_s = 0.0
    for segment in segments:
        words = []
        for word in segment.words:
            start_s = max(word.start_s, last_end_s)
            last_end_s = max(word.end_s, start_s)
            words.append(word.model_copy(update={"start_s": start_s, "end_s": last_end_s}))
        result.append(_segment(words, set(segment.suspicions)))
    return result


def _suspicions_of_region(heard: Heard, turns: Sequence[Turn], language: str) -> set[Suspicion]:
    found: set[Suspicion] = set()
    if repeats_itself(" ".join(line.text for line in heard.lines)):
        found.add("repetition")
    if (
        heard.language not in (None, language)
        and (heard.language_probability or 0.0) >= _MIN_LANGUAGE_PROBABILITY
        and sum(turn.duration_s for turn in turns) >= _MIN_LANGUAGE_S
    ):
        found.add("other_language")
    return found


def _suspicions_of_line(line: Line) -> set[Suspicion]:
    if line.avg_logprob is None or line.avg_logprob >= _MIN_AVG_LOGPROB:
        return set()
    is_silence = line.no_speech_prob is not None and line.no_speech_prob > _MAX_NO_SPEECH_PROB
    return {"low_probability", "no_speech"} if is_silence else {"low_probability"}


def _segmented(line: Line, turns: Sequence[Turn]) -> list[list[Word]]:
    """The words of a line: all together where their times are guessed, else cut at pauses and after sentences."""
    if not line.words:
        return [interpolate_words(line.text, Span(start_s=line.start_s, end_s=line.end_s), turns)]
    segments: list[list[Word]] = []
    for word in (_trimmed(word, turns) for word in line.words):
        last = segments[-1][-1] if segments else None
        if last is None or last.text.endswith(SENTENCE_ENDS) or word.start_s - last.end_s > _MAX_PAUSE_S:
            segments.append([])
        segments[-1].append(word)
    return segments


def _trimmed(word: Word, turns: Sequence[Turn]) -> Word:
    """The word without the silence around it: alignment gives pauses to the words beside them."""
    over = [turn for turn in turns if turn.start_s < word.end_s and turn.end_s > word.start_s]
    if not over:
        return word
    start_s, end_s = max(word.start_s, over[0].start_s), min(word.end_s, over[-1].end_s)
    return word.model_copy(update={"start_s": start_s, "end_s": end_s})


def _is_outside(words: Sequence[Word], turns: Sequence[Turn]) -> bool:
    """Whether most of the words are said where nobody speaks."""
    outside = [
        all(
            word.start_s > turn.end_s + _WORD_TOLERANCE_S or word.end_s < turn.start_s - _WORD_TOLERANCE_S
            for turn in turns
        )
        for word in words
    ]
    return sum(outside) > len(words) / 2


def _speech_without_text(lines: Sequence[Line], segments: Sequence[Segment], turns: Sequence[Turn]) -> list[Span]:
    """Stretches of a second and more; of a recogniser without times of words only the region as a whole is known."""
    if not lines:
        whole = Span(start_s=turns[0].start_s, end_s=turns[-1].end_s)
        return [whole] if whole.end_s - whole.start_s >= _MIN_GAP_IN_TEXT_S else []
    if not lines[0].words:
        return []
    words = [word for segment in segments for word in segment.words]
    edges = [float("-inf"), *(edge for word in words for edge in _reach(word)), float("inf")]
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    spans = []
    for start_s, end_s in _joined(turns):
        for gap_start_s, gap_end_s in gaps:
            first_s, last_s = max(start_s, gap_start_s), min(end_s, gap_end_s)
            if last_s - first_s >= _MIN_GAP_IN_TEXT_S:
                spans.append(Span(start_s=round(first_s, 3), end_s=round(last_s, 3)))
    return spans


def _reach(word: Word) -> tuple[float, float]:
    return word.start_s - _WORD_REACH_S, word.end_s + _WORD_REACH_S


def _joined(turns: Sequence[Turn]) -> list[tuple[float, float]]:
    """Speech without its speakers: turns that touch are one."""
    starts = [turns[0].start_s, *(after.start_s for before, after in pairwise(turns) if after.start_s > before.end_s)]
    ends = [*(before.end_s for before, after in pairwise(turns) if after.start_s > before.end_s), turns[-1].end_s]
    return list(zip(starts, ends, strict=True))


def _marked_beside(segments: Sequence[Segment], without_text: Sequence[Span]) -> list[Segment]:
    """The segments, those next to speech without text marked as such."""
    beside: set[int] = set()
    for span in without_text:
        before = [index for index, segment in enumerate(segments) if segment.start_s <= span.start_s]
        after = [index for index, segment in enumerate(segments) if segment.end_s >= span.end_s]
        beside |= {*before[-1:], *after[:1]}
    return [
        _segment(segment.words, {*segment.suspicions, "missing_text"}) if index in beside else segment
        for index, segment in enumerate(segments)
    ]


def _segment(words: Sequence[Word], suspicions: set[Suspicion]) -> Segment:
    return Segment(
        start_s=words[0].start_s, end_s=words[-1].end_s, words=tuple(words), suspicions=tuple(sorted(suspicions))
    )

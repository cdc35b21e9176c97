import pytest

from channelscribe.contracts import Segment, Span, Turn, Word
from channelscribe.models import Heard, Line
from channelscribe.stages.text_checks import CheckedRegion, check_region, in_order, repeats_itself

PLAIN = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."


def turn(start_s: float, end_s: float, cluster: str = "A") -> Turn:
    return Turn(start_s=start_s, end_s=end_s, cluster=cluster)


def line(
    text: str,
    start_s: float = 0.0,
    word_s: float = 0.5,
    avg_logprob: float | None = -0.2,
    no_speech_prob: float | None = 0.01,
) -> Line:
    """Words one after another, as an engine that aligns them gives them."""
    words = tuple(
        Word(text=token, start_s=start_s + i * word_s, end_s=start_s + (i + 1) * word_s)
        for i, token in enumerate(text.split())
    )
    return Line(start_s, words[-1].end_s, text, words, avg_logprob, no_speech_prob)


def check(*lines: Line, turns: list[Turn], language: str | None = "en", probability: float = 0.99) -> CheckedRegion:
    return check_region(Heard(lines, language, probability), turns, "en")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "",
        "No no no no no, I said no.",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
        "1 2 3 4 5 6 7 8 9 10 11 12",
        "Vielen Dank. Vielen Dank.",
    ],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert not repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "no " * 10,
        "you know, You know. you know you know you know",
        f"{PLAIN} and then and then and then and then and then we went",
        "Thank you for watching. " * 3,
        "I think that it is one of the best things that ever was. " * 3,
        # Without white space between words the length over the compressed length tells.
        "ご視聴ありがとうございました" * 12,
        "- - - - - - - - - -",
    ],
)
def test_loops_are_found(text: str) -> None:
    assert repeats_itself(text)


def test_plain_speech_is_not_suspicious_and_is_cut_into_sentences() -> None:
    checked = check(line("Well now. What is it?"), turns=[turn(0, 3)])
    assert [segment.text for segment in checked.segments] == ["Well now.", "What is it?"]
    assert [segment.suspicions for segment in checked.segments] == [(), ()]
    assert (checked.suspicions, checked.without_text, checked.covered_s) == (frozenset(), (), 3.0)


def test_a_loop_marks_the_text() -> None:
    checked = check(line("thanks " * 12), turns=[turn(0, 6)])
    assert [segment.suspicions for segment in checked.segments] == [("repetition",)]
    assert checked.suspicions == {"repetition"}


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "expected"),
    [
        (-0.99, 0.99, ()),
        (-1.01, 0.5, ("low_probability",)),
        (-1.01, 0.7, ("low_probability", "no_speech")),
        (None, None, ()),
    ],
)
def test_improbable_text_is_marked(avg_logprob, no_speech_prob, expected) -> None:
    said = line("so it goes", avg_logprob=avg_logprob, no_speech_prob=no_speech_prob)
    assert check(said, turns=[turn(0, 1.5)]).segments[0].suspicions == expected


def test_text_where_nobody_speaks_is_marked_and_kept() -> None:
    words = (*line("who is there").words, *line("subtitles by somebody", start_s=5.0).words)
    said = Line(0.0, 6.5, "who is there subtitles by somebody", words)
    first, second = check(said, turns=[turn(0, 1.5), turn(8, 8.5)]).segments
    assert (first.text, first.suspicions) == ("who is there", ())
    assert (second.text, second.suspicions) == ("subtitles by somebody", ("no_speech",))


def test_a_word_at_the_edge_of_a_turn_is_not_outside() -> None:
    assert check(line("yes", start_s=2.3), turns=[turn(1, 2)]).segments[0].suspicions == ()


@pytest.mark.parametrize(
    ("language", "probability", "speech_s", "expected"),
    [
        ("de", 0.9, 10, ("other_language",)),
        ("de", 0.7, 10, ()),
        ("de", 0.9, 2, ()),
        ("en", 0.9, 10, ()),
        (None, 0.0, 10, ()),
    ],
)
def test_speech_that_surely_is_in_another_language_is_marked(language, probability, speech_s, expected) -> None:
    said = line("guten Tag", word_s=speech_s / 2)
    checked = check(said, turns=[turn(0, speech_s)], language=language, probability=probability)
    assert checked.segments[0].suspicions == expected
    assert not checked.suspicions  # nothing that another attempt would mend


def test_a_region_without_text_is_reported_from_a_second_on() -> None:
    checked = check(turns=[turn(2, 3), turn(3.5, 4)])
    assert (checked.segments, checked.covered_s, checked.without_text) == ((), 0.0, (Span(start_s=2, end_s=4),))
    assert checked.suspicions == {"missing_text"}
    short = check(turns=[turn(2, 2.9)])
    assert (short.without_text, short.covered_s, short.suspicions) == ((), 0.0, frozenset())


def test_a_hole_in_the_text_marks_its_neighbours_only() -> None:
    words = (*line("One. two.").words, *line("three. four.", start_s=11.0).words)
    said = Line(0.0, 12.0, "One. two. three. four.", words)
    # Two voices without a pause between them: the hole reaches over both.
    checked = check(said, turns=[turn(0, 6), turn(6, 12, "B")])
    assert checked.without_text == (Span(start_s=2.0, end_s=10.0),)
    assert (checked.speech_s, checked.covered_s) == (12.0, 4.0)
    assert [segment.suspicions for segment in checked.segments] == [(), ("missing_text",), ("missing_text",), ()]


def test_a_pause_is_no_hole() -> None:
    words = (*line("One two").words, *line("three four", start_s=11.0).words)
    checked = check(Line(0.0, 12.0, "One two three four", words), turns=[turn(0, 1.2), turn(10.8, 12)])
    assert (checked.without_text, checked.suspicions) == ((), frozenset())


def test_words_do_not_reach_into_the_silence_between_turns() -> None:
    said = Line(0.0, 5.0, "well then", (Word(text="well", start_s=0, end_s=1), Word(text="then", start_s=1, end_s=5)))
    words = check(said, turns=[turn(0, 1.2), turn(4.5, 5.5, "B")]).segments[0].words
    assert [(word.start_s, word.end_s) for word in words] == [(0, 1), (1, 5)]  # it is said on both sides
    words = check(said, turns=[turn(0, 0.9), turn(4.5, 5.5, "B")]).segments[-1].words
    assert [(word.start_s, word.end_s) for word in words] == [(4.5, 5)]


def test_lines_without_times_of_words_share_the_speech_and_cover_their_region() -> None:
    checked = check_region(Heard((Line(0.0, 9.0, "a b. c d"),)), [turn(0, 1), turn(5, 6)], "en")
    (segment,) = checked.segments
    assert [(word.start_s, word.end_s) for word in segment.words] == [
        (0, 0.444),
        (0.444, 1),
        (5.111, 5.556),
        (5.556, 6),
    ]
    assert (segment.suspicions, checked.covered_s, checked.without_text) == ((), 2.0, ())


def checked(*suspicions, avg_logprob: float | None = -0.5, text: bool = True) -> CheckedRegion:
    word = Word(text="word", start_s=0, end_s=1)
    found = tuple(suspicion for suspicion in suspicions if suspicion != "missing_text")
    segments = (Segment(start_s=0, end_s=1, words=(word,), suspicions=found),) if text else ()
    holes = (Span(start_s=1, end_s=3),) if "missing_text" in suspicions else ()
    return CheckedRegion(segments, 3.0, holes, avg_logprob)


def test_the_attempt_without_the_graver_fault_is_better() -> None:
    ranked = [
        checked(),
        checked(avg_logprob=-0.6),
        checked("other_language", avg_logprob=-0.7),
        checked("missing_text", avg_logprob=-0.1),
        checked("low_probability", avg_logprob=-1.5),
        checked("low_probability", "no_speech"),
        checked("repetition", avg_logprob=-0.01),
    ]
    for place, region in enumerate(ranked):
        assert [region.is_better_than(other) for other in ranked] == [place < rank for rank in range(len(ranked))]


def test_no_text_is_never_better_and_a_guess_is_not_better_than_none() -> None:
    nothing = checked("missing_text", text=False, avg_logprob=None)
    for text in (checked("repetition"), checked("low_probability"), checked()):
        assert not nothing.is_better_than(text)
    assert checked().is_better_than(nothing)
    assert not checked("low_probability").is_better_than(nothing)


def test_words_heard_on_both_sides_of_a_cut_are_put_in_order() -> None:
    segments = check(line("a b", word_s=1.0), turns=[turn(0, 2)]).segments
    later = check(line("c d", start_s=1.5, word_s=1.0), turns=[turn(1.5, 4)]).segments
    words = [word for segment in in_order([*segments, *later]) for word in segment.words]
    assert [(word.start_s, word.end_s) for word in words] == [(0, 1), (1, 2), (2, 2.5), (2.5, 3.5)]

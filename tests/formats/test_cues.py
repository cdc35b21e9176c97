"""Captions are cut where words end, and stay readable."""

import pytest

from channelscribe.formats.cues import cues


def test_a_minute_without_a_pause_is_cut_at_words(recording):
    text = " ".join(f"w{n:05}" for n in range(120))
    found = cues(recording(("SPEAKER_00", 10.0, text)))
    assert " ".join(cue.text for cue in found) == text
    assert all(len(cue.text) <= 84 and cue.end_ms - cue.start_ms <= 7000 for cue in found)
    # As few as the limits allow: 60 s in pieces of 12 words of 6 characters, which 84 characters hold.
    assert len(found) == 10
    # Words take half a second each: every cue begins with its own first word's time, and ends with its last word's.
    at = 0
    for cue in found:
        assert cue.start_ms == 10_000 + 500 * at
        at += len(cue.text.split(" "))
        assert cue.end_ms == 10_000 + 500 * at


def test_slow_speech_is_cut_by_time(recording):
    found = cues(recording(("SPEAKER_00", 0.0, "a b c d e f g h"), word_s=3.0))
    assert [(cue.text, cue.start_ms, cue.end_ms) for cue in found] == [
        ("a b", 0, 6000), ("c d", 6000, 12000), ("e f", 12000, 18000), ("g h", 18000, 24000),
    ]  # fmt: skip


def test_a_cue_ends_with_a_phrase_where_that_leaves_half_of_it(recording):
    words = ["word"] * 30
    words[9] = "word,"
    first, *_ = cues(recording(("SPEAKER_00", 0.0, " ".join(words)), word_s=0.1))
    assert first.text == " ".join(words[:10])
    words[9], words[1] = "word", "word."
    first, *_ = cues(recording(("SPEAKER_00", 0.0, " ".join(words)), word_s=0.1))
    assert len(first.text.split(" ")) == 17 - 1  # "word." is a character longer


def test_an_utterance_that_fits_is_one_cue(recording):
    (cue,) = cues(recording(("SPEAKER_00", 0.0, "It was, in short, the best of times.")))
    assert cue.text == "It was, in short, the best of times."


def test_a_word_longer_than_a_cue_is_cut(recording):
    found = cues(recording(("SPEAKER_00", 0.0, "x" * 200), word_s=30.0))
    assert [(len(cue.text), cue.start_ms, cue.end_ms) for cue in found] == [
        (84, 0, 7000), (84, 10000, 17000), (32, 20000, 27000),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["", "\n", "\u202e", "\x00\x1b"])
def test_words_that_show_nothing_are_left_out(recording, word):
    assert cues(recording(("SPEAKER_00", 0.0, word))) == []
    (cue,) = cues(recording(("SPEAKER_00", 0.0, f"one {word} two")))
    assert cue.text == "one two"


def test_a_cue_is_never_without_length(recording):
    (cue,) = cues(recording(("SPEAKER_00", 1.0, "now"), word_s=0.0))
    assert (cue.start_ms, cue.end_ms) == (1000, 1001)


def test_voices_at_the_same_time_are_named_anew_whenever_they_change(recording):
    long = " ".join(["word"] * 20)
    found = cues(recording(("SPEAKER_00", 0.0, long), ("SPEAKER_01", 5.0, "No."), ("SPEAKER_01", 5.5, "No!")))
    assert [(cue.speaker, cue.start_ms, cue.is_first) for cue in found] == [
        ("SPEAKER_00", 0, True),
        ("SPEAKER_01", 5000, True),
        ("SPEAKER_01", 5500, True),
        ("SPEAKER_00", 7000, True),
    ]
    assert [cue.is_first for cue in cues(recording(("SPEAKER_00", 0.0, long)))] == [True, False]

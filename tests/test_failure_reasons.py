"""Sentences that things end with are known by the reasons that the runbook has."""

import pytest

from channelscribe.failure_reasons import REASONS, reason_of


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("Out of memory: give the stage more, or run fewer at once.", "out of memory"),
        ("The program was killed by signal 9 (SIGKILL): out of memory?", "was killed by signal 9 (SIGKILL)"),
        ("The program was killed by signal 11 (SIGSEGV).", "was killed by signal"),
        ("The environment of the stages is not there.", "The environment of ... is not there"),
        ("This video was removed by the uploader.", "is private, was removed, is for members only"),
        ("transcribe has not been done for a: run it first, or clear its task.", "has not been done for"),
        ("It was stopped: it took longer than 4:00:00.", "It was stopped: it took longer than"),
        ("The archive cannot be reached (refused): start it.", "The archive cannot be reached"),
        ("Its chunks do not match.", None),
    ],
)
def test_a_sentence_has_the_first_reason_that_fits(sentence: str, name: str | None) -> None:
    found = reason_of(sentence)
    assert (found and found.name) == name


def test_each_reason_is_found_by_its_own_words() -> None:
    for reason in REASONS:
        for words in reason.words:
            assert reason_of(words.replace(" ... ", " x ")) is reason, words

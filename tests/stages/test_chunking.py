from collections.abc import Sequence

from channelscribe.contracts import Utterance, Word
from channelscribe.stages.chunking import build_chunks


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def utterances(*texts: str) -> list[Utterance]:
    made, at = [], 0.0
    for index, text in enumerate(texts):
        words = []
        for token in text.split():
            words.append(Word(text=token, start_s=at, end_s=at + 1))
            at += 1
        made.append(
            Utterance(
                index=index,
                cluster="AB"[index % 2],
                start_s=words[0].start_s,
                end_s=words[-1].end_s,
                words=tuple(words),
            )
        )
    return made


def test_consecutive_utterances_are_joined_while_they_fit() -> None:
    chunks = build_chunks(utterances("a b", "c", "d e f", "g"), count_words, max_tokens=4)
    assert [chunk.text for chunk in chunks] == ["a b c", "d e f g"]
    assert [(c.first_utterance, c.last_utterance) for c in chunks] == [(0, 1), (2, 3)]
    assert [c.clusters for c in chunks] == [("A", "B"), ("A", "B")]
    assert [(c.start_s, c.end_s, c.n_tokens) for c in chunks] == [(0, 3, 3), (3, 7, 4)]


def test_an_utterance_that_is_too_long_alone_is_cut_between_words() -> None:
    chunks = build_chunks(utterances("a", "b c d e f", "g"), count_words, max_tokens=2)
    assert [chunk.text for chunk in chunks] == ["a", "b c", "d e", "f g"]
    assert [(c.first_utterance, c.last_utterance) for c in chunks] == [(0, 0), (1, 1), (1, 1), (1, 2)]
    assert all(chunk.n_tokens <= 2 for chunk in chunks)
    assert [chunk.index for chunk in chunks] == [0, 1, 2, 3]


def test_a_word_longer_than_a_chunk_is_kept_whole() -> None:
    chunks = build_chunks(utterances("x " * 3), lambda texts: [9 * len(t.split()) for t in texts], max_tokens=5)
    assert [chunk.text for chunk in chunks] == ["x", "x", "x"]


def test_nothing_said_no_chunks() -> None:
    assert build_chunks([], count_words, max_tokens=4) == []

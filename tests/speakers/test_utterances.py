from channelscribe.contracts import Segment, Suspicion, Turn, Word
from channelscribe.speakers.utterances import build_utterances, words_to_turns


def turn(start_s: float, end_s: float, cluster: str) -> Turn:
    return Turn(start_s=start_s, end_s=end_s, cluster=cluster)


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s)


def words_each_second(text: str, start_s: float = 0.0) -> list[Word]:
    return [word(token, start_s + i, start_s + i + 1) for i, token in enumerate(text.split())]


def segment(*words: Word, suspicions: tuple[Suspicion, ...] = ()) -> Segment:
    return Segment(start_s=words[0].start_s, end_s=words[-1].end_s, words=words, suspicions=suspicions)


TURNS = [turn(0, 2, "A"), turn(2, 2.4, "B"), turn(2.4, 6, "A")]


def test_a_word_belongs_to_the_turn_it_overlaps_most() -> None:
    words = [word("in", 0.5, 1), word("edge", 1.9, 2.3), word("wide", 1.5, 5), word("short", 2.1, 2.2)]
    assert words_to_turns(words, TURNS).tolist() == [0, 1, 2, 1]


def test_a_word_over_three_turns_may_belong_to_the_middle_one() -> None:
    turns = [turn(0, 1, "A"), turn(1, 5, "B"), turn(5, 9, "C")]
    assert words_to_turns([word("through", 0.9, 5.2)], turns).tolist() == [1]


def test_a_word_outside_all_turns_goes_to_the_nearest() -> None:
    words = [word("early", -2, -1), word("late", 9, 10), word("between", 6.1, 6.2)]
    assert words_to_turns(words, [*TURNS, turn(8, 8.5, "B")]).tolist() == [0, 3, 2]


def test_utterances_end_where_the_speaker_changes() -> None:
    utterances = build_utterances(
        [segment(word("hello", 0, 1), word("there", 1, 2), word("hi", 2.05, 2.4), word("well", 3, 4))],
        TURNS,
        max_utterance_s=30,
    )
    assert [(u.index, u.cluster, u.text) for u in utterances] == [
        (0, "A", "hello there"),
        (1, "B", "hi"),
        (2, "A", "well"),
    ]
    assert (utterances[0].start_s, utterances[0].end_s) == (0, 2)


def test_utterances_end_at_a_pause() -> None:
    words = [*words_each_second("one two"), *words_each_second("three", start_s=3.5)]
    assert [u.text for u in build_utterances([segment(*words)], [turn(0, 9, "A")], max_utterance_s=30)] == [
        "one two",
        "three",
    ]


def test_a_long_utterance_is_cut_after_a_sentence() -> None:
    words = words_each_second("a b c. d e f g h")
    cut = build_utterances([segment(*words)], [turn(0, 99, "A")], max_utterance_s=5)
    assert [u.text for u in cut] == ["a b c.", "d e f g h"]


def test_no_word_is_lost_or_doubled_where_no_sentence_ever_ends() -> None:
    words = words_each_second(" ".join(str(i) for i in range(200)))
    utterances = build_utterances([segment(*words)], [turn(0, 999, "A")], max_utterance_s=30)
    assert [w for u in utterances for w in u.words] == words
    assert max(u.end_s - u.start_s for u in utterances) <= 30


def test_an_utterance_has_the_suspicions_of_its_words_segments_and_of_no_others() -> None:
    segments = [
        segment(*words_each_second("a b"), suspicions=("low_probability",)),
        segment(*words_each_second("c d", start_s=2), suspicions=("low_probability", "repetition")),
        segment(*words_each_second("e", start_s=4)),
        segment(*words_each_second("f g", start_s=9), suspicions=("no_speech",)),
    ]
    utterances = build_utterances(segments, [turn(0, 3, "A"), turn(3, 5, "B"), turn(9, 12, "A")], max_utterance_s=30)
    assert [(u.text, u.suspicions) for u in utterances] == [
        ("a b c", ("low_probability", "repetition")),
        ("d e", ("low_probability", "repetition")),
        ("f g", ("no_speech",)),
    ]


def test_suspicions_stay_with_the_words_that_a_cut_moves_to_the_next_utterance() -> None:
    segments = [
        segment(*words_each_second("a b c.")),
        segment(*words_each_second("d e f g h", start_s=3), suspicions=("repetition",)),
    ]
    cut = build_utterances(segments, [turn(0, 99, "A")], max_utterance_s=5)
    assert [(u.text, u.suspicions) for u in cut] == [("a b c.", ()), ("d e f g h", ("repetition",))]


def test_no_words_no_utterances() -> None:
    assert build_utterances([], [], max_utterance_s=30) == []

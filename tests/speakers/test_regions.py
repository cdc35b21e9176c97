from itertools import pairwise

import pytest

from channelscribe.contracts import Span, Turn
from channelscribe.speakers.regions import interpolate_words, padded_spans, speech_regions


def turn(start_s: float, end_s: float, cluster: str = "A") -> Turn:
    return Turn(start_s=start_s, end_s=end_s, cluster=cluster)


def regions_of(*turns: Turn, max_gap_s: float = 0.5, max_region_s: float = 20.0) -> list[list[Turn]]:
    return speech_regions(turns, max_gap_s=max_gap_s, max_region_s=max_region_s)


def test_short_pauses_of_one_voice_are_bridged() -> None:
    assert regions_of(turn(0, 1), turn(1.4, 2), turn(3, 4)) == [[turn(0, 1), turn(1.4, 2)], [turn(3, 4)]]


def test_no_region_crosses_a_change_of_speaker() -> None:
    regions = regions_of(turn(0, 1), turn(1, 2, "B"), turn(2, 3))
    assert [{t.cluster for t in region} for region in regions] == [{"A"}, {"B"}, {"A"}]


def test_a_turn_too_short_for_a_word_does_not_part_the_speech_around_it() -> None:
    assert regions_of(turn(0, 1), turn(1.0, 1.1, "B"), turn(1.2, 2)) == [[turn(0, 1), turn(1.2, 2)]]


def test_a_long_turn_is_cut_and_nothing_of_it_is_lost() -> None:
    regions = regions_of(turn(10, 65), max_region_s=20.0)
    parts = [part for region in regions for part in region]
    assert all(region[-1].end_s - region[0].start_s <= 20.0 for region in regions)
    assert (parts[0].start_s, parts[-1].end_s) == (10, 65)
    assert all(before.end_s == after.start_s for before, after in pairwise(parts))


def test_joined_turns_stay_within_the_longest_region() -> None:
    regions = regions_of(*(turn(3 * i, 3 * i + 2.9) for i in range(20)), max_region_s=10.0)
    assert all(region[-1].end_s - region[0].start_s <= 10.0 for region in regions)
    assert sum(len(region) for region in regions) == 20


def test_padding_stops_at_neighbours_and_at_the_ends_of_the_audio() -> None:
    regions = [[turn(0.05, 1)], [turn(1.1, 2, "B")], [turn(5, 6)]]
    spans = padded_spans(regions, before_s=0.1, after_s=0.3, audio_s=6.1)
    assert [(round(s.start_s, 3), round(s.end_s, 3)) for s in spans] == [(0.0, 1.1), (1.0, 2.3), (4.9, 6.1)]


def test_padding_never_shrinks_a_region_past_the_declared_end_of_the_audio() -> None:
    assert padded_spans([[turn(1, 6.2)]], before_s=0.1, after_s=0.3, audio_s=6.1) == [Span(start_s=0.9, end_s=6.2)]


def test_words_share_the_speech_and_leave_pauses_free() -> None:
    turns = [turn(10, 11), turn(12, 13)]
    words = interpolate_words("aaa bbb ccc ddd", Span(start_s=9.9, end_s=13.3), turns)
    assert [word.text for word in words] == ["aaa", "bbb", "ccc", "ddd"]
    assert [(word.start_s, word.end_s) for word in words] == [(10, 10.5), (10.5, 11), (12, 12.5), (12.5, 13)]


def test_longer_words_get_more_time() -> None:
    short, long = interpolate_words("a abcdefg", Span(start_s=0, end_s=10), [turn(0, 10)])
    assert (short.end_s - short.start_s, long.end_s - long.start_s) == pytest.approx((2.0, 8.0))


def test_a_word_over_a_pause_stays_in_the_turn_where_most_of_it_is() -> None:
    turns = [turn(0, 1), turn(5, 9)]
    for word in interpolate_words("one two three", Span(start_s=0, end_s=9), turns):
        assert any(t.start_s <= word.start_s <= word.end_s <= t.end_s for t in turns), word


def test_a_span_without_any_turn_falls_back_to_the_region() -> None:
    words = interpolate_words("lost words", Span(start_s=20, end_s=21), [turn(0, 2)])
    assert (words[0].start_s, words[-1].end_s) == (0, 2)

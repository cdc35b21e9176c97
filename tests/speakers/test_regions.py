from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.contracts import Span, Turn
from channelscribe.speakers.regions import interpolate_words, packed_regions, padded_spans, speech_regions


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


def noise(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(scale=0.1, size=int(seconds * 16_000)).astype(np.float32)


def packed(*turns: Turn, waveform: NDArray[np.float32] | None = None) -> list[list[Turn]]:
    return packed_regions(
        turns, noise(turns[-1].end_s) if waveform is None else waveform, max_gap_s=3.0, max_region_s=30.0
    )


def test_packed_regions_hold_all_speakers() -> None:
    turns = [turn(0, 9), turn(9, 12, "B"), turn(14, 29)]
    assert packed(*turns) == [turns]


def test_packed_regions_end_at_the_last_pause_that_fits() -> None:
    # Between 19 and 24 s speakers change without a pause.
    turns = [turn(0, 10), turn(10.5, 18), turn(19, 22, "B"), turn(22, 24), turn(24, 35, "B"), turn(35.3, 40)]
    regions = packed(*turns)
    assert regions == [turns[:2], turns[2:]]


def test_packed_regions_end_where_speakers_change_if_there_is_no_pause() -> None:
    turns = [turn(5 * i, 5 * i + 5, "AB"[i % 2]) for i in range(12)]
    assert packed(*turns) == [turns[:6], turns[6:]]


def test_an_early_pause_does_not_make_a_region_short() -> None:
    turns = [turn(0, 2), turn(4, 17), turn(17, 28, "B"), turn(28, 45)]
    assert packed(*turns) == [turns[:3], turns[3:]]


def test_packed_regions_do_not_reach_over_a_long_silence() -> None:
    turns = [turn(0, 2), turn(5.5, 7)]
    assert packed(*turns) == [turns[:1], turns[1:]]


def test_a_long_turn_is_cut_where_it_is_quietest() -> None:
    waveform = noise(70)
    waveform[int(24.0 * 16_000) : int(24.3 * 16_000)] = 0.0
    regions = packed(turn(0, 50), waveform=waveform)
    parts = [part for region in regions for part in region]
    assert 24.0 <= parts[0].end_s <= 24.3
    assert (parts[0].start_s, parts[-1].end_s) == (0, 50)
    assert all(before.end_s == after.start_s for before, after in pairwise(parts))
    assert all(region[-1].end_s - region[0].start_s <= 30.0 for region in regions)


def test_a_long_turn_beyond_the_end_of_the_audio_is_cut_all_the_same() -> None:
    regions = packed(turn(0, 100), waveform=noise(1))
    assert [(region[0].start_s, region[-1].end_s) for region in regions] == [
        (0, 30), (30, 60), (60, 90), (90, 100),
    ]  # fmt: skip


def test_packed_regions_lose_no_speech() -> None:
    random = np.random.default_rng(1)
    edges = np.cumsum(random.exponential(4.0, size=400)).round(3).tolist()
    turns = [turn(a, b, "AB"[i % 2]) for i, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=True))]
    regions = packed(*turns)
    lost_s = sum(t.duration_s for t in turns) - sum(part.duration_s for region in regions for part in region)
    assert lost_s <= sum(t.duration_s for t in turns if t.duration_s < 0.2) + 1e-6
    assert all(region[-1].end_s - region[0].start_s <= 30.0 for region in regions)
    assert all(before[-1].end_s <= after[0].start_s for before, after in pairwise(regions))


def test_a_region_too_short_for_a_word_is_left_out() -> None:
    assert packed(turn(0, 0.1), turn(8, 9)) == [[turn(8, 9)]]


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

"""Reciprocal rank fusion."""

import pytest

from channelscribe.store.search.fusion import reciprocal_rank_fusion


def test_scores_are_those_of_the_paper():
    merged = dict(reciprocal_rank_fusion([["a", "b", "c"], ["c", "a"]]))
    assert merged == pytest.approx({"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61})


def test_what_both_lists_have_beats_the_best_of_one():
    assert [item for item, _ in reciprocal_rank_fusion([["a", "b"], ["c", "b"]])] == ["b", "a", "c"]


def test_nothing_merges_to_nothing():
    assert reciprocal_rank_fusion([]) == reciprocal_rank_fusion([[], []]) == []

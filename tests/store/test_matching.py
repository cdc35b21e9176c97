"""The run of words that answers a query."""

import pytest

from channelscribe.store.search.matching import MatchedWord, best_run


def _words(text: str, query: str) -> list[MatchedWord]:
    return [MatchedWord("A", float(n), frozenset({w} & set(query.split()))) for n, w in enumerate(text.split())]


@pytest.mark.parametrize(
    ("text", "query", "start_s"),
    [
        ("it was the spring of hope", "spring hope", 3.0),
        ("hope is far and spring of hope", "spring hope", 4.0),
        ("spring hope then spring hope", "spring hope", 0.0),
        ("the spring of hope", "spring winter hope", 1.0),
        ("hope hope hope spring", "spring hope", 2.0),
        ("a single word", "word", 2.0),
    ],
)
def test_the_shortest_run_with_all_the_words_begins_the_hit(text, query, start_s):
    assert best_run(_words(text, query)).start_s == start_s


def test_no_match_has_no_run():
    assert best_run(_words("nothing here", "spring")) is None
    assert best_run([]) is None

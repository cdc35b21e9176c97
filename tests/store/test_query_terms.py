"""The terms of a search, against what Postgres itself makes of the words."""

import pytest
from psycopg2 import sql

from channelscribe.errors import BadInputError
from channelscribe.store.search.query_terms import alternatives, left_out, words_to_embed


@pytest.mark.parametrize(
    "words",
    [
        "spring of hope",
        '"spring of hope" -summer',
        '-summer spring -"winter of despair" hope',
        "spring or hope -summer or -winter",
        '"a b"-c d"e f"g',
        "co-operate - summer -co-operate",
        "hope -",
        "Spring OR summer or",
        "or spring -or hope",
        "oral or-bit or_b or.",
        "-(a | b) a&-b c!d",
        "a:b -c:d :e",
        '-"unbalanced quote',
        "spring\n-summer\tor\nwinter",
        "don't -can't c++ -c#",
        "größe -Straße or -año",
        "- ( ) -",
    ],
)
def test_terms_are_those_of_postgres(studio, words):
    parts = [
        sql.SQL(" && ").join(
            sql.SQL("{} websearch_to_tsquery('simple', {})").format(
                sql.SQL("!!" if term.unwanted else ""), sql.Literal(term.text)
            )
            for term in part
        )
        for part in alternatives(words)
        if part
    ]
    ours = sql.SQL(" || ").join(sql.SQL("({})").format(part) for part in parts) if parts else sql.Literal("")
    ours_text, theirs = studio.rows(
        sql.SQL("SELECT ({})::tsquery::text, websearch_to_tsquery('simple', {})::text").format(ours, sql.Literal(words))
    )[0]
    assert ours_text == theirs


@pytest.mark.parametrize(
    ("words", "embedded"),
    [
        ("a season of  optimism", "a season of  optimism"),
        ('"spring of hope" -summer', '"spring of hope"'),
        ('-"winter of despair" spring or -summer hope', "spring or hope"),
        ("hope or -summer", "hope"),
        ("--help me", "--help me"),
        ("-", "-"),
    ],
)
def test_what_must_not_be_there_is_not_embedded(words, embedded):
    assert words_to_embed(words) == embedded


@pytest.mark.parametrize("words", ["-summer", '-summer or -"winter of despair"'])
def test_words_that_only_leave_out_are_refused(words):
    with pytest.raises(BadInputError, match="only say what to leave out"):
        words_to_embed(words)


def test_an_alternative_without_unwanted_words_lets_every_chunk_through():
    assert left_out("spring -summer or winter", ["english"]) is None
    assert left_out("spring -summer", []) is None
    assert left_out("spring -summer", ["english"]) is not None

"""What the words of a search ask for: terms to find, and terms that must not be there.

They are taken apart as Postgres's ``websearch_to_tsquery`` does it, for what is not searched by words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql

from channelscribe.errors import BadInputError

_TOKEN = re.compile(
    r'(?P<phrase>"[^"]*"?)|(?P<minus>-)|(?P<either>or(?![\w-])(?=.\s*\S))|(?P<word>[^\s!&|()"][^\s!&|()":]*)',
    re.IGNORECASE | re.DOTALL,
)
_QUERY = "websearch_to_tsquery({config}::regconfig, {term})"


@dataclass(frozen=True)
class Term:
    """A word, or a phrase in its quotes."""

    text: str
    unwanted: bool = False


def alternatives(words: str) -> list[list[Term]]:
    """The terms of a search, in their order, in one list for each part between ``or``."""
    parts: list[list[Term]] = [[]]
    unwanted = False
    for token in _TOKEN.finditer(words):
        kind, text = token.lastgroup, token[0]
        if kind == "minus":
            unwanted = not unwanted
        elif kind == "either" and parts[-1] and not unwanted:
            parts.append([])
        else:
            parts[-1].append(Term(text, unwanted))
            unwanted = False
    return parts


def words_to_embed(words: str) -> str:
    """The words without what must not be there: in a vector, that would draw near what it is to keep away.

    Raises:
        BadInputError: nothing is left.
    """
    parts = alternatives(words)
    if not any(term.unwanted for part in parts for term in part):
        return words
    wanted = [" ".join(term.text for term in part if not term.unwanted) for part in parts]
    if not any(wanted):
        raise BadInputError("The words only say what to leave out: give some to find, too.")
    return " or ".join(filter(None, wanted))


def left_out(words: str, configs: Sequence[str]) -> sql.Composable | None:
    """The condition that a chunk ``c`` has what must not be there, or None where the words let every chunk through.

    Of several alternatives, each must have something that keeps the chunk away.

    Args:
        words: of the search.
        configs: the text search configurations of the archive's chunks.
    """
    unwanted = [[term.text for term in part if term.unwanted] for part in alternatives(words)]
    if not configs or not all(unwanted):
        return None
    return sql.SQL("({})").format(sql.SQL(" OR ").join(_stands_in_chunk(unwanted, config) for config in configs))


def _stands_in_chunk(unwanted: Sequence[Sequence[str]], config: str) -> sql.Composable:
    """As constants of one language the queries are made once, and not for each chunk."""
    name = sql.Literal(config)
    conditions: list[sql.Composable] = [sql.SQL("c.text_config = {}::regconfig").format(name)]
    for terms in unwanted:
        # Doubled, as the statement has parameters.
        literals = (sql.Literal(term.replace("%", "%%")) for term in terms)
        queries = (sql.SQL(_QUERY).format(config=name, term=literal) for literal in literals)
        conditions.append(sql.SQL("c.text_search @@ ({})").format(sql.SQL(" || ").join(queries)))
    return sql.SQL(" AND ").join(conditions)

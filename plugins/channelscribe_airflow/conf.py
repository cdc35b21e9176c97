"""Checks of a run's configuration that Airflow does not do."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from channelscribe.errors import BadInputError


def refuse_unknown(conf: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a configuration with names that no param has: Airflow would accept and ignore them.

    Raises:
        BadInputError: with the first such name, and the one that may have been meant.
    """
    for name in conf:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}."
            raise BadInputError(f"There is no param {name!r}: {remedy}")

"""Leaves a channel alone whose site asked for patience, whatever process of this installation comes to it next."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from channelscribe.contracts import Contract
from channelscribe.errors import BadInputError, RateLimitedError
from channelscribe.workspace import now, read_contract, write_atomically

FIRST, MOST = timedelta(hours=1), timedelta(days=1)
"""How long a channel waits at first; each further time twice as long, up to the latter."""


class Refusal(Contract):
    """What is noted of a channel: until when it waits, how often in a row it was refused, and what the site said."""

    until: datetime
    n: int
    reason: str


def require_patience(folder: Path, channel_url: str) -> None:
    """Refuse to ask for anything of a channel that waits.

    Args:
        folder: where all processes of this installation keep their notes.
        channel_url: canonical URL.

    Raises:
        RateLimitedError: the channel waits.
    """
    refusal = _read(folder, channel_url)
    if refusal is not None and refusal.until > now():
        raise RateLimitedError(waits(channel_url, refusal.until, refusal.reason))


def note_refusal(folder: Path, channel_url: str, reason: str) -> None:
    """Let a channel wait. One that waits already was asked for several items at once: it waits no longer for it."""
    before = _read(folder, channel_url)
    if before is not None and before.until > now():
        return
    n = before.n if before else 0
    refusal = Refusal(until=now() + min(FIRST * 2 ** min(n, 10), MOST), n=n + 1, reason=reason)
    write_atomically(_note(folder, channel_url), refusal.model_dump_json())


def forget_refusals(folder: Path, channel_url: str) -> None:
    """The site gives again: the next refusal is the first one."""
    _note(folder, channel_url).unlink(missing_ok=True)


def waits(channel_url: str, until: datetime, reason: str | None) -> str:
    """The sentence of a channel that is left alone."""
    moment = f"{until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{channel_url} is not asked before {moment}, as the site wants it: {reason}"


def _read(folder: Path, channel_url: str) -> Refusal | None:
    try:
        return read_contract(_note(folder, channel_url), Refusal)
    except (FileNotFoundError, BadInputError):
        return None


def _note(folder: Path, channel_url: str) -> Path:
    return folder / f"refused-{hashlib.sha256(channel_url.encode()).hexdigest()[:16]}.json"

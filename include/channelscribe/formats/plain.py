"""Names and times as every format needs them."""

from channelscribe.channels.identity import one_line

REMOVED = "removed at the source"
"""Mark of a video that its site no longer has."""


def speaker_name(*labels: str) -> str:
    """The first of the labels that shows anything, on one line; ``unknown`` where none does."""
    return next((name for name in map(one_line, labels) if name), "unknown")


def clock(seconds: float) -> str:
    """Seconds, rounded down, as ``h:mm:ss``."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"

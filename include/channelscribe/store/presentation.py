"""Search hits as people and as programs read them."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from channelscribe.store.search import Hit

_MARK = "bold yellow"


def print_hits(console: Console, hits: Sequence[Hit]) -> None:
    """Print hits, best first: who said it and when, the words with those searched marked, and the link."""
    if not hits:
        console.print("Nothing found.")
    for hit in hits:
        who = ", ".join(hit.speakers) or "unknown"
        day = f", {hit.published_at:%Y-%m-%d}" if hit.published_at else ""
        head = Text.assemble(
            (clock(hit.start_s), "bold cyan"), "  ", (printable(who), "bold green"),
            "  ", printable(hit.title), (f"  ({printable(hit.channel)}{day})", "dim"),
        )  # fmt: skip
        text = Text(printable(hit.text))
        for first, last in hit.highlights:
            text.stylize(_MARK, first, last)
        console.print(head, text, Text(printable(hit.link), style="blue"), "", sep="\n", soft_wrap=True)


def as_json(hit: Hit) -> dict[str, object]:
    """A hit with the fields of ``Hit``, for ``json.dumps``."""
    return {
        **asdict(hit),
        "published_at": hit.published_at.isoformat() if hit.published_at else None,
        "highlighted": hit.highlighted,
    }


def clock(seconds: float) -> str:
    """Seconds as ``1:02:03`` or ``2:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def printable(text: str) -> str:
    """The text of the same length, without what would command the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)

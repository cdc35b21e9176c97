"""Search hits as people and as programs read them."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from channelscribe.formats.plain import REMOVED
from channelscribe.store.search.hybrid import Hit
from channelscribe.wording import clock, printable

_MARK = "bold yellow"


def print_hits(console: Console, hits: Sequence[Hit], *, by_video: bool = False) -> None:
    """Print hits, best first: who said it and when, the words with those searched marked, and the link.

    Args:
        console: where to.
        hits: best first.
        by_video: put those of one video together under its title, in the order of time; the best video first.
    """
    if not hits:
        console.print("Nothing found.")
    if by_video:
        of_videos: dict[str, list[Hit]] = {}
        for hit in hits:
            of_videos.setdefault(hit.video_id, []).append(hit)
        for found in of_videos.values():
            console.print(_title(found[0]), soft_wrap=True)
            for hit in sorted(found, key=lambda hit: hit.start_s):
                _print_hit(console, hit, Text.assemble(*_when_and_who(hit)))
        return
    for hit in hits:
        _print_hit(console, hit, Text.assemble(*_when_and_who(hit), "  ", _title(hit)))


def _print_hit(console: Console, hit: Hit, head: Text) -> None:
    text = Text(printable(hit.text))
    for first, last in hit.highlights:
        text.stylize(_MARK, first, last)
    console.print(head, text, Text(printable(hit.link), style="blue"), "", sep="\n", soft_wrap=True)


def _when_and_who(hit: Hit) -> tuple[str | tuple[str, str], ...]:
    who = ", ".join(hit.speakers) or "unknown"
    return (clock(hit.start_s), "bold cyan"), "  ", (printable(who), "bold green")


def _title(hit: Hit) -> Text:
    about = [printable(hit.channel)]
    if hit.published_at:
        about.append(f"{hit.published_at:%Y-%m-%d}")
    if hit.availability == "removed":
        about.append(REMOVED)
    return Text.assemble(printable(hit.title), (f"  ({', '.join(about)})", "dim"))


def as_json(hit: Hit) -> dict[str, object]:
    """A hit with the fields of ``Hit``, for ``json.dumps``."""
    return {
        **asdict(hit),
        "published_at": hit.published_at.isoformat() if hit.published_at else None,
        "highlighted": hit.highlighted,
    }

"""The command that lists what is in the archive."""

import json
from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from channelscribe.settings import get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.search.nothing_found import unknown_names
from channelscribe.store.videos import ArchivedVideo, list_videos
from channelscribe.wording import clock, printable

app = typer.Typer()

_console = Console()
_errors = Console(stderr=True)


@app.command(epilog="Example: `channelscribe videos --channel @handle --since 2026-01-31`")
def videos(
    channel: Annotated[str | None, typer.Option(help="Only this channel, by title, URL or @handle.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Only where this speaker speaks, by name or cluster.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only videos of this day (UTC) or later.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most videos to list.")] = 20,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
) -> None:
    """List the videos of the archive, newest first: id, day, length, title, and who speaks, most first."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        found = list_videos(
            connection, channel=channel, speaker=speaker, since=since.date() if since else None, limit=limit + 1
        )
        reasons = [] if found else unknown_names(connection, speaker, channel, None)
    for reason in reasons:
        _errors.print(Text(printable(reason)), soft_wrap=True)
    if json_output:
        typer.echo(json.dumps([video.as_json() for video in found[:limit]], ensure_ascii=False, indent=1))
        return
    for video in found[:limit]:
        _print(video)
    if len(found) > limit:
        _errors.print(Text("There are more: give a higher --limit."), soft_wrap=True)
    elif not found and not reasons:
        _console.print("No video is in the archive, or none that was asked for.")


def _print(video: ArchivedVideo) -> None:
    day = f"{video.published_at:%Y-%m-%d}" if video.published_at else "no date   "
    removed = ("  removed at the source", "dim") if video.availability == "removed" else ""
    head = Text.assemble(
        (video.video_id, "bold cyan"), f"  {day}  {clock(video.audio_s)}  ", printable(video.title), removed
    )
    _console.print(head, Text(f"  {printable(', '.join(video.speakers))}", style="green"), sep="\n", soft_wrap=True)

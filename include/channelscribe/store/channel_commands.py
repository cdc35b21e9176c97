"""The commands about channels: add, list, pause, resume, remove, sync."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from channelscribe.channels.options import CHANNELS_FILE, parse_options, read_channels_file
from channelscribe.channels.source import normalise_channel
from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings
from channelscribe.store.channels import (
    Channel,
    follow,
    free_from_file,
    list_channels,
    set_paused,
    sync_file,
    unfollow,
)
from channelscribe.store.connection import Connection, archive_dsn, connect
from channelscribe.store.geo_blocks import blocked_channels, says_why
from channelscribe.wording import printable

app = typer.Typer(
    no_args_is_help=True,
    help="Follow channels: what the daily run polls, and what it takes of them.",
    epilog="Example: `channelscribe channels add @handle`",
)

ChannelArgument = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="Its URL, or the @handle or id of a YouTube channel.")
]

_console = Console()


@app.command(epilog='Example: `channelscribe channels add @handle --since 2026-01-31 --title "podcast"`')
def add(
    channel: ChannelArgument,
    shorts: Annotated[bool, typer.Option("--shorts", help="Its shorts, too.")] = False,
    recordings: Annotated[bool, typer.Option("--recordings", help="Recordings of its live streams, too.")] = False,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only what was published on this day (UTC) or later.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="New videos taken in one run.")] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Take the oldest first.")] = False,
    backfill: Annotated[
        int | None, typer.Option(metavar="N", help="The DAG `backfill` takes N more of its oldest videos every day.")
    ] = None,
    min_minutes: Annotated[float | None, typer.Option(help="Leave out what is shorter.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Leave out what is longer.")] = None,
    title: Annotated[str | None, typer.Option(help="Only titles in which this regular expression is found.")] = None,
    language: Annotated[
        str | None, typer.Option(help="ISO 639 code of what is spoken, such as en; else detected.")
    ] = None,
) -> None:
    """Follow a channel; of one that is followed, set the options anew."""
    url = normalise_channel(channel)
    values = {
        "shorts": shorts, "recordings": recordings, "since": since.date() if since else None, "limit": limit,
        "newest_first": not oldest_first, "backfill": backfill, "min_minutes": min_minutes, "max_minutes": max_minutes,
        "title": title, "language": language,
    }  # fmt: skip
    options = parse_options(url, values)
    with _archive() as connection:
        is_new = follow(connection, url, options)
    _say(f"{url} is followed." if is_new else f"{url} has these options now.")


@app.command("list", epilog="Example: `channelscribe channels list`")
def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the channels that are followed, with their options and what became of them."""
    with _archive() as connection:
        channels, blocked = list_channels(connection), blocked_channels(connection)
    held = {url: until for url, until in blocked.items() if until > datetime.now(UTC)}
    if json_:
        shown = [_as_json(channel, held.get(channel.url)) for channel in channels]
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    if not channels:
        _say("No channel is followed: `channelscribe channels add URL` does it.")
        return
    # Not a table: a narrow terminal would cut the addresses to pieces.
    for channel in channels:
        lines = [Text(printable(channel.title), style="dim" if channel.paused else "bold")]
        if channel.title != channel.url:
            lines.append(Text(channel.url, style="blue"))
        facts = [f"{channel.n_listed} listed, {channel.n_loaded} loaded, {channel.n_unavailable} unavailable"]
        facts += [_last_poll(channel), says_why(held[channel.url]) if channel.url in held else "", _options(channel)]
        _console.print(*lines, *(Text(f"  {fact}") for fact in facts if fact), "", sep="\n", soft_wrap=True)


@app.command(epilog="Example: `channelscribe channels pause @handle`")
def pause(channel: ChannelArgument) -> None:
    """Leave a channel out of the daily run, until it is resumed."""
    with _archive() as connection:
        set_paused(connection, normalise_channel(channel), paused=True)
    _say("Paused.")


@app.command(epilog="Example: `channelscribe channels resume @handle`")
def resume(channel: ChannelArgument) -> None:
    """Take a paused channel into the daily run again."""
    with _archive() as connection:
        set_paused(connection, normalise_channel(channel), paused=False)
    _say("Resumed.")


@app.command(epilog="Example: `channelscribe channels remove @handle`")
def remove(channel: ChannelArgument) -> None:
    """Follow a channel no more. What was loaded of it stays in the archive."""
    with _archive() as connection:
        unfollow(connection, normalise_channel(channel))
    _say("It is followed no more; what was loaded of it stays.")


@app.command(epilog="Example: `channelscribe channels sync`")
def sync(
    file: Annotated[Path, typer.Argument(help="The list of channels.", show_default="channels.yaml")] = CHANNELS_FILE,
) -> None:
    """Follow the channels of channels.yaml with their options, and no more those that it no longer has.

    `make up` does it, too, where there is such a file. Where there is none any more, its channels stay followed, and
    are changed by `channels add`, `pause` and `remove`.
    """
    if file.is_file():
        with _archive() as connection:
            _say(follow_file(connection, file))
        return
    freed = []
    if file == CHANNELS_FILE:
        with _archive() as connection:
            freed = free_from_file(connection)
    if not freed:
        raise BadInputError(f"There is no file {file}: copy channels.example.yaml there, and name your channels.")
    names = ", ".join(map(printable, freed))
    _say(f"There is no {file.name} any more. Followed without it from now on: {names}.")


def follow_file(connection: Connection, file: Path) -> str:
    """Follow the channels of a file, and no more those that it no longer has; returns what was done, for people.

    Raises:
        BadInputError: the file is not right.
    """
    channels = read_channels_file(file)
    left = sync_file(connection, channels)
    said = f"Channels of {file.name} that are followed: {len(channels)}."
    return said + (f" No more followed: {', '.join(map(printable, left))}." if left else "")


def _archive() -> closing[Connection]:
    return closing(connect(archive_dsn(get_settings())))


def _last_poll(channel: Channel) -> str:
    said = f"last polled {channel.polled_at:%Y-%m-%d %H:%M}" if channel.polled_at else "never polled"
    if channel.poll_failure:
        said += f", then failed: {printable(channel.poll_failure)}"
    return f"{said}, paused" if channel.paused else said


def _as_json(channel: Channel, held_until: datetime | None) -> dict[str, object]:
    values = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in {**vars(channel), "held_until": held_until}.items()
    }
    return {**values, "options": channel.options.model_dump(mode="json")}


def _options(channel: Channel) -> str:
    given = channel.options.model_dump(mode="json", exclude_defaults=True)
    parts = [f"{name}: {printable(str(value))}" for name, value in given.items()]
    return ", ".join(parts + (["in channels.yaml"] if channel.in_file else []))


def _say(text: str) -> None:
    _console.print(Text(text), soft_wrap=True)

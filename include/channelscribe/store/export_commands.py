"""The command that exports what was said."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from channelscribe.errors import BadInputError
from channelscribe.formats import Format, written
from channelscribe.settings import get_settings
from channelscribe.store.connection import Connection, archive_dsn, connect
from channelscribe.store.exporting import read_recording, recordings_of_channel
from channelscribe.wording import printable
from channelscribe.workspace import write_atomically

app = typer.Typer()

_console = Console()


@app.command(epilog="Example: `channelscribe export youtube-jNQXAC9IVRw --format vtt --out captions.vtt`")
def export(
    format_: Annotated[
        Format,
        typer.Option("--format", help="Captions (srt, vtt), turns (rttm), everything (json), or text (md, txt)."),
    ],
    video: Annotated[
        str | None, typer.Argument(metavar="VIDEO", help="Its id, as `channelscribe videos` lists it.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Every video of this channel instead, by title, URL or @handle.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; of a channel, the folder for a file of each video.")
    ] = None,
) -> None:
    """Write who said what and when in a video, or in all videos of a channel, for players and other programs.

    Without `--out` a video's text goes to standard output. What is there already is replaced.
    """
    if (video is None) == (channel is None):
        raise BadInputError("Export needs one thing to write: give the id of a VIDEO, or a --channel.")
    if channel is not None and out is None:
        raise BadInputError("A channel has a file for each video: name a folder for them with --out FOLDER.")
    if out is not None:
        _check_target(out, is_folder=channel is not None)
    with closing(connect(archive_dsn(get_settings()))) as connection:
        if channel is not None and out is not None:
            _export_channel(connection, channel, format_, out)
            return
        text = written(read_recording(connection, video or ""), format_)
    if out is None:
        typer.echo(text.encode(), nl=False)
    else:
        _write(out, text)
        _say(f"Wrote {out}.")


def _export_channel(connection: Connection, channel: str, format_: Format, folder: Path) -> None:
    n_written = 0
    for recording in recordings_of_channel(connection, channel):
        _write(folder / f"{recording.video_id}.{format_}", written(recording, format_))
        n_written += 1
    if n_written:
        _say(f"Wrote {n_written} file{'' if n_written == 1 else 's'} to {folder}.")
    else:
        _say("Nothing of this channel is in the archive yet: nothing was written.")


def _check_target(out: Path, *, is_folder: bool) -> None:
    """Refuse what is there and of another kind, before the archive is asked.

    Raises:
        BadInputError: a folder in the place of a file or the other way round, or a device or pipe, which writing would
            replace.
    """
    if is_folder and out.exists() and not out.is_dir():
        raise BadInputError(f"{out} is a file: name a folder for the channel's files with --out.")
    if not is_folder and out.is_dir():
        raise BadInputError(f"{out} is a folder: name a file in it with --out.")
    if not is_folder and out.exists() and not out.is_file():
        raise BadInputError(f"{out} is no plain file: leave --out away, and the text goes to standard output.")


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BadInputError(f"{path} can't be written ({error.strerror}): name another place with --out.") from error


def _say(text: str) -> None:
    _console.print(Text(printable(text)), soft_wrap=True)

"""The commands `channelscribe speakers ...`: who is known or was discovered, and what people say of them."""

from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings
from channelscribe.store.connection import Connection, archive_dsn, connect
from channelscribe.store.speakers import edits as speaker_edits
from channelscribe.store.speakers.discovered import Discovered, identify_all
from channelscribe.store.speakers.enrollments import Speaker, list_speakers, where_heard
from channelscribe.store.speakers.labels import Labelled
from channelscribe.wording import clock, count, printable

app = typer.Typer(
    invoke_without_command=True,
    help="List the speakers, and say who they are. A voice is named by its speaker, or, within a video, as "
    "VIDEO_ID/SPEAKER_01.",
    epilog="Example: `channelscribe speakers`",
)

SpeakerArgument = Annotated[str, typer.Argument(help="A speaker's name, such as 'Speaker 12'.", metavar="SPEAKER")]

_console = Console()


@app.callback()
def _list(context: typer.Context) -> None:
    """List the speakers: clips that they are known by, videos in which they speak, and for how long."""
    if context.invoked_subcommand:
        return
    with closing(connect(archive_dsn(get_settings()))) as connection:
        found = list_speakers(connection)
    if not found:
        say(
            "Nobody is known yet: `channelscribe enroll NAME CLIP...` makes a voice known, and unknown voices are "
            "listed once they speak in two videos."
        )
        return
    table = Table("name", box=None, pad_edge=False, header_style="dim")
    for column in ("clips", "videos", "speech"):
        table.add_column(column, justify="right")
    table.add_column("known by")
    for speaker in found:
        numbers = (str(speaker.n_clips), str(speaker.n_videos), clock(speaker.speech_s))
        table.add_row(Text(printable(speaker.name)), *numbers, Text(_known_by(speaker)))
    _console.print(table)


@app.command(epilog='Example: `channelscribe speakers show "Speaker 12"`')
def show(speaker: SpeakerArgument) -> None:
    """List where a speaker speaks, by the longest first, with a link to hear the voice."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        name, places = where_heard(connection, speaker)
    say(f"{name} speaks in {count(len({place.video_id for place in places}), 'video')}.")
    for place in places:
        how = " (by hand)" if place.by_hand else ""
        title = Text.assemble(
            (f"{place.video_id}/{place.cluster}", "bold"), f"  {clock(place.speech_s)}{how}  ", printable(place.title)
        )
        _console.print(title, soft_wrap=True)
        if place.link:
            _console.print(Text(printable(place.link), style="blue"), soft_wrap=True)


@app.command(epilog='Example: `channelscribe speakers name "Speaker 12" "Ada Lovelace"`')
def name(
    voice: Annotated[str, typer.Argument(help="A speaker, or one voice of a video as VIDEO_ID/SPEAKER_01.")],
    new_name: Annotated[str, typer.Argument(metavar="NAME", help="Whose voice it is.")],
) -> None:
    """Name a speaker everywhere, in videos to come too; or say whose one voice of a video is."""
    key = speaker_edits.cluster_key(voice)
    if key:
        _edit(lambda connection: speaker_edits.name_cluster(connection, key, new_name))
    else:
        _edit(lambda connection: speaker_edits.name_speaker(connection, voice, new_name))


@app.command(epilog='Example: `channelscribe speakers merge "Speaker 12" "Ada Lovelace"`')
def merge(
    speaker: SpeakerArgument,
    into: Annotated[str, typer.Argument(help="Who that is; this name stays.")],
) -> None:
    """Say that two speakers are one."""
    _edit(lambda connection: speaker_edits.merge_speakers(connection, speaker, into))


@app.command(epilog='Example: `channelscribe speakers split "Speaker 12" youtube-abc/SPEAKER_01`')
def split(
    speaker: SpeakerArgument,
    voices: Annotated[list[str], typer.Argument(help="Voices that are somebody else, as VIDEO_ID/SPEAKER_01.")],
    into: Annotated[str | None, typer.Option(help="Who they are; a new speaker with a number otherwise.")] = None,
) -> None:
    """Say that some of a speaker's voices are somebody else."""
    keys = []
    for voice in voices:
        key = speaker_edits.cluster_key(voice)
        if key is None:
            raise BadInputError(f"{voice!r} is no voice of a video: give it as VIDEO_ID/SPEAKER_01.")
        keys.append(key)
    _edit(lambda connection: speaker_edits.split_speaker(connection, speaker, keys, into))


@app.command(epilog='Example: `channelscribe speakers distinct "Speaker 12" "Ada Lovelace"`')
def distinct(
    speaker: SpeakerArgument,
    other: Annotated[str, typer.Argument(help="Who that is not.")],
) -> None:
    """Say that two speakers are two, so that they are no possible duplicates any more."""
    _edit(lambda connection: speaker_edits.tell_apart(connection, speaker, other))


@app.command(epilog="Example: `channelscribe speakers undo`")
def undo() -> None:
    """Take back the last name, merge, split or distinction; again for the one before."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        say(f"Undone: {speaker_edits.undo(connection)}.")
        say_identified(*identify_all(connection))


def say_identified(labelled: Labelled, found: Discovered) -> None:
    """Say what identifying anew changed."""
    if labelled.n_clusters or labelled.n_utterances:
        clusters, utterances = count(labelled.n_clusters, "cluster"), count(labelled.n_utterances, "utterance")
        say(f"Relabelled {clusters} and {utterances} in the archive.")
    else:
        say("No label in the archive changed.")
    if found.n_clusters:
        say(f"Looked at the unknown voices: {count(found.n_speakers, 'speaker')} in several videos, {found.n_new} new.")


def say(text: str) -> None:
    """Print a line."""
    _console.print(Text(printable(text)), soft_wrap=True)


def _edit(make: Callable[[Connection], str]) -> None:
    with closing(connect(archive_dsn(get_settings()))) as connection:
        say(f"{make(connection)}. `channelscribe speakers undo` takes it back.")
        say_identified(*identify_all(connection))


def _known_by(speaker: Speaker) -> str:
    if speaker.discovered:
        return "discovered"
    return printable(", ".join(speaker.models)) or "named by hand"

"""The commands about speakers: enroll a voice, list and forget speakers, calibrate."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channelscribe.contracts import Calibration
from channelscribe.settings import get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.enrolling import enroll_clips, measure_calibration, voice_model
from channelscribe.store.enrollments import checked_name, list_speakers, store_calibration
from channelscribe.store.enrollments import forget as forget_speaker
from channelscribe.store.labels import Labelled, relabel
from channelscribe.store.presentation import clock, printable

app = typer.Typer()

ProfileOption = Annotated[str | None, typer.Option(help="Profile that names the voice model; that of the settings.")]

_console = Console()


@app.command(epilog='Example: `channelscribe enroll "Ada Lovelace" interview.wav talk.mp3`')
def enroll(
    name: Annotated[str, typer.Argument(help="Whose voice it is.")],
    clips: Annotated[list[Path], typer.Argument(help="Recordings in which only this voice speaks.")],
    profile: Annotated[
        str | None, typer.Option(help="Profile that names the voice model; that of the settings.")
    ] = None,
) -> None:
    """Enroll a voice, so that it is known by its name: in videos to come, and in all that are in the archive.

    More clips of the same name add to it. The exit code is 65 if no clip is good enough.
    """
    settings = get_settings()
    profile = profile or settings.profile
    name, model = checked_name(name), voice_model(profile)
    with closing(connect(archive_dsn(settings))) as connection:
        enroll_clips(connection, settings, name, clips, profile, _say)
        _say_labelled(relabel(connection, model))


@app.command(epilog="Example: `channelscribe speakers`")
def speakers() -> None:
    """List the speakers: clips that they are known by, and videos in which they speak."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        found = list_speakers(connection)
    if not found:
        _say("Nobody is enrolled: `channelscribe enroll NAME CLIP...` does it.")
        return
    table = Table("name", box=None, pad_edge=False, header_style="dim")
    for column in ("clips", "speech", "videos"):
        table.add_column(column, justify="right")
    table.add_column("voice models")
    for speaker in found:
        models = printable(", ".join(speaker.models)) or "named by hand"
        numbers = (str(speaker.n_clips), clock(speaker.speech_s), str(speaker.n_videos))
        table.add_row(Text(printable(speaker.name)), *numbers, Text(models))
    _console.print(table)


@app.command(epilog='Example: `channelscribe forget "Ada Lovelace"`')
def forget(name: Annotated[str, typer.Argument(help="Speaker to forget.")]) -> None:
    """Delete a speaker's voice embeddings, and take the name off all that was matched with them, without asking.

    Clusters that a person named keep the name.
    """
    with closing(connect(archive_dsn(get_settings()))) as connection:
        gone = forget_speaker(connection, name)
        _say(
            f"Forgot {gone.name}: removed the voice embeddings of {_n(gone.n_clips, 'clip')}, and the name from "
            f"{_n(gone.n_clusters, 'cluster')} and {_n(gone.n_utterances, 'utterance')}."
        )
        if gone.n_kept:
            _say(f"{_n(gone.n_kept, 'cluster')} that a person named so keep the name.")
        labelled = Labelled()
        for model in gone.models:
            labelled += relabel(connection, model)
        _say_labelled(labelled)


@app.command(epilog="Example: `channelscribe calibrate clips-by-speaker/`")
def calibrate(
    folder: Annotated[Path, typer.Argument(help="Folder that holds a folder of clips for each speaker.")],
    profile: Annotated[
        str | None, typer.Option(help="Profile that names the voice model; that of the settings.")
    ] = None,
) -> None:
    """Measure on labelled clips how alike two voices must be to be one, and go by it from now on."""
    settings = get_settings()
    profile = profile or settings.profile
    with closing(connect(archive_dsn(settings))) as connection:
        calibration = measure_calibration(folder, profile, settings)
        store_calibration(connection, calibration)
        _console.print(_as_table(calibration))
        _say_labelled(relabel(connection, (calibration.model, calibration.revision)))


def _as_table(calibration: Calibration) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("model", Text(f"{calibration.model} ({calibration.revision})"))
    table.add_row("speakers", str(calibration.n_speakers))
    comparisons = f"{calibration.n_target} of one voice, {calibration.n_impostor} of two"
    table.add_row("comparisons", comparisons)
    table.add_row("equal error rate", f"{calibration.eer:.2%}")
    table.add_row("threshold", f"{calibration.threshold:.3f} (strangers accepted: {calibration.false_accept_rate:.2%})")
    table.add_row("margin", f"{calibration.margin:.3f}")
    table.add_row("greatest variance of one voice", f"{calibration.max_variance:.3f}")
    return table


def _say_labelled(labelled: Labelled) -> None:
    if labelled.n_clusters or labelled.n_utterances:
        clusters, utterances = _n(labelled.n_clusters, "cluster"), _n(labelled.n_utterances, "utterance")
        _say(f"Relabelled {clusters} and {utterances} in the archive.")
    else:
        _say("No label in the archive changed.")


def _n(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _say(text: str) -> None:
    _console.print(Text(printable(text)), soft_wrap=True)

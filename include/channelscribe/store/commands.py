"""The commands about the voices that are known: enroll, forget, calibrate."""

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
from channelscribe.store.speakers.commands import say, say_identified
from channelscribe.store.speakers.discovered import identify_all
from channelscribe.store.speakers.enrolling import enroll_clips, measure_calibration, voice_model
from channelscribe.store.speakers.enrollments import checked_name, store_calibration
from channelscribe.store.speakers.enrollments import forget as forget_speaker
from channelscribe.wording import count

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
        enroll_clips(connection, settings, name, clips, profile, say)
        say_identified(*identify_all(connection, model))


@app.command(epilog='Example: `channelscribe forget "Ada Lovelace"`')
def forget(name: Annotated[str, typer.Argument(help="Speaker to forget.")]) -> None:
    """Delete a speaker's voice embeddings, and take the name off everything, without asking.

    That cannot be undone. The voice itself, nameless, stays in the archive as long as its videos do.
    """
    with closing(connect(archive_dsn(get_settings()))) as connection:
        gone = forget_speaker(connection, name)
        clusters, utterances = count(gone.n_clusters, "cluster"), count(gone.n_utterances, "utterance")
        say(
            f"Forgot {gone.name}: removed the voice embeddings of {count(gone.n_clips, 'clip')}, and the name from "
            f"{clusters} ({gone.n_by_hand} named by hand) and {utterances}."
        )
        say_identified(*identify_all(connection))


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
        say_identified(*identify_all(connection, (calibration.model, calibration.revision)))


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
    table.add_row("unknown voices are one from", f"{calibration.same_voice:.3f}")
    return table

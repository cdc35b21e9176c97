"""The commands ``channelscribe models``: fetching the models of a profile, and saying which are there."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import inspect
from channelscribe.model_registry import MODELS, HubModel, models_among
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings, get_settings

app = typer.Typer(
    no_args_is_help=True,
    help="Fetch the models that come from hubs, or list them.",
    epilog="Example: `channelscribe models pull --profile gpu`",
)

_console = Console()
_LIST_WIDTH = 120
_COLOURS = {"present": "green", "unrecorded": "yellow", "missing": "yellow", "damaged": "red"}


@app.command(epilog="Example: `channelscribe models pull --profile gpu`")
def pull(
    profile: Annotated[str | None, typer.Option(help="Profile whose models to fetch; that of the settings.")] = None,
) -> None:
    """Fetch the models of a profile, check them, and repair what is damaged; what was interrupted goes on."""
    settings = get_settings()
    name = get_profile(profile or settings.profile).name
    interpreter = _interpreter(settings)
    command = [str(interpreter), "-m", "channelscribe.model_pull", "--profile", name]
    try:
        # In the place of this process: so Ctrl-C, the terminal and the exit code are the program's own.
        os.execv(interpreter, command)  # noqa: S606 - no shell
    except OSError as error:
        raise MisconfiguredError(
            f"The stages' Python cannot be started ({interpreter}: {error.strerror}): run `make setup`, or set "
            "CHANNELSCRIBE_STAGES_PYTHON."
        ) from error


@app.command("list", epilog="Example: `channelscribe models list --profile gpu --checksums`")
def list_models(
    profile: Annotated[str | None, typer.Option(help="Profile whose models to list; all models without it.")] = None,
    checksums: Annotated[bool, typer.Option("--checksums", help="Read all files, to find any change.")] = False,
) -> None:
    """List the models that come from hubs, and say whether they are present, missing or damaged."""
    settings = get_settings()
    models = _models_of(profile) if profile else tuple(MODELS.values())
    if not models:
        _console.print(f"The profile {profile} needs no models from a hub: its weights come inside the packages.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")  # never cut: it is what one copies
    for column in ("revision", "size", "licence", "state"):
        table.add_column(column, no_wrap=True)
    faults = []
    for model in models:
        finding = inspect(settings.models_dir / model.folder, checksums=checksums)
        state = Text(finding.state, style=_COLOURS[finding.state])
        table.add_row(model.name, model.revision[:7], f"{model.size_mb:,} MB", model.licence, state)
        if finding.state in ("damaged", "unrecorded"):
            faults.append(f"{model.name}: {finding.reason}")
    # A line per model, also in a pipe or a narrow window, where the table would be folded.
    Console(width=max(_console.width, _LIST_WIDTH)).print(table)
    for fault in faults:
        _console.print(Text(fault), soft_wrap=True)


def _models_of(profile: str) -> tuple[HubModel, ...]:
    return models_among(spec.model for spec in get_profile(profile).stages.values())


def _interpreter(settings: Settings) -> Path:
    """This Python, if it has the hub's library, as it does in the stages' image; else that of the stages."""
    return Path(sys.executable) if importlib.util.find_spec("huggingface_hub") else settings.stages_interpreter

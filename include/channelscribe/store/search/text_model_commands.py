"""The commands about the text models of the archive: list, remove."""

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.search.text_models import list_text_models, remove_text_model

app = typer.Typer(
    no_args_is_help=True,
    help="The text models whose embeddings the archive holds: more than one during a change.",
    epilog="Example: `channelscribe text-models list`",
)

_console = Console()


@app.command("list", epilog="Example: `channelscribe text-models list`")
def list_() -> None:
    """List the text models of the archive: videos that have their embeddings, and those that have no other."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        models = list_text_models(connection)
    if not models:
        _console.print("The archive has no text embeddings yet.")
        return
    table = Table(Column("model", overflow="fold"), box=None, pad_edge=False, header_style="dim")
    for column in ("dimension", "videos", "alone"):
        table.add_column(column, justify="right")
    table.add_column("profiles")
    table.add_column("search")
    for model in models:
        name = Text(f"{model.name}\n").append(model.revision, style="dim")
        numbers = (str(model.dimension), str(model.n_videos), str(model.n_alone))
        used = "uses it" if (model.name, model.revision) == _of_search() else ""
        table.add_row(name, *numbers, ", ".join(model.profiles) or "none any more", used)
    _console.print(table)


@app.command(epilog="Example: `channelscribe text-models remove all-MiniLM-L6-v2`")
def remove(
    model: Annotated[str, typer.Argument(help="Its name, as `list` shows it.")],
    revision: Annotated[str | None, typer.Option(help="Its revision, where there are several.")] = None,
) -> None:
    """Delete the text embeddings of a model that search needs no more."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        removed = remove_text_model(connection, model, revision, _of_search())
    _console.print(Text(f"Removed the text embeddings of {removed.name} ({removed.revision})."), soft_wrap=True)


def _of_search() -> tuple[str, str]:
    spec = get_profile(get_settings().profile).stages["embed_text"]
    return spec.model, spec.revision

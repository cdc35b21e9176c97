"""The command ``channelscribe``."""

import logging
import sys
from typing import Annotated

import typer
from rich.console import Console

from channelscribe.errors import ChannelscribeError
from channelscribe.stack.commands import app as stack_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Turn channels into a searchable archive of who said what.",
)
app.add_typer(stack_app)

_errors = Console(stderr=True)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the log, and errors with their traceback.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run the command; an expected error is one line, its traceback only with ``--debug``."""
    try:
        app()
    except ChannelscribeError as error:
        if "--debug" in sys.argv:
            raise
        _errors.print(f"[red]channelscribe:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(int(error.exit_code))

"""The command ``channelscribe report``."""

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from channelscribe.settings import get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.runs.reports import find_run, full_report
from channelscribe.telemetry.report_text import to_markdown
from channelscribe.wording import printable

app = typer.Typer()

_console = Console()


@app.command(epilog="Example: `channelscribe report`")
def report(
    run: Annotated[
        str | None, typer.Argument(help="Id of a run as Airflow shows it, with its DAG and a slash before it or not.")
    ] = None,
) -> None:
    """What a run did, what failed and why, and where the time went; the newest run without an argument."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        found = find_run(connection, run)
        kept = full_report(connection, found)
    head = f"{found.run_id}, {found.started_at:%Y-%m-%d %H:%M} UTC"
    if kept is None:
        typer.echo(f"{head}: {found.state}. {found.summary or 'No report of it is kept.'}")
        return
    text = "\n".join(map(printable, f"{head}\n\n{to_markdown(kept)}".splitlines()))
    # As tables for people, and as Markdown for programs and files.
    _console.print(Markdown(text)) if _console.is_terminal else typer.echo(text)

"""The commands about alerts: test, list."""

import os
import subprocess
import sys
from contextlib import closing
from typing import Annotated

import typer
from psycopg2.extensions import parse_dsn
from rich.console import Console
from rich.text import Text

from channelscribe.alerts.message import plain
from channelscribe.errors import MisconfiguredError, TryAgainError
from channelscribe.settings import PROJECT_ROOT, Settings, get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.runs.alerts import recent_alerts

app = typer.Typer(
    no_args_is_help=True,
    help="Who is told what is wrong, and what was wrong last.",
    epilog="Example: `channelscribe alerts test`",
)

_console = Console()


@app.command(epilog="Example: `channelscribe alerts test`")
def test() -> None:
    """Send a test message to every target, and say what arrived; exits with 1 if one did not.

    The targets are Airflow connections (CHANNELSCRIBE_ALERT_TARGETS), so the stack must be up; where Airflow runs in
    containers, call this in one of them.
    """
    settings = get_settings()
    if not settings.alert_targets:
        raise MisconfiguredError("There is no target: docs/alerts.md says how to set CHANNELSCRIBE_ALERT_TARGETS.")
    # A program of its own: this package knows nothing of Airflow, which alone can read its connections.
    command = [sys.executable, "-m", "channelscribe_airflow.alert_test"]
    environment = {**_airflow_environment(settings), "PYTHONPATH": str(PROJECT_ROOT / "plugins")}
    raise typer.Exit(subprocess.run(command, env=environment).returncode)


@app.command("list", epilog="Example: `channelscribe alerts list`")
def list_(limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most alerts to list.")] = 20) -> None:
    """List what was wrong last, the newest first, and who was told when."""
    with closing(connect(archive_dsn(get_settings()))) as connection:
        recorded = recent_alerts(connection, limit)
    if not recorded:
        _console.print("Nothing was wrong so far.")
    for one in recorded:
        alert, ended = one.alert, f", over at {one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else ""
        facts = [*alert.lines, *([alert.link] if alert.link else [])]
        facts += [f"told {target} at {at:%Y-%m-%d %H:%M}" for target, at in one.told.items()]
        facts += [f"not told {target}" + (f": {why}" if why else "") for target, why in one.untold.items()]
        head = Text.assemble((plain(alert.title), "bold"), (f"  {one.raised_at:%Y-%m-%d %H:%M}{ended}", "dim"))
        _console.print(head, *(Text(f"  {plain(fact)}") for fact in facts), "", sep="\n", soft_wrap=True)


def _airflow_environment(settings: Settings) -> dict[str, str]:
    """The environment of an Airflow command: the embedded stack's where it is up, else as it is, in Airflow's own."""
    from channelscribe.stack.embedded import Stack
    from channelscribe.stack.environment import airflow_environment

    stack = Stack(settings)
    if stack.postgres.is_running:
        return airflow_environment(settings, ",".join(settings.channels), parse_dsn(stack.postgres.dsn("airflow")))
    if os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN") or os.environ.get("AIRFLOW_HOME"):
        return dict(os.environ)
    raise TryAgainError("Airflow's connections can't be read, as the stack is down: start it with `make up`.")

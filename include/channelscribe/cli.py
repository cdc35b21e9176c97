"""The command ``channelscribe``."""

import json
import logging
import sys
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from channelscribe.alerts.commands import app as alerts_app
from channelscribe.errors import ChannelscribeError, ExitCode
from channelscribe.model_commands import app as models_app
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe.stack.commands import app as stack_app
from channelscribe.store.backup_commands import app as backup_app
from channelscribe.store.channel_commands import app as channels_app
from channelscribe.store.commands import app as voices_app
from channelscribe.store.connection import Connection, archive_dsn, connect
from channelscribe.store.export_commands import app as export_app
from channelscribe.store.models import has_model
from channelscribe.store.runs.commands import app as report_app
from channelscribe.store.search.hybrid import search as search_archive
from channelscribe.store.search.nothing_found import has_chunks, unknown_names
from channelscribe.store.search.presentation import as_json, print_hits
from channelscribe.store.search.query_embedding import embed_query
from channelscribe.store.search.query_terms import words_to_embed
from channelscribe.store.search.text_model_commands import app as text_models_app
from channelscribe.store.search.text_models import embed_for_other_models
from channelscribe.store.speakers.commands import app as speakers_app
from channelscribe.store.video_commands import app as videos_app
from channelscribe.wording import printable

logger = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Turn channels into a searchable archive of who said what.",
)
app.add_typer(stack_app)
app.add_typer(models_app, name="models")
app.add_typer(channels_app, name="channels")
app.add_typer(voices_app)
app.add_typer(speakers_app, name="speakers")
app.add_typer(videos_app)
app.add_typer(export_app)
app.add_typer(report_app)
app.add_typer(backup_app)
app.add_typer(text_models_app, name="text-models")
app.add_typer(alerts_app, name="alerts")

_console = Console()
_errors = Console(stderr=True)
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the log, and errors with their traceback.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)


@app.command(epilog='Example: `channelscribe search "spring of hope" --speaker SPEAKER_00 --since 2026-01-31`')
def search(
    words: Annotated[str, typer.Argument(help='What to find; `"a phrase"`, `or` and `-not` work as on the web.')],
    speaker: Annotated[str | None, typer.Option(help="Only what this speaker says, by name or cluster.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel, by title, URL or @handle.")] = None,
    video: Annotated[str | None, typer.Option(help="Only this video, by id or URL.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only videos of this day (UTC) or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only videos of this day (UTC) or earlier.")
    ] = None,
    by_video: Annotated[bool, typer.Option("--by-video", help="Put what is of one video together.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most places to show.")] = 10,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
) -> None:
    """Find who said something, and when, by the words and by their meaning."""
    settings = get_settings()
    spec = get_profile(settings.profile).stages["embed_text"]
    model = (spec.model, spec.revision)
    with closing(connect(archive_dsn(settings))) as connection:
        embed = partial(embed_query, words_to_embed(words), settings=settings, say=_notice)
        others = embed_for_other_models(connection, model, embed)
        vector = embed(settings.profile) if _has_vectors(connection, model, others=bool(others)) else None
        hits = search_archive(
            connection,
            words,
            vector,
            model,
            speaker=speaker,
            channel=channel,
            video=video,
            since=since.date() if since else None,
            until=until.date() if until else None,
            limit=limit,
            others=others,
        )
        for sentence in [] if hits else unknown_names(connection, speaker, channel, video):
            _notice(sentence)
    if json_output:
        typer.echo(json.dumps([as_json(hit) for hit in hits], ensure_ascii=False, indent=2))
    else:
        print_hits(_console, hits, by_video=by_video)


@app.command(epilog="Example: `channelscribe migrate`")
def migrate() -> None:
    """Bring the archive's schema to this version."""
    from channelscribe.store.migrate import upgrade

    applied = upgrade(archive_dsn(get_settings()))
    _console.print(f"Applied {', '.join(applied)}." if applied else "The archive is up to date.")


@app.command(epilog="Example: `channelscribe doctor`")
def doctor() -> None:
    """Check the installation, and say what to do where something is missing; exits with 1 then."""
    from channelscribe.doctor import run_checks

    checks = run_checks(get_settings())
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        detail = Text(check.detail)
        if check.remedy:
            detail.append(f"\n{check.remedy}", style="bold")
        table.add_row(Text(check.state, style=_COLOURS[check.state]), check.name, detail)
    _console.print(table)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)


@app.command(epilog="Example: `channelscribe stage --self-check --profile bundled --device cpu`")
def stage(
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Load every model and have it do a little work.")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="Profile that names the models; that of the settings.")] = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(help="Device for all stages; that of the profile.")
    ] = None,
) -> None:
    """Check the stages' environment, or the stages' image, in which this must be called; exits with 78 on a fault."""
    if not self_check:
        raise typer.BadParameter("--self-check is all that there is to do here; the stages are programs of their own.")
    from channelscribe.stages.self_check import check_profile

    faults = check_profile(get_profile(profile or get_settings().profile), device, typer.echo)
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(int(ExitCode.MISCONFIGURED))


def main() -> None:
    """Run the command; an error is one line, its traceback only with ``--debug``."""
    try:
        app()
    except ChannelscribeError as error:
        _fail(error, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort of a program: said in one line, and exited with
        reason = str(error).strip().splitlines()
        line = f"internal error: {type(error).__name__}: {reason[0] if reason else ''} (--debug shows where)"
        _fail(error, line, ExitCode.INTERNAL_ERROR)


def _fail(error: Exception, line: str, code: ExitCode) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        raise error
    _errors.print(f"[red]channelscribe:[/red] {escape(line)}", highlight=False, soft_wrap=True)
    sys.exit(int(code))


def _has_vectors(connection: Connection, model: tuple[str, str], *, others: bool) -> bool:
    """Whether the archive has vectors of the model; without any, words are not embedded, for nothing to compare to."""
    present = has_model(connection, "text", *model)
    if not present and has_chunks(connection):
        if not others:
            _notice("Only words are matched: the archive has no text embeddings of {} ({}).".format(*model))
    elif not present:
        _notice("The archive is empty: `make ingest CHANNEL=...` fills it.")
    return present


def _notice(sentence: str) -> None:
    """Say something beside the result, which alone is on the standard output."""
    _errors.print(Text(printable(sentence)), soft_wrap=True)

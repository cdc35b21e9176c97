"""The commands that keep the archive safe: backup and restore, and refill where there is no backup."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from channelscribe.profiles import get_profile
from channelscribe.settings import Settings, get_settings
from channelscribe.stack.embedded import Stack
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.wording import count, printable
from channelscribe.workspace import Workspace

# Where it is needed, and not here: with Alembic and SQLAlchemy it takes 1 s, and every command would wait for it.
if TYPE_CHECKING:
    from channelscribe.store import backup as work

app = typer.Typer()

_console = Console()


@app.command(epilog="Example: `channelscribe backup /backups/archive-2026-01-31.dump`")
def backup(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the whole archive into one file, while everything goes on.

    It holds voice embeddings, which are biometric data: only you may read the file, and where it is copied to is
    yours to answer for. The embedded Postgres is started for it if it does not run.
    """
    from channelscribe.store import backup as work

    settings = get_settings()
    with _orderly_end(), _archive(settings, may_make=False) as dsn:
        content = work.backup(dsn, file, force=force)
    _say(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {_content(content)}.")


@app.command(epilog="Example: `channelscribe restore /backups/archive-2026-01-31.dump --replace`")
def restore(
    file: Annotated[Path, typer.Argument(help="File that `channelscribe backup` wrote. Trust it: it can run SQL.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace all that the archive's database holds, and disconnect others.")
    ] = False,
) -> None:
    """Bring the archive back from a backup, of an older version too.

    What the archive holds stays until the backup is there as a whole. Stop the stack first by `make down`: Postgres
    alone is started for it, and stopped again.
    """
    from channelscribe.store import backup as work

    settings = get_settings()
    with _orderly_end(), _archive(settings, may_make=True) as dsn:
        content = work.restore(dsn, file, replace=replace)
    _say(f"The archive holds what {file} does: {_content(content)}.")


@app.command(epilog="Example: `channelscribe refill`")
def refill() -> None:
    """Fill an archive that has no videos from the artifacts of all that went through the stages.

    For an archive that was lost without a backup. What it alone knew is not brought back: enrolled voices, names given
    by hand, the options of channels.
    """
    from channelscribe.store.bulk import fill, finished_records
    from channelscribe.store.migrate import upgrade
    from channelscribe.store.speakers.discovered import identify_all

    settings = get_settings()
    profile = get_profile(settings.profile)
    voice = profile.stages["identify_speakers"]
    records = finished_records(Workspace(settings.data_dir), profile, lambda video, why: _say(f"{video}: {why}"))
    with _orderly_end(), _archive(settings, may_make=True) as dsn:
        upgrade(dsn)
        with closing(connect(dsn)) as connection:
            filled = fill(connection, records, profile)
            identify_all(connection, (voice.model, voice.revision))
    _say(
        f"The archive has {count(filled.n_videos, 'video')}: {filled.n_utterances} utterances in "
        f"{filled.rows_s:.0f} s, their indexes in {filled.indexes_s:.0f} s."
    )


@contextmanager
def _archive(settings: Settings, *, may_make: bool) -> Iterator[str]:
    """The archive's connection string; the embedded Postgres runs for as long, alone where the stack is down."""
    stack = Stack(settings)
    there = may_make or (settings.postgres_dir / "PG_VERSION").exists()
    if settings.archive_dsn or not there or stack.postgres.is_running:
        yield archive_dsn(settings)
        return
    with stack.lock():
        if stack.postgres.is_running:  # whoever had the lock before us started it, and will stop it
            yield archive_dsn(settings)
            return
        try:
            stack.postgres.start()
            yield archive_dsn(settings)
        finally:
            stack.postgres.stop()


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let the signals that ask for an end be an exception, so that nothing is left behind."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _content(content: "work.Content") -> str:
    return f"{count(content.n_videos, 'video')}, schema revision {content.revision}"


def _say(text: str) -> None:
    _console.print(Text(printable(text)), soft_wrap=True)

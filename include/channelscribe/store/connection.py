"""Connections to the archive, and what their errors mean in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import psycopg2
from pgvector.psycopg2 import register_vector
from psycopg2 import errors, extensions
from psycopg2.extensions import make_dsn

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings

Connection: TypeAlias = extensions.connection
Cursor: TypeAlias = extensions.cursor

DATABASE = "archive"
CONNECT_TIMEOUT_S = 10
_REMEDY = "start it with `make up`, or set CHANNELSCRIBE_ARCHIVE_DSN"


def archive_dsn(settings: Settings) -> str:
    """The connection string of the archive: the setting, or the socket of the running embedded server.

    Raises:
        TryAgainError: there is no setting, and the embedded server does not run.
    """
    return settings.archive_dsn or embedded_dsn(settings.postgres_dir, DATABASE)


def embedded_dsn(postgres_dir: Path, database: str) -> str:
    """Connection string of a database of the embedded server, from what the running server says of itself.

    The server puts its socket elsewhere when the data folder's path is too long for one, so the folder is
    read from ``postmaster.pid``: its fourth and fifth line are the port and the socket's folder.

    Raises:
        TryAgainError: no server runs over this folder.
    """
    try:
        lines = (postgres_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise TryAgainError(f"The archive cannot be reached (the embedded Postgres is down): {_REMEDY}.") from None
    if len(lines) < 8 or lines[7].strip() != "ready":
        raise TryAgainError("The archive cannot be reached (the embedded Postgres is starting): try again.")
    return make_dsn(host=lines[4].strip(), port=lines[3].strip(), user="postgres", dbname=database)


def connect(dsn: str) -> Connection:
    """Open a connection to a migrated archive; numpy arrays may be given to it as vectors.

    Raises:
        TryAgainError: the server cannot be reached.
        MisconfiguredError: the archive was never migrated.
    """
    connection = open_connection(dsn)
    try:
        with connection:
            register_vector(connection)
    except psycopg2.ProgrammingError:
        connection.close()
        raise MisconfiguredError("The archive is not set up yet: run `channelscribe migrate`.") from None
    return connection


def open_connection(dsn: str) -> Connection:
    """Open a connection to a database that may be empty still.

    Raises:
        TryAgainError: the server cannot be reached, or the connection string is wrong.
    """
    try:
        return psycopg2.connect(dsn, connect_timeout=CONNECT_TIMEOUT_S, application_name="channelscribe")
    except psycopg2.Error as error:
        raise TryAgainError(f"The archive cannot be reached ({one_line(error)}): {_REMEDY}.") from error


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Turn the database's errors into those that a person can act upon; others pass as they are."""
    try:
        yield
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction) as error:
        raise MisconfiguredError(
            f"The archive's schema is not this version's ({one_line(error)}): run `channelscribe migrate`."
        ) from error
    except (psycopg2.DataError, psycopg2.IntegrityError, errors.ProgramLimitExceeded) as error:
        raise BadInputError(f"The archive refuses this: {one_line(error)}.") from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise TryAgainError(f"The archive did not answer ({one_line(error)}): try again.") from error


def one_line(error: Exception) -> str:
    """The first line of an error's text that says something, without its full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__

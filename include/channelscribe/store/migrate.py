"""Bring the archive's schema to this version, by the Alembic scripts in ``store/migrations``."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2 import errors
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from channelscribe.errors import MisconfiguredError, TryAgainError
from channelscribe.store.connection import one_line, open_connection


def upgrade(dsn: str) -> list[str]:
    """Apply the migrations that are missing, all in one transaction; two callers at once do not collide.

    Returns:
        The revisions that were missing when it began, oldest first.

    Raises:
        MisconfiguredError: the server cannot be reached, has no pgvector, or the archive is of a newer version.
        TryAgainError: the server went away.
    """
    with _engine_connection(dsn) as connection:
        missing = _missing(connection)
        connection.rollback()
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            raise _explained(error) from error
    return missing


def pending(dsn: str) -> list[str]:
    """The revisions that the archive is missing, oldest first; empty when it is up to date.

    Raises:
        MisconfiguredError: the server cannot be reached, or the archive is of a newer version.
    """
    with _engine_connection(dsn) as connection:
        return _missing(connection)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "channelscribe.store:migrations")
    return config


def _engine_connection(dsn: str) -> Connection:
    # The driver's own connection string is used as it is: a socket's path needs no quoting in it.
    engine = create_engine("postgresql+psycopg2://", creator=lambda: open_connection(dsn), poolclass=NullPool)
    return engine.connect()


def _missing(connection: Connection) -> list[str]:
    script = ScriptDirectory.from_config(_config())
    known = [revision.revision for revision in script.walk_revisions()][::-1]
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        return known
    if current not in known:
        raise MisconfiguredError(
            f"The archive is at revision {current}, which this version does not know: upgrade channelscribe."
        )
    return known[known.index(current) + 1 :]


def _explained(error: DBAPIError) -> Exception:
    cause = error.orig
    reason = one_line(cause) if isinstance(cause, Exception) else str(error)
    if isinstance(cause, errors.FeatureNotSupported | errors.UndefinedFile):
        return MisconfiguredError(f"The server has no pgvector ({reason}): install the extension on it.")
    if isinstance(cause, errors.InsufficientPrivilege):
        return MisconfiguredError(f"The archive's user may not do this ({reason}): grant it, or use the owner.")
    if error.connection_invalidated:
        return TryAgainError(f"The archive did not answer ({reason}): try again.")
    return error

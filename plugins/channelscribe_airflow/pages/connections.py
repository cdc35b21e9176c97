"""The archive, for as long as a request takes."""

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

from fastapi import Depends

from channelscribe.settings import get_settings
from channelscribe.store.connection import Connection, archive_dsn, connect, errors_in_words

# Whoever asked has given up by then, and a costly question should not keep the archive from others.
_STATEMENT_TIMEOUT_S = 15
# So long a load or the identification of all voices may keep an edit waiting.
_LOCK_TIMEOUT_S = 20


def _reading() -> Iterator[Connection]:
    with closing(connect(archive_dsn(get_settings()))) as connection:
        _limit(connection, "statement_timeout", _STATEMENT_TIMEOUT_S)
        connection.set_session(readonly=True)
        yield connection


def _writing() -> Iterator[Connection]:
    with closing(connect(archive_dsn(get_settings()))) as connection:
        _limit(connection, "lock_timeout", _LOCK_TIMEOUT_S)
        yield connection


def _limit(connection: Connection, setting: str, seconds: int) -> None:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", (setting, f"{seconds}s"))


# Closed before the answer is sent: to send a recording may take minutes.
Reading = Annotated[Connection, Depends(_reading, scope="function")]
"""A connection that can change nothing, and whose questions are stopped if they take long."""
Writing = Annotated[Connection, Depends(_writing, scope="function")]
"""A connection for what a form asks for, which does not wait for others for ever."""

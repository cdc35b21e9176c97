"""Bring the rows of one video in a table to what they should be: COPY into a staging table, then the difference."""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from psycopg2 import sql

from channelscribe.store.connection import Cursor

Row = Sequence[object]

# Rows are sent in pieces of about this size, so that the server works on one while the next is made.
_PIECE_BYTES = 65_536
# Name of the column of vectors in every table that has one.
VECTOR_COLUMN = "embedding"
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_BINARY_END = struct.pack(">h", -1)


@dataclass(frozen=True)
class Table:
    """A table whose rows belong to videos.

    Args:
        name: of the table.
        keys: its natural key, ``video_id`` first.
        values: the columns that a load decides.
        scope: a column beside ``video_id`` that a load holds fixed: rows with another value are not its own.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    scope: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and values, in the order that rows are given in."""
        return self.keys + self.values

    @property
    def staging(self) -> sql.Composable:
        """Name of the staging table."""
        return sql.Identifier(f"staging_{self.name}")


def stage(cursor: Cursor, table: Table, rows: Iterable[Row]) -> None:
    """Copy rows into a staging table, which is gone at the end of the transaction."""
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            table.staging, _list(table.columns), sql.Identifier(table.name)
        )
    )
    copy(cursor, table, rows, into=table.staging)


def copy(cursor: Cursor, table: Table, rows: Iterable[Row], *, into: sql.Composable | None = None) -> None:
    """Copy rows into a table itself, or into another one with its columns."""
    name, columns = into or sql.Identifier(table.name), _list(table.columns)
    # As text, vectors would take most of a load's time, here and on the server.
    if VECTOR_COLUMN in table.columns:
        statement, pieces = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary)"), _binary(rows)
    else:
        statement, pieces = sql.SQL("COPY {} ({}) FROM STDIN WITH (ENCODING 'UTF8')"), _text(rows)
    cursor.copy_expert(statement.format(name, columns), _Stream(pieces))


def merge(cursor: Cursor, table: Table, video_id: str, scope: object = None) -> int:
    """Make the video's rows equal to the staged ones; rows that are equal already are not written.

    Args:
        cursor: of the transaction that staged the rows.
        table: what to change.
        video_id: whose rows.
        scope: value of ``table.scope``, for a table that has one.

    Returns:
        How many rows were deleted, updated or inserted.
    """
    own = sql.SQL("t.video_id = {}").format(sql.Literal(video_id))
    if table.scope:
        own = sql.SQL("{} AND t.{} = {}").format(own, sql.Identifier(table.scope), sql.Literal(scope))
    names = {
        "table": sql.Identifier(table.name),
        "staging": table.staging,
        "own": own,
        "same": sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(key)) for key in table.keys),
        "columns": _list(table.columns),
        "key": sql.Identifier(table.keys[0]),
    }
    statements = [
        "DELETE FROM {table} t WHERE {own} AND NOT EXISTS (SELECT FROM {staging} s WHERE {same})",
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} s "
        "WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same})",
    ]
    if table.values:
        names["set"] = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in table.values)
        names["old"] = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.values)
        names["new"] = sql.SQL(", ").join(sql.SQL("s.{}").format(sql.Identifier(name)) for name in table.values)
        statements.insert(
            1,
            "UPDATE {table} t SET {set} FROM {staging} s "
            "WHERE {own} AND {same} AND ROW({old}) IS DISTINCT FROM ROW({new})",
        )
    n_changed = 0
    for statement in statements:
        cursor.execute(sql.SQL(statement).format(**names))
        n_changed += cursor.rowcount
    return n_changed


def clean(text: str) -> str:
    """Text without the one character that Postgres cannot hold."""
    return text.replace("\x00", "")


def _list(columns: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


class _Stream:
    """A file to read from, made of pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, _size: int = -1) -> bytes:
        """Some pieces, however many are asked for; empty at the end."""
        buffer = bytearray()
        for piece in self._pieces:
            buffer += piece
            if len(buffer) >= _PIECE_BYTES:
                break
        return bytes(buffer)

    readline: Callable[..., bytes] = read


def _text(rows: Iterable[Row]) -> Iterator[bytes]:
    # What cannot be said in UTF-8 (half a surrogate pair) becomes a question mark.
    return (("\t".join(map(_copied, row)) + "\n").encode("utf-8", errors="replace") for row in rows)


def _binary(rows: Iterable[Row]) -> Iterator[bytes]:
    yield _BINARY_HEADER
    for row in rows:
        fields = [_sent(value) for value in row]
        yield struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(field)) + field for field in fields)
    yield _BINARY_END


def _sent(value: object) -> bytes:
    """A value in COPY's binary format: text, integer, double precision or vector."""
    if isinstance(value, np.ndarray):
        return struct.pack(">hh", len(value), 0) + value.astype(">f4").tobytes()
    if isinstance(value, int):
        return struct.pack(">i", value)
    if isinstance(value, float):
        return struct.pack(">d", value)
    return clean(str(value)).encode("utf-8", errors="replace")


def _copied(value: object) -> str:
    """A value in COPY's text format."""
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return _escaped(json.dumps(_cleaned(value), ensure_ascii=False, allow_nan=False))
    if isinstance(value, tuple):
        quoted = (str(item).replace("\\", r"\\").replace('"', r"\"") for item in value)
        return _escaped("{" + ",".join(f'"{item}"' for item in quoted) + "}")
    return _escaped(str(value))


def _escaped(text: str) -> str:
    return clean(text).replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")


def _cleaned(value: object) -> object:
    # Within JSON the character would hide behind an escape, and Postgres refuses that too.
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value

"""Fill an archive without videos from the artifacts of all: rows without any index, then indexes and constraints.

A load of one video keeps every index right, row by row. For thousands of videos it is far cheaper to build each index
once. All is done in one transaction: the archive is empty until it is full.
"""

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

from psycopg2 import sql

from channelscribe.errors import BadInputError, ChannelscribeError
from channelscribe.profiles import Profile, StageSpec
from channelscribe.store.artifacts import Vectors, VideoRecord, read_record
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.loader import rows_by_table
from channelscribe.store.models import EmbeddingModel, Kind, add_model, index_statements
from channelscribe.store.speakers.labels import lock_voices
from channelscribe.store.staging import Row, Table, copy
from channelscribe.workspace import Workspace

logger = logging.getLogger(__name__)

# Bounds the memory: of so many videos the records are held at once.
BATCH_VIDEOS = 50

_BELOW_VIDEOS = """
WITH RECURSIVE below AS (
    SELECT 'videos'::regclass::oid AS oid
    UNION
    SELECT c.conrelid FROM pg_constraint c JOIN below b ON c.confrelid = b.oid WHERE c.contype = 'f'
)
SELECT oid::regclass::text FROM below ORDER BY 1
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY(%(tables)s::regclass[]) AND c.oid IS NULL
"""
# Keys before what refers to them.
_CONSTRAINTS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND (conrelid = ANY(%(tables)s::regclass[]) OR confrelid = ANY(%(tables)s::regclass[]))
ORDER BY contype = 'f', conname
"""


@dataclass(frozen=True)
class Filled:
    """What was loaded, and the seconds that the rows took, and the indexes and constraints after them."""

    n_videos: int
    n_utterances: int
    rows_s: float
    indexes_s: float


def finished_records(
    workspace: Workspace, profile: Profile, refuse: Callable[[str, ChannelscribeError], None]
) -> Iterator[VideoRecord]:
    """The records of all videos of a workspace, by id; those that cannot be read are handed to ``refuse`` with why."""
    for folder in sorted((workspace.data_root / "videos").glob("*")):
        try:
            record = read_record(workspace, folder.name, profile)
        except ChannelscribeError as error:
            refuse(folder.name, error)
            continue
        yield record


def fill(connection: Connection, records: Iterable[VideoRecord], profile: Profile) -> Filled:
    """Load videos into an archive that has none, in one transaction; nobody is named by it (see ``labels.relabel``).

    Args:
        connection: to a migrated archive, outside a transaction.
        records: each video once; read batch by batch.
        profile: names the models of the records' embeddings.

    Raises:
        BadInputError: the archive has videos, or a record contradicts another one.
        TryAgainError: the database went away.
    """
    with _no_search_for_cycles(), errors_in_words(), connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        tables = _emptied(cursor)
        rebuilding = _without_indexes(cursor, tables)
        models = _Models(cursor, profile)
        started = time.perf_counter()
        n_videos = n_utterances = 0
        for batch in _batches(records):
            _copy_batch(cursor, batch, models)
            n_videos += len(batch)
            n_utterances += sum(len(record.analysis.utterances) for record in batch)
            logger.info("%d videos, %d utterances", n_videos, n_utterances)
        copied = time.perf_counter()
        for statement in rebuilding:
            cursor.execute(statement)
        for made in models.index_statements:
            cursor.execute(made)
    _vacuum(connection, tables)
    return Filled(n_videos, n_utterances, copied - started, time.perf_counter() - copied)


class _Models:
    """The models of the records' embeddings; new ones get their indexes at the end."""

    def __init__(self, cursor: Cursor, profile: Profile) -> None:
        self.index_statements: list[sql.Composed] = []
        self._cursor = cursor
        self._specs: dict[Kind, StageSpec] = {
            "text": profile.stages["embed_text"], "voice": profile.stages["identify_speakers"]
        }  # fmt: skip
        self._known: dict[tuple[Kind, int], EmbeddingModel] = {}

    def model_of(self, kind: Kind, vectors: Vectors | None) -> EmbeddingModel | None:
        """The model that made vectors, None where there are none."""
        if vectors is None:
            return None
        dimension = vectors.shape[1]
        if (kind, dimension) not in self._known:
            spec = self._specs[kind]
            model, is_new = add_model(self._cursor, kind, spec.model, spec.revision, dimension)
            self._known[kind, dimension] = model
            self.index_statements += index_statements(kind, model) if is_new else []
        return self._known[kind, dimension]


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Python's search for what refers in circles is off: records do not, and go without it.

    Among the hundreds of thousands of words of a batch it takes two thirds of the time of reading. What numpy leaves
    for it, some kilobytes a video, stays until the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _batches(records: Iterable[VideoRecord]) -> Iterator[list[VideoRecord]]:
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH_VIDEOS)):
        yield batch


def _copy_batch(cursor: Cursor, batch: Sequence[VideoRecord], models: _Models) -> None:
    rows: dict[Table, list[Iterable[Row]]] = {}
    for record in batch:
        text_model = models.model_of("text", record.text_embeddings)
        voice_model = models.model_of("voice", record.cluster_embeddings)
        for table, own in rows_by_table(cursor, record, text_model, voice_model):
            rows.setdefault(table, []).append(own)
    for table, parts in rows.items():
        copy(cursor, table, chain.from_iterable(parts))


def _emptied(cursor: Cursor) -> list[str]:
    """The tables of videos and of all that is below them, made anew: what is copied into such may need no log."""
    cursor.execute("LOCK TABLE videos IN ACCESS EXCLUSIVE MODE")
    cursor.execute("SELECT EXISTS (SELECT FROM videos)")
    if cursor.fetchone() == (True,):
        raise BadInputError("The archive has videos: only an empty one is filled from all artifacts.")
    cursor.execute(_BELOW_VIDEOS)
    tables = [row[0] for row in cursor]
    cursor.execute(f"TRUNCATE {', '.join(tables)}")
    return tables


def _without_indexes(cursor: Cursor, tables: Sequence[str]) -> list[str]:
    """Drop the tables' constraints and indexes; returns what makes them anew, the constraints first."""
    cursor.execute(_CONSTRAINTS, {"tables": tables})
    constraints = cursor.fetchall()
    cursor.execute(_INDEXES, {"tables": tables})
    indexes = cursor.fetchall()
    # What refers to a key goes before the key.
    for table, name, _ in reversed(constraints):
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    return [
        *(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in constraints),
        *(definition for _, definition in indexes),
    ]


def _vacuum(connection: Connection, tables: Sequence[str]) -> None:
    """Let the planner know what is there, and index scans that they need not look into the tables."""
    connection.autocommit = True  # a vacuum is no part of a transaction
    try:
        with errors_in_words(), connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")
    finally:
        connection.autocommit = False

"""The embedding models whose vectors the archive holds, each with its own vector indexes.

The vector columns have no dimension of their own, so that models of any size share a table. What is indexed
is the column cast to the model's dimension, in an index over that model's rows alone.
"""

from dataclasses import dataclass
from typing import Literal

from psycopg2 import sql

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words

Kind = Literal["text", "voice"]

# Turns are as many as utterances, and are only ever read by video; enrolled voices are few, and read all.
TABLES: dict[Kind, tuple[str, ...]] = {
    "text": ("text_embeddings",),
    "voice": ("cluster_voice_embeddings",),
}
# What pgvector's HNSW index takes of float16. Beyond that the search is exact.
MAX_HALFVEC = 4000
_REGISTRATION_LOCK = 7_231_846_506


@dataclass(frozen=True)
class EmbeddingModel:
    """A registered model.

    Args:
        model_id: its number in the archive.
        dimension: length of its vectors.
    """

    model_id: int
    dimension: int

    @property
    def indexed_type(self) -> sql.Composable:
        """The type that the vectors are cast to, in the index and in a query that shall use it.

        Half precision makes the index half as large; what it finds is compared by the vectors themselves.
        """
        name = "halfvec" if self.dimension <= MAX_HALFVEC else "vector"
        return sql.SQL("{}({})").format(sql.SQL(name), sql.Literal(self.dimension))


def find_model(cursor: Cursor, kind: Kind, name: str, revision: str) -> EmbeddingModel | None:
    """Look a model up; None where no vector of it was ever loaded."""
    cursor.execute(
        "SELECT model_id, dimension FROM embedding_models WHERE kind = %s AND name = %s AND revision = %s",
        (kind, name, revision),
    )
    row = cursor.fetchone()
    return EmbeddingModel(*row) if row else None


def register_model(connection: Connection, kind: Kind, name: str, revision: str, dimension: int) -> EmbeddingModel:
    """The model, made with its indexes if it is new, in a transaction of its own.

    Building an index waits for all writers of the table. Within the transaction of a load, two loaders could
    wait for each other.

    Raises:
        BadInputError: the archive knows this model with another dimension.
    """
    with connection, connection.cursor() as cursor:
        model = find_model(cursor, kind, name, revision)
        if model is None:
            model, is_new = add_model(cursor, kind, name, revision, dimension)
            for statement in index_statements(kind, model) if is_new else ():
                cursor.execute(statement)
    return require_dimension(model, name, revision, dimension)


def add_model(cursor: Cursor, kind: Kind, name: str, revision: str, dimension: int) -> tuple[EmbeddingModel, bool]:
    """The model, and whether it is new and so without indexes. Others who add one wait until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_REGISTRATION_LOCK,))
    model = find_model(cursor, kind, name, revision)
    if model is not None:
        return require_dimension(model, name, revision, dimension), False
    cursor.execute(
        "INSERT INTO embedding_models (kind, name, revision, dimension) VALUES (%s, %s, %s, %s) RETURNING model_id",
        (kind, name, revision, dimension),
    )
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives a row or the statement fails
    return EmbeddingModel(row[0], dimension), True


def require_dimension(model: EmbeddingModel, name: str, revision: str, dimension: int) -> EmbeddingModel:
    """The model itself, if its vectors have this dimension.

    Raises:
        BadInputError: they have another one.
    """
    if model.dimension != dimension:
        raise BadInputError(
            f"The vectors of {name} ({revision}) have {dimension} dimensions, but those in the archive have "
            f"{model.dimension}: give the model another revision."
        )
    return model


def index_statements(kind: Kind, model: EmbeddingModel) -> list[sql.Composed]:
    """What makes a model's vector indexes; none for a model of more dimensions than can be indexed."""
    statement = (
        "CREATE INDEX {index} ON {table} USING hnsw ((embedding::{type}) halfvec_cosine_ops) WHERE model_id = {id}"
    )
    return [
        sql.SQL(statement).format(
            index=sql.Identifier(f"{table}_hnsw_{model.model_id}"),
            table=sql.Identifier(table),
            type=model.indexed_type,
            id=sql.Literal(model.model_id),
        )
        for table in (TABLES[kind] if model.dimension <= MAX_HALFVEC else ())
    ]


def has_model(connection: Connection, kind: Kind, name: str, revision: str) -> bool:
    """Whether vectors of a model were ever loaded."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        return find_model(cursor, kind, name, revision) is not None

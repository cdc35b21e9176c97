"""The chunks nearest to a query's embedding: by the model's index, or where filters leave few, by comparing all."""

import numpy as np
import numpy.typing as npt
from psycopg2 import sql

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Cursor
from channelscribe.store.models import EmbeddingModel
from channelscribe.store.search.narrowing import Narrowing

Key = tuple[str, int]

# How many neighbours the index keeps in view: with 100, fewer of the ten nearest of a made archive were found.
_EF_SEARCH = 400

# The index is in half precision: what it finds is put in order by the vectors themselves.
_BY_INDEX = """
WITH nearest AS MATERIALIZED (
    SELECT e.video_id, e.chunk_index, e.embedding FROM text_embeddings e
    WHERE e.model_id = {model_id} AND {of_videos} AND {of_speaker} AND {left} AND {wanted}
    ORDER BY e.embedding::{type} <=> %(vector)s::{type}
    LIMIT %(candidates)s
)
SELECT video_id, chunk_index FROM nearest ORDER BY embedding <=> %(vector)s::vector, video_id, chunk_index
"""
# A subquery for each row, and no join: a join may be done such that the index's order is lost, and all rows are read.
_CHUNK = "(SELECT {} FROM chunks c WHERE c.video_id = e.video_id AND c.chunk_index = e.chunk_index)"
# Put in order first: a look into a chunk for words that must not be there costs more than a comparison.
_BY_COMPARING = """
SELECT video_id, chunk_index FROM (
    SELECT c.video_id, c.chunk_index, c.embedding <=> %(vector)s::vector AS distance FROM {embeddings} c {join}
    WHERE c.model_id = {model_id} AND {of_chunks} AND {left}
    ORDER BY distance, c.video_id, c.chunk_index
) e
WHERE {wanted}
ORDER BY distance, video_id, chunk_index
LIMIT %(candidates)s
"""
_WITH_CHUNKS = (
    "(SELECT c.*, e.model_id, e.embedding FROM chunks c JOIN text_embeddings e USING (video_id, chunk_index))"
)


def nearest_chunks(
    cursor: Cursor,
    model: EmbeddingModel,
    vector: npt.NDArray[np.float32],
    narrowing: Narrowing,
    n: int,
    *,
    without: EmbeddingModel | None = None,
) -> list[Key]:
    """The chunks whose embeddings are nearest to a vector by cosine, nearest first.

    Args:
        cursor: of a transaction, whose settings are changed.
        model: which embeddings.
        vector: (dim,) float32.
        narrowing: which chunks.
        n: most to return; fewer come only if the filters let fewer through, or words keep away those that are near.
        without: only chunks that have no embedding of this model.

    Raises:
        BadInputError: the vector does not fit the model.
    """
    if vector.shape != (model.dimension,):
        raise BadInputError(
            f"The words' embedding has the shape {vector.shape}, but the archive's vectors have {model.dimension} "
            "dimensions: search with the profile that the videos were loaded with."
        )
    parameters = {**narrowing.parameters, "vector": vector, "candidates": n}
    if not narrowing.few:
        # Without this the index yields its nearest alone, and a filter leaves few of them or none.
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute("SET LOCAL hnsw.ef_search = %s", (_EF_SEARCH,))
        cursor.execute(by_index(model, narrowing, without), parameters)
        found = cursor.fetchall()
        # The index gives up, after 20,000, where what is allowed lies far from the query. Where only words that must
        # not be there keep chunks away, what it has not come to is not near: not all of an archive is looked into.
        if len(found) >= n or (narrowing.left_out is not None and not narrowing.by_video and without is None):
            return found
    cursor.execute(by_comparing(model, narrowing, without), parameters)
    return cursor.fetchall()


def by_index(model: EmbeddingModel, narrowing: Narrowing, without: EmbeddingModel | None = None) -> sql.Composable:
    """The query for the nearest chunks, written such that the model's own index serves it."""
    return sql.SQL(_BY_INDEX).format(
        model_id=sql.Literal(model.model_id),
        type=model.indexed_type,
        of_videos=narrowing.of_videos("e"),
        of_speaker=sql.SQL(_CHUNK).format(narrowing.of_chunks) if narrowing.by_speaker else sql.SQL("true"),
        left=_without("e", without),
        wanted=_wanted(narrowing),
    )


def by_comparing(model: EmbeddingModel, narrowing: Narrowing, without: EmbeddingModel | None = None) -> sql.Composable:
    """The query for the nearest chunks that looks at every one of those allowed."""
    return sql.SQL(_BY_COMPARING).format(
        # Of few chunks the keys are known; whether a speaker is in one of many, only the chunk itself says.
        embeddings=sql.SQL(_WITH_CHUNKS if narrowing.by_speaker and not narrowing.few else "text_embeddings"),
        model_id=sql.Literal(model.model_id),
        join=narrowing.join_of_chunks,
        of_chunks=narrowing.of_chunks,
        left=_without("c", without),
        wanted=_wanted(narrowing),
    )


def _wanted(narrowing: Narrowing) -> sql.Composable:
    """The condition that an embedding ``e`` is of a chunk without what must not be there."""
    if narrowing.left_out is None:
        return sql.SQL("true")
    return sql.SQL("NOT {}").format(sql.SQL(_CHUNK).format(narrowing.left_out))


def _without(alias: str, model: EmbeddingModel | None) -> sql.Composable:
    """The condition that a chunk has no text embedding of a model; none has where the archive does not know it."""
    if model is None:
        return sql.SQL("true")
    return sql.SQL(
        "NOT EXISTS (SELECT FROM text_embeddings o WHERE o.video_id = {0}.video_id "
        "AND o.chunk_index = {0}.chunk_index AND o.model_id = {1})"
    ).format(sql.Identifier(alias), sql.Literal(model.model_id))

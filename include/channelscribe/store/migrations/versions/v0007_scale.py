"""Indexes for large archives: vectors in half precision, and only where they are searched; chunks by who is heard."""

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE INDEX clusters_label ON clusters (lower(cluster))",
    """
    CREATE FUNCTION chunk_voices(video_id text, clusters text[]) RETURNS text[] IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT array_agg(video_id || ' ' || cluster) FROM unnest(clusters) AS cluster; END
    """,
    # Without a list of what is not yet in it, which each of many lookups would read.
    "CREATE INDEX chunks_voices ON chunks USING gin (chunk_voices(video_id, clusters)) WITH (fastupdate = off)",
)
_INDEXES = "SELECT format('%I', indexname) FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%USING hnsw%'"
# As in store.models, of this version. pgvector indexes no more than 4000 dimensions.
_MODELS = """
SELECT model_id, dimension, CASE kind WHEN 'text' THEN 'text_embeddings' ELSE 'cluster_voice_embeddings' END
FROM embedding_models WHERE dimension <= 4000
"""


def upgrade() -> None:
    """Make all vector indexes anew, which takes about a minute for each 100,000 utterances."""
    connection = op.get_bind()
    for statement in STATEMENTS:
        op.execute(statement)
    for (index,) in connection.execute(text(_INDEXES)).all():
        op.execute(f"DROP INDEX {index}")
    for model_id, dimension, table in connection.execute(text(_MODELS)).all():
        op.execute(
            f"CREATE INDEX {table}_hnsw_{model_id} ON {table} "
            f"USING hnsw ((embedding::halfvec({dimension})) halfvec_cosine_ops) WHERE model_id = {model_id}"
        )

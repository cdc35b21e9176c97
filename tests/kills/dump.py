"""All that an archive holds, apart from when it was made and by which run: equal for equal content."""

from typing import Any

import psycopg2

# Of a run, or of how long something took; ids that a killed transaction uses up.
_LEFT_OUT = {
    "run_id", "ingest_run_id", "total_s", "processing_s", "peak_memory_bytes", "model_id", "channel_id",
}  # fmt: skip
_RUNS = {"ingest_runs", "run_stages", "run_videos", "run_gpu_samples"}
_COLUMNS = """
SELECT table_name, column_name, data_type
FROM information_schema.columns JOIN information_schema.tables USING (table_name, table_schema)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position
"""


def dump(dsn: str) -> dict[str, list[str]]:
    """The rows of every table as text, sorted; models and channels by their names."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_COLUMNS)
            columns: dict[str, list[str]] = {}
            known: dict[str, set[str]] = {}
            for table, column, kind in cursor.fetchall():
                known.setdefault(table, set()).add(column)
                if column in _LEFT_OUT or (kind.startswith("timestamp") and column != "published_at"):
                    continue
                columns.setdefault(table, []).append(column)
            return {
                table: _rows(cursor, table, columns[table], known[table]) for table in columns if table not in _RUNS
            }
    finally:
        connection.close()


def _rows(cursor: Any, table: str, columns: list[str], known: set[str]) -> list[str]:
    shown = [f"t.{column}::text" for column in columns]
    joins = ""
    if "metrics" in columns:  # without rates
        shown[columns.index("metrics")] = (
            "(SELECT jsonb_object_agg(key, value)::text FROM jsonb_each(t.metrics) WHERE key NOT LIKE '%%per_s')"
        )
    if "model_id" in known and table != "embedding_models":
        joins += " JOIN embedding_models m USING (model_id)"
        shown.append("m.name")
    if "channel_id" in known and table != "channels":
        joins += " JOIN channels c USING (channel_id)"
        shown.append("c.url")
    cursor.execute(f"SELECT concat_ws(' | ', {', '.join(shown)}) FROM {table} t{joins}", ())
    return sorted(row[0] for row in cursor)

"""Which run works on a video: two that did at once would do everything twice, and in each other's way."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE claims (
        video_id text PRIMARY KEY,
        dag_id text NOT NULL,
        run_id text NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "COMMENT ON TABLE claims IS 'The run that took a video on last. It counts while Airflow has the run at work.'",
    "COMMENT ON COLUMN ingest_runs.run_id IS 'The DAG and its run, as in channel_ingest/manual__2026-01-31T04:00:00.'",
)


def upgrade() -> None:
    """Add the table. Videos at work while this is applied are claimed by nobody."""
    for statement in STATEMENTS:
        op.execute(statement)

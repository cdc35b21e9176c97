"""What was wrong, and who was told of it when."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE alerts (
        alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        subject text NOT NULL,
        run_id text,
        title text NOT NULL,
        lines text[] NOT NULL,
        link text NOT NULL DEFAULT '',
        raised_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz
    )
    """,
    # What goes on is recorded once, whoever notices it, and however often.
    "CREATE UNIQUE INDEX alerts_going_on ON alerts (kind, subject) WHERE ended_at IS NULL",
    """
    CREATE TABLE alert_deliveries (
        alert_id bigint NOT NULL REFERENCES alerts ON DELETE CASCADE,
        target text NOT NULL,
        delivered_at timestamptz,
        tried_at timestamptz,
        failure text,
        PRIMARY KEY (alert_id, target)
    )
    """,
    "CREATE INDEX alert_deliveries_waiting ON alert_deliveries (target) WHERE delivered_at IS NULL",
    "COMMENT ON TABLE alerts IS 'What was wrong: each thing once for as long as it goes on.'",
    "COMMENT ON COLUMN alerts.subject IS "
    "'What it is about: a channel, a video, a disk; of what is of one run it begins with the run.'",
    "COMMENT ON COLUMN alerts.run_id IS 'The run in which it was noticed: those of a kind and run make one message.'",
    "COMMENT ON COLUMN alerts.ended_at IS 'When it was found to be over; after that it can be raised anew.'",
    "COMMENT ON TABLE alert_deliveries IS 'Whom an alert is for: the targets that were set when it was raised.'",
    "COMMENT ON COLUMN alert_deliveries.target IS 'Id of the Airflow connection that holds its URL.'",
    "COMMENT ON COLUMN alert_deliveries.failure IS 'Why the last attempt failed.'",
)


def upgrade() -> None:
    """Add two tables."""
    for statement in STATEMENTS:
        op.execute(statement)

"""Pairs of speakers of whom somebody said that they are two, however alike their voices."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE distinct_speakers (
        first_id bigint NOT NULL,
        second_id bigint NOT NULL CHECK (first_id < second_id),
        edit_id bigint REFERENCES speaker_edits ON DELETE SET NULL,
        PRIMARY KEY (first_id, second_id)
    )
    """,
    "CREATE INDEX distinct_speakers_second ON distinct_speakers (second_id)",
    "COMMENT ON TABLE distinct_speakers IS 'Pairs that somebody said are two: no longer possible duplicates. "
    "A speaker that was merged since may be gone, and come back.'",
    "COMMENT ON COLUMN distinct_speakers.edit_id IS 'The edit that said so; null once edits were forgotten.'",
)


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)

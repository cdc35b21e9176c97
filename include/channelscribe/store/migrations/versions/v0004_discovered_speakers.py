"""Unknown voices that are one person's across videos, and what people said of speakers, so that it can be undone."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE speakers
        ADD number integer UNIQUE,
        ADD discovered boolean NOT NULL DEFAULT false,
        ADD CHECK (number IS NOT NULL OR NOT discovered)
    """,
    "ALTER TABLE speaker_calibrations ADD same_voice double precision",
    """
    CREATE TABLE speaker_edits (
        edit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        description text NOT NULL,
        speaker_ids bigint[] NOT NULL,
        speakers_before jsonb NOT NULL,
        enrollments_before jsonb NOT NULL,
        made_at timestamptz NOT NULL DEFAULT now(),
        undone_at timestamptz
    )
    """,
    """
    CREATE TABLE speaker_edit_clusters (
        edit_id bigint NOT NULL REFERENCES speaker_edits ON DELETE CASCADE,
        video_id text NOT NULL REFERENCES videos ON DELETE CASCADE,
        cluster text NOT NULL,
        speaker_id bigint,
        speaker_matched boolean NOT NULL,
        PRIMARY KEY (edit_id, video_id, cluster)
    )
    """,
    "CREATE INDEX speaker_edit_clusters_video ON speaker_edit_clusters (video_id)",
    """
    CREATE TABLE voice_identifications (
        model text NOT NULL,
        revision text NOT NULL,
        digest text NOT NULL,
        PRIMARY KEY (model, revision)
    )
    """,
    "COMMENT ON TABLE voice_identifications IS "
    "'By which known voices all videos of a voice model were identified last; others are known where it differs.'",
    """
    CREATE OR REPLACE VIEW utterance_speakers AS
    SELECT u.video_id, u.utterance_index, u.cluster, s.speaker_id, s.name, coalesce(s.name, u.cluster) AS label,
           CASE WHEN s.discovered THEN NULL
                WHEN k.speaker_id IS NULL OR k.speaker_matched
                THEN coalesce(u.speaker_score, k.speaker_score) END AS speaker_score
    FROM utterances u
    JOIN clusters k ON k.video_id = u.video_id AND k.cluster = u.cluster
    LEFT JOIN speakers s ON s.speaker_id = coalesce(k.speaker_id, u.speaker_id)
    """,
    "COMMENT ON COLUMN utterance_speakers.speaker_score IS "
    "'Null where the name was given by hand, or the speaker was discovered.'",
    "COMMENT ON COLUMN speakers.number IS 'Of a speaker that was discovered; never given to another.'",
    "COMMENT ON COLUMN speakers.discovered IS "
    "'Found by comparing the unknown voices of videos, and found anew after each run until a person names it.'",
    "COMMENT ON COLUMN speaker_calibrations.same_voice IS "
    "'Average cosine similarity from which on unknown voices of different videos are one; null where not measured.'",
    "COMMENT ON TABLE speaker_edits IS 'What people said of speakers: names, merges, splits; the last can be undone.'",
    "COMMENT ON COLUMN speaker_edits.speaker_ids IS 'The speakers it is about.'",
    "COMMENT ON COLUMN speaker_edits.speakers_before IS 'Their rows as they were; of a new one null.'",
    "COMMENT ON COLUMN speaker_edits.enrollments_before IS 'Object of enrollment id to the speaker it belonged to.'",
    "COMMENT ON TABLE speaker_edit_clusters IS 'The clusters that an edit decided, with their speakers as they were.'",
)


def upgrade() -> None:
    """Add columns and tables; nothing that is there changes."""
    for statement in STATEMENTS:
        op.execute(statement)

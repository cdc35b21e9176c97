"""Who speaks, utterance by utterance: several voice embeddings per enrollment clip, calibrations, and suspicions."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    # No version before this one could enroll anybody: the table is empty.
    "ALTER TABLE enrollments DROP CONSTRAINT enrollments_speaker_id_source_model_id_key",
    """
    ALTER TABLE enrollments
        ADD clip_sha256 text NOT NULL,
        ADD start_s double precision NOT NULL,
        ADD end_s double precision NOT NULL,
        ADD snr_db double precision,
        ADD CHECK (end_s > start_s),
        ADD UNIQUE (model_id, clip_sha256, start_s, end_s)
    """,
    "CREATE INDEX enrollments_speaker ON enrollments (speaker_id)",
    """
    CREATE TABLE speaker_calibrations (
        calibration_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model text NOT NULL,
        revision text NOT NULL,
        n_speakers integer NOT NULL,
        n_target integer NOT NULL,
        n_impostor integer NOT NULL,
        eer double precision NOT NULL,
        false_accept_rate double precision NOT NULL,
        threshold double precision NOT NULL,
        margin double precision NOT NULL,
        max_variance double precision NOT NULL,
        measured_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "ALTER TABLE clusters ADD speaker_margin double precision",
    """
    ALTER TABLE utterances
        ADD speaker_id bigint REFERENCES speakers ON DELETE SET NULL,
        ADD speaker_score double precision,
        ADD speaker_margin double precision,
        ADD suspicions text[] NOT NULL DEFAULT '{}'
    """,
    "CREATE INDEX utterances_speaker ON utterances (speaker_id) WHERE speaker_id IS NOT NULL",
    """
    CREATE VIEW utterance_speakers AS
    SELECT u.video_id, u.utterance_index, u.cluster, s.speaker_id, s.name, coalesce(s.name, u.cluster) AS label,
           CASE WHEN k.speaker_id IS NULL OR k.speaker_matched
                THEN coalesce(u.speaker_score, k.speaker_score) END AS speaker_score
    FROM utterances u
    JOIN clusters k ON k.video_id = u.video_id AND k.cluster = u.cluster
    LEFT JOIN speakers s ON s.speaker_id = coalesce(k.speaker_id, u.speaker_id)
    """,
    "COMMENT ON COLUMN enrollments.source IS 'Path of the clip as it was given.'",
    "COMMENT ON COLUMN enrollments.speech_s IS 'Seconds of speech in the whole clip.'",
    "COMMENT ON COLUMN enrollments.clip_sha256 IS 'Of the clip: enrolling it again replaces its rows.'",
    "COMMENT ON COLUMN enrollments.start_s IS 'Where in the clip the voice embedding is of.'",
    "COMMENT ON COLUMN enrollments.snr_db IS 'Of the clip; null where it could not be told.'",
    "COMMENT ON TABLE speaker_calibrations IS 'What decides whether a voice is somebody''s; of each model the newest.'",
    "COMMENT ON COLUMN speaker_calibrations.eer IS 'Equal error rate on the labelled clips.'",
    "COMMENT ON COLUMN speaker_calibrations.false_accept_rate IS 'At the threshold.'",
    "COMMENT ON COLUMN speaker_calibrations.threshold IS 'Cosine similarity below which nobody is named.'",
    "COMMENT ON COLUMN speaker_calibrations.margin IS 'How much nearer than the runner-up the nearest voice must be.'",
    "COMMENT ON COLUMN speaker_calibrations.max_variance IS 'Speaker variance above which a cluster mixes voices.'",
    "COMMENT ON COLUMN clusters.speaker_id IS 'Whose voice it is as a whole; null for unknown or a mix of voices.'",
    "COMMENT ON COLUMN clusters.speaker_score IS "
    "'Cosine similarity to the nearest enrolled voice, whether or not it was near enough.'",
    "COMMENT ON COLUMN clusters.speaker_margin IS 'How much nearer it is than the runner-up; null without one.'",
    "COMMENT ON COLUMN utterances.speaker_id IS "
    "'Whose voice it is, where its cluster mixes voices; see the view utterance_speakers for the name of any.'",
    "COMMENT ON COLUMN utterances.speaker_score IS 'As in clusters, of the turn that holds most of it.'",
    "COMMENT ON COLUMN utterances.speaker_margin IS 'As in clusters, of the turn that holds most of it.'",
    "COMMENT ON COLUMN utterances.suspicions IS 'Why the text may be wrong, such as no_speech or repetition.'",
    "COMMENT ON VIEW utterance_speakers IS "
    "'Who says each utterance: its cluster''s speaker, else its own, else unknown.'",
    "COMMENT ON COLUMN utterance_speakers.label IS 'The name, or else the cluster.'",
    "COMMENT ON COLUMN utterance_speakers.speaker_score IS 'Null where the name was given by hand.'",
)


def upgrade() -> None:
    """Add columns, a table and a view; nothing that is there changes."""
    for statement in STATEMENTS:
        op.execute(statement)

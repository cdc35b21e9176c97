"""The archive: channels, videos, who said what and when, embeddings, and what made them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """
    CREATE TABLE channels (
        channel_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        url text NOT NULL UNIQUE,
        title text NOT NULL
    )
    """,
    """
    CREATE TABLE ingest_runs (
        run_id text PRIMARY KEY,
        state text NOT NULL CHECK (state IN ('running', 'success', 'failed')),
        params jsonb NOT NULL DEFAULT '{}',
        counts jsonb NOT NULL DEFAULT '{}',
        started_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz
    )
    """,
    """
    CREATE TABLE videos (
        video_id text PRIMARY KEY,
        channel_id bigint NOT NULL REFERENCES channels,
        source_id text NOT NULL,
        url text NOT NULL,
        title text NOT NULL,
        published_at timestamptz,
        audio_s double precision NOT NULL,
        codec text NOT NULL,
        language text,
        text_config regconfig NOT NULL,
        word_timing text CHECK (word_timing IN ('aligned', 'interpolated')),
        speech_s double precision NOT NULL,
        covered_s double precision NOT NULL,
        ingest_run_id text REFERENCES ingest_runs,
        loaded_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX videos_channel ON videos (channel_id)",
    "CREATE INDEX videos_published_at ON videos (published_at)",
    """
    CREATE TABLE speakers (
        speaker_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE clusters (
        video_id text NOT NULL REFERENCES videos ON DELETE CASCADE,
        cluster text NOT NULL,
        speech_s double precision NOT NULL,
        n_turns integer NOT NULL,
        n_voice_embeddings integer NOT NULL,
        speaker_variance double precision,
        speaker_id bigint REFERENCES speakers ON DELETE SET NULL,
        speaker_score double precision,
        speaker_matched boolean NOT NULL DEFAULT false,
        PRIMARY KEY (video_id, cluster)
    )
    """,
    "CREATE INDEX clusters_speaker ON clusters (speaker_id)",
    """
    CREATE TABLE turns (
        video_id text NOT NULL,
        exclusive boolean NOT NULL,
        turn_index integer NOT NULL,
        start_s double precision NOT NULL,
        end_s double precision NOT NULL CHECK (end_s >= start_s),
        cluster text NOT NULL,
        PRIMARY KEY (video_id, exclusive, turn_index),
        FOREIGN KEY (video_id, cluster) REFERENCES clusters ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE utterances (
        video_id text NOT NULL,
        utterance_index integer NOT NULL,
        cluster text NOT NULL,
        start_s double precision NOT NULL,
        end_s double precision NOT NULL CHECK (end_s >= start_s),
        text text NOT NULL,
        words jsonb NOT NULL,
        PRIMARY KEY (video_id, utterance_index),
        FOREIGN KEY (video_id, cluster) REFERENCES clusters ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE chunks (
        video_id text NOT NULL REFERENCES videos ON DELETE CASCADE,
        chunk_index integer NOT NULL,
        first_utterance integer NOT NULL,
        last_utterance integer NOT NULL CHECK (last_utterance >= first_utterance),
        start_s double precision NOT NULL,
        end_s double precision NOT NULL CHECK (end_s >= start_s),
        clusters text[] NOT NULL,
        n_tokens integer NOT NULL,
        text text NOT NULL,
        text_config regconfig NOT NULL,
        text_search tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector(text_config, text)) STORED,
        PRIMARY KEY (video_id, chunk_index)
    )
    """,
    "CREATE INDEX chunks_text_search ON chunks USING gin (text_search)",
    """
    CREATE TABLE embedding_models (
        model_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('text', 'voice')),
        name text NOT NULL,
        revision text NOT NULL,
        dimension integer NOT NULL CHECK (dimension > 0),
        UNIQUE (kind, name, revision)
    )
    """,
    """
    CREATE TABLE text_embeddings (
        video_id text NOT NULL,
        chunk_index integer NOT NULL,
        model_id integer NOT NULL REFERENCES embedding_models,
        embedding vector NOT NULL,
        PRIMARY KEY (video_id, chunk_index, model_id),
        FOREIGN KEY (video_id, chunk_index) REFERENCES chunks ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE cluster_voice_embeddings (
        video_id text NOT NULL,
        cluster text NOT NULL,
        model_id integer NOT NULL REFERENCES embedding_models,
        embedding vector NOT NULL,
        PRIMARY KEY (video_id, cluster, model_id),
        FOREIGN KEY (video_id, cluster) REFERENCES clusters ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE turn_voice_embeddings (
        video_id text NOT NULL,
        embedded_turn_index integer NOT NULL,
        cluster text NOT NULL,
        start_s double precision NOT NULL,
        end_s double precision NOT NULL CHECK (end_s >= start_s),
        model_id integer NOT NULL REFERENCES embedding_models,
        embedding vector NOT NULL,
        PRIMARY KEY (video_id, embedded_turn_index, model_id),
        FOREIGN KEY (video_id, cluster) REFERENCES clusters ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE enrollments (
        enrollment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        speaker_id bigint NOT NULL REFERENCES speakers ON DELETE CASCADE,
        source text NOT NULL,
        speech_s double precision NOT NULL,
        model_id integer NOT NULL REFERENCES embedding_models,
        embedding vector NOT NULL,
        enrolled_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (speaker_id, source, model_id)
    )
    """,
    """
    CREATE TABLE stage_runs (
        video_id text NOT NULL REFERENCES videos ON DELETE CASCADE,
        stage text NOT NULL,
        fingerprint text NOT NULL,
        profile text NOT NULL,
        engine text NOT NULL,
        model text NOT NULL,
        revision text NOT NULL,
        parameters jsonb NOT NULL,
        device_requested text NOT NULL,
        device_used text NOT NULL,
        empty boolean NOT NULL,
        audio_s double precision NOT NULL,
        total_s double precision NOT NULL,
        processing_s jsonb NOT NULL,
        peak_memory_bytes bigint NOT NULL,
        metrics jsonb NOT NULL,
        channelscribe_version text NOT NULL,
        finished_at timestamptz NOT NULL,
        PRIMARY KEY (video_id, stage)
    )
    """,
    "COMMENT ON TABLE channels IS 'What is polled; natural key: its URL.'",
    "COMMENT ON TABLE ingest_runs IS 'Runs of the DAG that loaded or tried to load videos.'",
    "COMMENT ON TABLE videos IS 'One item of a channel. A row is seen only when all of the video is loaded.'",
    "COMMENT ON COLUMN videos.text_config IS 'Text search configuration of the language: how its words are stemmed.'",
    "COMMENT ON COLUMN videos.speech_s IS 'Seconds of speech that diarization found.'",
    "COMMENT ON COLUMN videos.covered_s IS 'Seconds of that speech which got text.'",
    "COMMENT ON COLUMN videos.ingest_run_id IS 'The run that last changed the video.'",
    "COMMENT ON COLUMN videos.loaded_at IS 'When the video or anything below it last changed.'",
    "COMMENT ON TABLE speakers IS 'Identities across videos.'",
    "COMMENT ON TABLE clusters IS 'Speakers within one video, meaningless outside it.'",
    "COMMENT ON COLUMN clusters.speaker_matched IS "
    "'True where matching chose speaker_id; a speaker_id without it was given by hand and is kept by every load.'",
    "COMMENT ON TABLE turns IS 'One-speaker spans: those that may overlap, and the exclusive ones that never do.'",
    "COMMENT ON TABLE utterances IS 'What people read: consecutive words of one cluster.'",
    "COMMENT ON COLUMN utterances.words IS 'Array of {text, start_s, end_s, probability}.'",
    "COMMENT ON TABLE chunks IS 'What is searched: one or more utterances, or a part of a very long one.'",
    "COMMENT ON TABLE embedding_models IS 'Models whose vectors are here; each has its own HNSW indexes.'",
    "COMMENT ON TABLE text_embeddings IS 'L2-normalised vectors of chunks.'",
    "COMMENT ON TABLE cluster_voice_embeddings IS 'L2-normalised mean voice of a cluster.'",
    "COMMENT ON TABLE turn_voice_embeddings IS 'L2-normalised voice of a turn.'",
    "COMMENT ON TABLE enrollments IS 'Reference audio of known speakers and their voice embeddings.'",
    "COMMENT ON TABLE stage_runs IS 'What made the present content: model, device, time and memory of every stage.'",
    "COMMENT ON COLUMN stage_runs.total_s IS 'Start of the program, imports, loading the model, and the work.'",
)


def upgrade() -> None:
    """Make the tables; vector indexes are made when a model is first registered (see ``store.models``)."""
    for statement in STATEMENTS:
        op.execute(statement)

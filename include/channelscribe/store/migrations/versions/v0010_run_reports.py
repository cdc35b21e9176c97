"""The reports of runs: what they did, and where their time went, whatever becomes of the workspace."""

from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE ingest_runs
        ADD COLUMN profile text,
        ADD COLUMN summary text,
        ADD COLUMN attempt_at timestamptz,
        ADD COLUMN earlier_s double precision,
        ADD COLUMN elapsed_s double precision,
        ADD COLUMN audio_s double precision,
        ADD COLUMN gpu_busy_share double precision,
        ADD COLUMN energy_wh double precision,
        ADD COLUMN skipped jsonb NOT NULL DEFAULT '{}',
        ADD COLUMN failed_channels jsonb NOT NULL DEFAULT '{}',
        ADD COLUMN failed_discovery text
    """,
    "CREATE INDEX ingest_runs_started_at ON ingest_runs (started_at)",
    "COMMENT ON COLUMN ingest_runs.started_at IS 'When it chose its videos, the first time.'",
    "COMMENT ON COLUMN ingest_runs.profile IS 'Name of its profile; null of runs before reports were kept.'",
    "COMMENT ON COLUMN ingest_runs.summary IS 'What it did, in one line.'",
    "COMMENT ON COLUMN ingest_runs.attempt_at IS 'When its latest attempt began; clearing tasks later begins another.'",
    "COMMENT ON COLUMN ingest_runs.earlier_s IS 'Of elapsed_s, what its attempts before that took.'",
    "COMMENT ON COLUMN ingest_runs.elapsed_s IS 'Seconds that Airflow had it at work, all attempts together.'",
    "COMMENT ON COLUMN ingest_runs.audio_s IS 'Seconds of audio in the videos that a stage worked on.'",
    "COMMENT ON COLUMN ingest_runs.gpu_busy_share IS "
    "'Share of the time from the first GPU sample to the last in which the GPU was busy.'",
    "COMMENT ON COLUMN ingest_runs.energy_wh IS 'Watt-hours that the GPU drew while stages were at work on it.'",
    "COMMENT ON COLUMN ingest_runs.skipped IS 'Object of why items were not taken to how many.'",
    "COMMENT ON COLUMN ingest_runs.failed_channels IS 'Object of channel to why it could not be polled.'",
    """
    CREATE TABLE run_stages (
        run_id text NOT NULL REFERENCES ingest_runs ON DELETE CASCADE,
        stage text NOT NULL,
        n_videos integer NOT NULL,
        audio_s double precision NOT NULL,
        container_s double precision NOT NULL,
        start_s double precision NOT NULL,
        import_s double precision NOT NULL,
        load_s double precision NOT NULL,
        work_s double precision NOT NULL,
        n_texts integer NOT NULL,
        n_tokens bigint NOT NULL,
        embedding_s double precision NOT NULL,
        n_gpu_videos integer,
        gpu_busy_share double precision,
        sm_percent double precision[],
        vram_percent double precision[],
        temperature_c double precision[],
        power_w double precision[],
        energy_wh double precision,
        gpu_unavailable text[],
        PRIMARY KEY (run_id, stage)
    )
    """,
    "COMMENT ON TABLE run_stages IS "
    "'What each stage spent in a run, load among them; RTFx is audio_s by the sum of the five times.'",
    "COMMENT ON COLUMN run_stages.n_videos IS 'Videos that it worked on: not those whose artifact was there already.'",
    "COMMENT ON COLUMN run_stages.container_s IS 'Until the programs began, where containers were made for them.'",
    "COMMENT ON COLUMN run_stages.start_s IS 'Until the programs ran their first line.'",
    "COMMENT ON COLUMN run_stages.import_s IS 'Importing the engine.'",
    "COMMENT ON COLUMN run_stages.load_s IS 'Loading the model.'",
    "COMMENT ON COLUMN run_stages.work_s IS 'On the videos themselves.'",
    "COMMENT ON COLUMN run_stages.embedding_s IS 'Seconds that embedding the texts took, which is what texts/s is of.'",
    "COMMENT ON COLUMN run_stages.n_gpu_videos IS 'Videos with samples; null where no GPU was asked for.'",
    "COMMENT ON COLUMN run_stages.sm_percent IS 'Lowest, median and highest sample, as of the next three.'",
    "COMMENT ON COLUMN run_stages.gpu_unavailable IS 'Why other videos have no samples.'",
    """
    CREATE TABLE run_videos (
        run_id text NOT NULL REFERENCES ingest_runs ON DELETE CASCADE,
        video_id text NOT NULL,
        place integer NOT NULL,
        title text NOT NULL,
        map_index integer NOT NULL,
        audio_s double precision,
        without_speech boolean NOT NULL,
        failed_stage text,
        reason text,
        download_s double precision,
        diarization_s double precision,
        transcription_s double precision,
        speaker_variance_s double precision,
        identification_s double precision,
        text_embedding_s double precision,
        loading_s double precision,
        container_s double precision,
        start_up_s double precision,
        waiting_s double precision,
        PRIMARY KEY (run_id, video_id)
    )
    """,
    "CREATE INDEX run_videos_video ON run_videos (video_id)",
    "COMMENT ON TABLE run_videos IS "
    "'The videos that a run took on, loaded or not, and where the time of each went. The times do not overlap.'",
    "COMMENT ON COLUMN run_videos.place IS 'Order in the run.'",
    "COMMENT ON COLUMN run_videos.map_index IS 'Which of the mapped tasks worked on it.'",
    "COMMENT ON COLUMN run_videos.failed_stage IS 'Null where it was loaded.'",
    "COMMENT ON COLUMN run_videos.download_s IS 'Null, as in those below, where this run did not do it.'",
    "COMMENT ON COLUMN run_videos.container_s IS 'Until its programs began, where containers were made for them.'",
    "COMMENT ON COLUMN run_videos.start_up_s IS 'Programs, imports and models; the first of a batch carries them.'",
    "COMMENT ON COLUMN run_videos.waiting_s IS 'All the time in which nothing was done for it.'",
    """
    CREATE TABLE run_gpu_samples (
        run_id text NOT NULL REFERENCES ingest_runs ON DELETE CASCADE,
        at_s double precision NOT NULL,
        span_s double precision NOT NULL,
        sm_percent double precision,
        vram_percent double precision,
        temperature_c double precision,
        power_w double precision,
        PRIMARY KEY (run_id, at_s)
    )
    """,
    "COMMENT ON TABLE run_gpu_samples IS 'What the GPU did during a run, in up to 200 samples; see GpuSample.'",
    "COMMENT ON COLUMN run_gpu_samples.at_s IS 'End of the sample, in seconds since the run chose its videos.'",
)


def upgrade() -> None:
    """Add the tables. Runs before have their counts alone."""
    for statement in STATEMENTS:
        op.execute(statement)

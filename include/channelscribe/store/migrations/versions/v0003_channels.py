"""Channels that are followed, with their options; all that their polls listed, and what can be had of it."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE channels
        ADD followed boolean NOT NULL DEFAULT false,
        ADD paused boolean NOT NULL DEFAULT false,
        ADD in_file boolean NOT NULL DEFAULT false,
        ADD options jsonb NOT NULL DEFAULT '{}',
        ADD added_at timestamptz NOT NULL DEFAULT now(),
        ADD polled_at timestamptz,
        ADD polled_to_end boolean NOT NULL DEFAULT false,
        ADD n_refusals integer NOT NULL DEFAULT 0,
        ADD poll_failure text,
        ADD poll_not_before timestamptz
    """,
    """
    CREATE TABLE listed_videos (
        video_id text PRIMARY KEY,
        source_id text NOT NULL,
        url text NOT NULL,
        title text NOT NULL,
        published_at timestamptz,
        duration_s double precision,
        kind text NOT NULL CHECK (kind IN ('video', 'short', 'recording')),
        availability text NOT NULL CHECK (availability IN (
            'public', 'upcoming', 'live', 'private', 'members_only', 'removed', 'age_restricted', 'geo_restricted',
            'unusable'
        )),
        reason text,
        recheck_at timestamptz,
        date_asked boolean NOT NULL DEFAULT false,
        listed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX listed_videos_recheck ON listed_videos (recheck_at) WHERE recheck_at IS NOT NULL",
    """
    CREATE TABLE channel_items (
        channel_id bigint NOT NULL REFERENCES channels ON DELETE CASCADE,
        video_id text NOT NULL REFERENCES listed_videos ON DELETE CASCADE,
        place bigint NOT NULL,
        PRIMARY KEY (channel_id, video_id),
        UNIQUE (channel_id, place)
    )
    """,
    "CREATE INDEX channel_items_video ON channel_items (video_id)",
    """
    CREATE TABLE availability_changes (
        video_id text NOT NULL REFERENCES listed_videos ON DELETE CASCADE,
        seen_at timestamptz NOT NULL,
        availability text NOT NULL,
        PRIMARY KEY (video_id, seen_at)
    )
    """,
    "COMMENT ON TABLE channels IS 'What is or was polled; natural key: its URL.'",
    "COMMENT ON COLUMN channels.followed IS 'Polled by the daily run, unless paused. Others were polled by hand.'",
    "COMMENT ON COLUMN channels.in_file IS 'It stands in channels.yaml, which says what its options are.'",
    "COMMENT ON COLUMN channels.options IS 'ChannelOptions that differ from the defaults.'",
    "COMMENT ON COLUMN channels.polled_to_end IS 'Its listing was read to the end once: later polls read what is new.'",
    "COMMENT ON COLUMN channels.n_refusals IS 'Times in a row that the site asked for patience.'",
    "COMMENT ON COLUMN channels.poll_not_before IS 'The site asked for patience: no poll asks it before.'",
    "COMMENT ON TABLE listed_videos IS 'All items that polls have listed, loaded or not.'",
    "COMMENT ON COLUMN listed_videos.date_asked IS 'The site was asked for the date that its listing did not give.'",
    "COMMENT ON TABLE channel_items IS 'Which channels list an item: it may be in several.'",
    "COMMENT ON COLUMN channel_items.place IS 'Order in the channel: the newest has the greatest.'",
    "COMMENT ON COLUMN listed_videos.availability IS 'Whether it can be fetched, as the site said last.'",
    "COMMENT ON COLUMN listed_videos.recheck_at IS 'When the site is asked again for it; null: not of itself.'",
    "COMMENT ON TABLE availability_changes IS 'What the site said of an item, each time that it was something else.'",
)


def upgrade() -> None:
    """Add columns and tables. Channels of before are not followed: the setting CHANNELSCRIBE_CHANNELS named them."""
    for statement in STATEMENTS:
        op.execute(statement)

"""Migrations on the real server."""

import subprocess
import sys

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from channelscribe.channels.source import normalise_channel
from channelscribe.errors import MisconfiguredError
from channelscribe.store.connection import connect, open_connection
from channelscribe.store.migrate import _config, _engine_connection, pending, upgrade

# A video as the first version held it, with one name given by hand.
FIRST_VERSION = """
INSERT INTO channels (url, title) VALUES ('https://example.org/feed', 'Feed');
INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, covered_s)
VALUES ('v1', 1, 'v1', 'https://example.org/a.mp3', 'A tale', 60, 'mp3', 'english', 5, 5);
INSERT INTO speakers (name) VALUES ('Ada');
INSERT INTO clusters (video_id, cluster, speech_s, n_turns, n_voice_embeddings, speaker_id)
VALUES ('v1', 'SPEAKER_00', 5, 1, 0, 1), ('v1', 'SPEAKER_01', 5, 1, 0, NULL);
INSERT INTO utterances (video_id, utterance_index, cluster, start_s, end_s, text, words)
VALUES ('v1', 0, 'SPEAKER_00', 0, 1, 'hope', '[]'), ('v1', 1, 'SPEAKER_01', 2, 3, 'despair', '[]');
"""
# Channels as versions before 0012 named them: 1, 2 and 5 are one, 3 and 4 another.
OLD_NAMES = """
INSERT INTO channels (url, title, followed, paused, in_file, options, polled_at, polled_to_end, poll_not_before) VALUES
('https://www.youtube.com/@Made/videos', 'Made', true, true, false, '{"limit": 3}', '2026-01-01', true, '2026-03-01'),
('https://www.youtube.com/@made/videos', 'Made', true, false, false, '{"limit": 7}', '2026-02-01', true, NULL),
('http://m.youtube.com/@Other?si=x', 'http://m.youtube.com/@Other?si=x', false, false, false, '{}', NULL, false, NULL),
('https://www.youtube.com/@other/videos', 'Other', true, false, true, '{"shorts": true}', NULL, false, NULL),
('https://youtube.com/@MADE/videos', 'Made', false, false, false, '{}', '2025-01-01', true, NULL),
('https://youtube.com/channel/UCaA/streams/', 'Alone', true, false, false, '{}', NULL, false, NULL),
('https://example.org/@Made/videos/', 'Elsewhere', true, false, false, '{}', NULL, false, NULL);
INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability)
SELECT id, id, id, id, 'video', 'public' FROM unnest('{a,b,c,d,e}'::text[]) AS id;
INSERT INTO channel_items (channel_id, video_id, place) VALUES
(1, 'b', 1), (1, 'a', 2), (1, 'c', 3), (2, 'c', 1), (2, 'd', 2), (5, 'e', 1), (5, 'd', 2), (7, 'a', 1);
INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, covered_s)
SELECT 'v' || id, id, '', '', '', 1, '', 'simple', 0, 0 FROM generate_series(1, 7) AS id;
"""


def upgrade_to(revision, dsn):
    with _engine_connection(dsn) as engine:
        config = _config()
        config.attributes["connection"] = engine
        command.upgrade(config, revision)


def test_upgrade_brings_an_empty_database_up_to_date_once(empty_dsn):
    missing = pending(empty_dsn)
    assert missing
    assert upgrade(empty_dsn) == missing
    assert pending(empty_dsn) == []
    assert upgrade(empty_dsn) == []


def test_an_archive_that_was_never_migrated_says_so(empty_dsn):
    with pytest.raises(MisconfiguredError, match="channelscribe migrate"):
        connect(empty_dsn)


def test_two_migrators_at_once_do_not_collide(empty_dsn):
    program = "import sys; from channelscribe.store.migrate import upgrade; upgrade(sys.argv[1])"
    migrators = [subprocess.Popen([sys.executable, "-c", program, empty_dsn]) for _ in range(2)]
    assert [migrator.wait(60) for migrator in migrators] == [0, 0]
    assert pending(empty_dsn) == []


def test_an_archive_of_a_newer_version_is_refused(archive_dsn):
    with open_connection(archive_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MisconfiguredError, match=r"9999.*upgrade channelscribe"):
        pending(archive_dsn)


def test_a_failing_migration_leaves_nothing(empty_dsn):
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE stage_runs ()")
    with pytest.raises(Exception, match="stage_runs"):
        upgrade(empty_dsn)
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
        assert cursor.fetchone() == (1,)


def test_an_archive_of_the_first_version_keeps_what_it_holds(empty_dsn):
    upgrade_to("0001", empty_dsn)
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(FIRST_VERSION)
    assert upgrade(empty_dsn) == ["0002", "0003", "0004", "0005", "0007", "0008", "0010", "0011", "0012"]
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT utterance_index, text, suspicions, speaker_id FROM utterances ORDER BY 1")
        assert cursor.fetchall() == [(0, "hope", [], None), (1, "despair", [], None)]
        cursor.execute("SELECT utterance_index, label FROM utterance_speakers ORDER BY 1")
        assert cursor.fetchall() == [(0, "Ada"), (1, "SPEAKER_01")]


def test_channels_with_an_old_name_get_the_one_that_commands_go_by(empty_dsn):
    upgrade_to("0011", empty_dsn)
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(OLD_NAMES)
    upgrade(empty_dsn)
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT channel_id, url, title, followed, paused, in_file, options, polled_to_end, polled_at::date::text, "
            "poll_not_before IS NOT NULL FROM channels ORDER BY 1"
        )
        youtube = "https://www.youtube.com"
        assert cursor.fetchall() == [
            (1, f"{youtube}/@made/videos", "Made", True, True, False, {"limit": 3}, True, "2026-02-01", True),
            (3, f"{youtube}/@other/videos", "Other", True, False, True, {"shorts": True}, False, None, False),
            (6, f"{youtube}/channel/UCaA/streams", "Alone", True, False, False, {}, False, None, False),
            (7, "https://example.org/@Made/videos/", "Elsewhere", True, False, False, {}, False, None, False),
        ]
        # The order of the newest poll, then what the older ones alone have, each item once.
        cursor.execute("SELECT channel_id, array_agg(video_id ORDER BY place DESC) FROM channel_items GROUP BY 1")
        assert dict(cursor.fetchall()) == {1: ["d", "c", "a", "b", "e"], 7: ["a"]}
        cursor.execute("SELECT channel_id, array_agg(video_id ORDER BY video_id) FROM videos GROUP BY 1")
        assert dict(cursor.fetchall()) == {1: ["v1", "v2", "v5"], 3: ["v3", "v4"], 6: ["v6"], 7: ["v7"]}


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/@Made/videos",
        "http://m.youtube.com/@Made/videos/?si=x",
        "https://youtube.com/@caf%C3%A9",
        "https://www.youtube.com/c/Made/featured/",
        "https://www.youtube.com/@made/search?query=Ada",
        "https://www.youtube.com/playlist?si=x&list=PLaaaaaaaaaa",
        "https://m.youtube.com/watch?v=abc",
        "https://youtube.com/",
        "https://example.org/@Made/videos/?si=x",
    ],
)
def test_a_migrated_name_is_that_of_the_commands(url):
    migration = ScriptDirectory.from_config(_config()).get_revision("0012").module
    assert migration._name(url) == normalise_channel(url)

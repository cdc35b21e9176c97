"""Migrations on the real server."""

import subprocess
import sys

import pytest
from alembic import command

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
    with _engine_connection(empty_dsn) as engine:
        config = _config()
        config.attributes["connection"] = engine
        command.upgrade(config, "0001")
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(FIRST_VERSION)
    assert upgrade(empty_dsn) == ["0002", "0003", "0004", "0005", "0007", "0008", "0010", "0011"]
    with open_connection(empty_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT utterance_index, text, suspicions, speaker_id FROM utterances ORDER BY 1")
        assert cursor.fetchall() == [(0, "hope", [], None), (1, "despair", [], None)]
        cursor.execute("SELECT utterance_index, label FROM utterance_speakers ORDER BY 1")
        assert cursor.fetchall() == [(0, "Ada"), (1, "SPEAKER_01")]

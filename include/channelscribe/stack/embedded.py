"""The whole stack: Postgres, Airflow, the embedder and the demo channel, started, looked at and stopped together."""

import fcntl
import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
from psycopg2.extensions import parse_dsn

from channelscribe.airflow_settings import SETTINGS_FILE
from channelscribe.channels.options import CHANNELS_FILE
from channelscribe.errors import ChannelscribeError, MisconfiguredError, TryAgainError
from channelscribe.settings import PROJECT_ROOT, Settings
from channelscribe.stack.airflow_api import AirflowApi
from channelscribe.stack.demo_channel import recording_paths
from channelscribe.stack.environment import USER, airflow_environment, base_url, read_secrets, stack_environment
from channelscribe.stack.ports import require_free
from channelscribe.stack.postgres import EmbeddedPostgres
from channelscribe.stack.processes import MARKER, is_alive, spawn, stop_processes
from channelscribe.store.channel_commands import follow_file
from channelscribe.store.connection import archive_dsn, connect

DAG_ID = "channel_ingest"
START_TIMEOUT_S = 180
DEMO_CHANNEL = "demo-channel"
EMBEDDER = "embedder"
SCHEDULER = "scheduler"
# Without servers for their logs, which would listen on all addresses: the API server reads the files.
COMPONENTS = {
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    # Last, once the API server answers: tasks that a killed stack left would start at once, and fail without it.
    SCHEDULER: ("scheduler", "--skip-serve-logs"),
}

logger = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """What is written down of a started stack.

    Args:
        pids: process id by component.
        port: port of Airflow's UI and API.
        demo_port: port of the demo channel.
        owner: process that stops the stack when it ends itself, or None if it runs in the background.
        owner_created: when that process began, since ids are used again.
    """

    pids: dict[str, int]
    port: int
    demo_port: int
    owner: int | None
    owner_created: float | None


class Stack:
    """The stack below one home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.logs = settings.home / "logs"
        self.postgres = EmbeddedPostgres(settings.postgres_dir, self.logs / "postgres.log")

    @property
    def record(self) -> Record | None:
        """What was started last and not stopped since."""
        try:
            return Record(**json.loads(self._record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def is_up(self) -> bool:
        """Whether all of Airflow's processes and Postgres run, and whoever must stop them is still there."""
        record = self.record
        return record is not None and not self.missing() and not is_orphaned(record) and self.postgres.is_running

    def dead(self) -> list[str]:
        """The components that were started and have ended since."""
        record = self.record
        return [name for name, pid in record.pids.items() if not is_alive(pid, self.home)] if record else []

    def missing(self) -> list[str]:
        """Those of the dead that are needed. Searches do without the embedder, if more slowly."""
        return [name for name in self.dead() if name != EMBEDDER]

    def api(self) -> AirflowApi:
        """A client of the running Airflow."""
        record = self.record
        port = record.port if record else self.settings.port
        url = base_url(self.settings.model_copy(update={"port": port}))
        return AirflowApi(url, USER, read_secrets(self.home).password)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one command at a time start or stop things.

        Raises:
            MisconfiguredError: another one is at it.
        """
        path = self.home / "run" / "stack.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for _ in range(30):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(1)
            else:
                raise MisconfiguredError("Another command is starting or stopping the stack: wait for it to end.")
            yield

    def start(self, say: Say, channels: str, *, owned: bool) -> None:
        """Start everything and wait until Airflow can take a run. What a killed stack left is stopped first.

        Args:
            say: told what is going on.
            channels: the channels that the daily run polls.
            owned: whether this process stops the stack when it ends.

        Raises:
            MisconfiguredError: a port is taken, or a part does not start.
            TryAgainError: it took too long, or the disk is full.
        """
        # Here, not above: Alembic and SQLAlchemy take 1 s, and every command would wait for them.
        from channelscribe.store.migrate import upgrade

        leftovers = stop_processes(self.home)
        if leftovers:
            say(f"Stopped {leftovers} processes that an earlier run left behind.")
        self._record_file.unlink(missing_ok=True)
        require_free(self.settings.port, "Airflow", "PORT")
        settings = self.settings.model_copy(update={"runtime": self._runtime(say)})
        say("Starting Postgres.")
        self.postgres.start()
        environment = airflow_environment(settings, channels, parse_dsn(self.postgres.dsn("airflow")))
        upgrade(archive_dsn(self.settings))
        self.sync_channels(say)
        self._prepare_airflow(environment, say)
        say("Starting Airflow.")
        owner = psutil.Process() if owned else None
        record = Record({}, self.settings.port, self.settings.demo_port, owner.pid if owner else None,
                        owner.create_time() if owner else None)  # fmt: skip
        for name, arguments in COMPONENTS.items():
            if name == SCHEDULER:
                self._wait_until(lambda api: "api-server" not in api.unhealthy(), "its API server does not answer")
            record.pids[name] = self._spawn(name, [*self._python, "-m", "airflow", *arguments], environment)
            self._write_record(record)
        self.start_embedder(say)
        self._wait_until(lambda api: not api.unhealthy(), "a part of it is not well")
        self._wait_until(lambda api: api.has_dag(DAG_ID), f"the DAG {DAG_ID} is not there")

    def start_demo_channel(self) -> None:
        """Serve the demo channel, if it isn't served yet.

        Raises:
            MisconfiguredError: the port is taken, or the recordings are missing.
        """
        record = self.record
        if record is None or (DEMO_CHANNEL in record.pids and DEMO_CHANNEL not in self.dead()):
            return
        recording_paths(self.settings.stages_interpreter)
        require_free(self.settings.demo_port, "the demo channel", "DEMO_PORT")
        command = [*self._python, "-m", "channelscribe.stack.demo_channel"]
        environment = stack_environment(self.settings, "")
        record.pids[DEMO_CHANNEL] = self._spawn(DEMO_CHANNEL, command, environment)
        self._write_record(record)

    def start_embedder(self, say: Say) -> None:
        """Start the server that embeds the words of searches, if it doesn't run."""
        record = self.record
        if record is None or (EMBEDDER in record.pids and EMBEDDER not in self.dead()):
            return
        options = {
            "--idle-s": str(self.settings.embedder_idle_s),
            "--folder": str(self.settings.embedder_socket.parent),
        }
        command = [str(self.settings.stages_interpreter), "-m", "channelscribe.models.embedder_server"]
        command += [part for option in options.items() for part in option]
        try:
            record.pids[EMBEDDER] = self._spawn(EMBEDDER, command, stack_environment(self.settings, ""))
        except OSError as error:
            say(f"Searches will be slow, as their embedder can't be started ({command[0]}: {error.strerror}).")
            return
        self._write_record(record)

    def stop(self) -> int:
        """Stop everything.

        Returns:
            How many processes of Airflow and its tasks there were.
        """
        count = stop_processes(self.home)
        self._remove_containers()
        self.postgres.stop()
        self._record_file.unlink(missing_ok=True)
        return count

    def last_words(self, component: str) -> str:
        """The last line of a component's log."""
        try:
            lines = (self.logs / f"{component}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")

    def _runtime(self, say: Say) -> str:
        """What runs the stages: settled here for all of Airflow's processes, so that none has to ask the engine."""
        # Here, not above: docker-py is in Airflow's environment alone, and every command would wait for it.
        from channelscribe.stack.engine import stages_image_id

        if stages_image_id(self.settings, say) is None:
            return "process"
        say(f"Stages run in containers of {self.settings.stages_image}.")
        return "docker"

    def _remove_containers(self) -> None:
        """Remove the containers of tasks that were stopped too fast to do it. An engine that is gone runs none."""
        from docker.errors import APIError

        from channelscribe.stack import containers
        from channelscribe.stack.engine import REMOVAL_TIMEOUT_S, docker_client

        with suppress(ChannelscribeError), docker_client(REMOVAL_TIMEOUT_S) as client:
            for container_id in containers.of_installation(client, self.settings.data_dir):
                try:
                    containers.remove(client, container_id)
                except APIError as error:
                    logger.warning("Container %s could not be removed: %s", container_id[:12], error)

    @property
    def _record_file(self) -> Path:
        return self.home / "run" / "stack.json"

    def _write_record(self, record: Record) -> None:
        temporary = self._record_file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        temporary.replace(self._record_file)

    @property
    def _python(self) -> list[str]:
        if find_spec("airflow") is None:
            raise MisconfiguredError(f"Airflow is not in this environment ({sys.prefix}): call bin/channelscribe.")
        return [sys.executable]

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        log_file = self.logs / f"{name}.log"
        if log_file.exists():
            log_file.replace(log_file.with_suffix(".log.1"))
        return spawn(command, environment, self.home, log_file).pid

    def sync_channels(self, say: Say) -> None:
        """Follow the channels of channels.yaml, where there is one; the archive must be up.

        Raises:
            BadInputError: it is not right.
        """
        if CHANNELS_FILE.is_file():
            with closing(connect(archive_dsn(self.settings))) as connection:
                say(follow_file(connection, CHANNELS_FILE))

    def _prepare_airflow(self, environment: dict[str, str], say: Say) -> None:
        """Migrate the metadata database and apply airflow_settings.yaml, each only where it is due."""
        release = version("apache-airflow-core")
        settings = hashlib.sha256(SETTINGS_FILE.read_bytes()).hexdigest()
        done = self._prepared()
        if done.get("airflow") != release:
            say("Migrating Airflow's database.")
            self._airflow_program(["airflow", "db", "migrate"], environment)
            done = {"airflow": release}
            self._remember(done)
        if done.get("settings") != settings:
            say(f"Applying {SETTINGS_FILE.name}.")
            environment = {**environment, "PYTHONPATH": str(PROJECT_ROOT / "plugins")}
            self._airflow_program(["channelscribe_airflow.apply_settings", str(SETTINGS_FILE)], environment)
            self._remember({**done, "settings": settings})

    def _airflow_program(self, module: list[str], environment: dict[str, str]) -> None:
        command = [*self._python, "-m", *module]
        log_file = self.logs / "prepare.log"
        with log_file.open("ab") as log:
            code = subprocess.run(
                command, env={**environment, MARKER: str(self.home)}, stdout=log, stderr=log, cwd=self.home
            ).returncode
        if code:
            raise MisconfiguredError(
                f"`{' '.join(module[:3])}` failed: {self.last_words('prepare')} The whole story is in {log_file}."
            )

    def _prepared(self) -> dict[str, str]:
        """What was done to the metadata database; kept in it, so that both are there or neither."""
        with closing(psycopg2.connect(self.postgres.dsn("airflow"))) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
            )
            row = cursor.fetchone()
        try:
            return dict(json.loads(row[0])) if row and row[0] else {}
        except ValueError:
            return {}

    def _remember(self, done: dict[str, str]) -> None:
        with closing(psycopg2.connect(self.postgres.dsn("airflow"))) as connection, connection:
            connection.cursor().execute("COMMENT ON DATABASE airflow IS %s", (json.dumps(done),))

    def _wait_until(self, condition: Callable[[AirflowApi], bool], otherwise: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with self.api() as api:
            while not condition(api):
                for name in self.missing():
                    raise MisconfiguredError(
                        f"Airflow's {name} ended: {self.last_words(name)} See {self.logs / name}.log."
                    )
                if time.monotonic() > deadline:
                    raise TryAgainError(
                        f"Airflow is not ready after {START_TIMEOUT_S} s, {otherwise}: see {self.logs}."
                    )
                time.sleep(0.3)


def is_orphaned(record: Record) -> bool:
    """Whether the process that should have stopped the stack was killed."""
    if record.owner is None:
        return False
    try:
        return abs(psutil.Process(record.owner).create_time() - (record.owner_created or 0)) > 1
    except psutil.NoSuchProcess:
        return True

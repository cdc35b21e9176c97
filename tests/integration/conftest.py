"""The main job, run for real: the stack, Airflow, yt-dlp, the models and the archive, below a folder of its own.

Once with the stages as child processes, and once as containers of the stages' image.
"""

import json
import os
import runpy
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from channelscribe.code_digest import code_digest
from channelscribe.contracts import Manifest
from channelscribe.profiles import BUNDLED
from channelscribe.settings import get_settings
from channelscribe.stack.airflow_api import AirflowApi
from channelscribe.stack.environment import USER, read_secrets
from channelscribe.stack.ports import free_port
from channelscribe.workspace import MANIFEST, Workspace, read_contract

unavailable = runpy.run_path(str(Path(__file__).parents[1] / "docker_engine.py"))["unavailable"]


@dataclass(frozen=True)
class RunningStage:
    """A container at work."""

    container: str
    stage: str
    map_index: int


@dataclass
class Watched:
    """The containers that a run had, and the most slots that they held at a time."""

    seen: set[str] = field(default_factory=set)
    most_slots: int = 0


@dataclass(frozen=True)
class MainJob:
    """A running stack and what its commands said; ``watched`` is the first run."""

    home: Path
    environment: dict[str, str]
    watched: Watched | None = None

    @property
    def runtime(self) -> str:
        return self.environment["CHANNELSCRIBE_RUNTIME"]

    @property
    def api(self) -> AirflowApi:
        port = self.environment["CHANNELSCRIBE_PORT"]
        return AirflowApi(f"http://127.0.0.1:{port}", USER, read_secrets(self.home).password)

    def containers(self) -> list[str]:
        """Ids of the containers that there are, running or not."""
        label = f"label=channelscribe.data_root={self.home / 'data'}"
        command = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home / "data")

    def at_work(self, stage: str) -> RunningStage | None:
        """A container of a stage that is at work."""
        found = (_running_stage(container) for container in self.containers())
        return next((running for running in found if running and running.stage == stage), None)

    @contextmanager
    def watching(self) -> Iterator[Watched]:
        """Note every container that begins and ends, as the engine tells it: some live for a second only."""
        watched = Watched()
        command = ["docker", "events", "--format", "{{json .}}"]
        for term in (f"label=channelscribe.data_root={self.home / 'data'}", "event=start", "event=die"):
            command += ["--filter", term]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
            thread = threading.Thread(target=_note, args=(events.stdout, watched))
            thread.start()
            try:
                yield watched
            finally:
                time.sleep(1)  # the last event is on its way
                events.terminate()
                thread.join()

    def call(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Channelscribe without a terminal; returns what it printed."""
        command = [str(self.home / "venv" / "airflow" / "bin" / "channelscribe"), *arguments]
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def search(self, words: str) -> list[dict[str, Any]]:
        return json.loads(self.call("search", words, "--json"))

    def video_id(self, name: str) -> str:
        (folder,) = (self.home / "data" / "videos").glob(f"*{name}*")
        return folder.name

    def manifests(self) -> dict[tuple[str, str], Manifest]:
        """The manifest of each video and stage; there is one of each, or this fails."""
        found: dict[tuple[str, str], Manifest] = {}
        for path in (self.home / "data" / "videos").glob(f"*/*/*/{MANIFEST}"):
            manifest = read_contract(path, Manifest)
            assert (manifest.video_id, manifest.stage) not in found
            found[manifest.video_id, manifest.stage] = manifest
        return found

    def processes(self) -> list[psutil.Process]:
        """All processes that have anything to do with the folder."""
        found = []
        for process in psutil.process_iter():
            try:
                mentions = " ".join([*process.cmdline(), *process.environ().values()])
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if str(self.home) in mentions and process.pid != os.getpid():
                found.append(process)
        return found


def _note(lines: Iterable[str], watched: Watched) -> None:
    at_work: dict[str, int] = {}
    for event in map(json.loads, lines):
        container, labels = event["Actor"]["ID"], event["Actor"]["Attributes"]
        if event["Action"] == "start":
            watched.seen.add(container)
            at_work[container] = BUNDLED.stages[_stage(labels)].memory_gib
        else:
            at_work.pop(container, None)
        watched.most_slots = max(watched.most_slots, sum(at_work.values()))


def _stage(labels: Mapping[str, str]) -> str:
    return labels["channelscribe.task_id"].removeprefix("ingest_video.")


def _running_stage(container: str) -> RunningStage | None:
    done = subprocess.run(["docker", "inspect", container], capture_output=True, text=True)
    (about,) = json.loads(done.stdout or "[]") or [None]  # gone since it was listed
    if about is None or not about["State"]["Running"]:
        return None
    labels = about["Config"]["Labels"]
    return RunningStage(container, _stage(labels), int(labels["channelscribe.map_index"]))


def _require_image() -> None:
    image, label = get_settings().stages_image, '{{index .Config.Labels "channelscribe.code"}}'
    try:
        done = subprocess.run(["docker", "image", "inspect", "--format", label, image], capture_output=True, text=True)
    except FileNotFoundError:
        unavailable("Docker is not installed")
    if done.returncode:
        unavailable(f"no engine, or no image {image}: {done.stderr.strip()}")
    if done.stdout.strip() != code_digest():
        unavailable(f"the image {image} was built of other code: `make images` builds it anew")


@contextmanager
def _stack(runtime: str, **settings: str) -> Iterator[MainJob]:
    """A running stack below a folder of its own, removed with the folder in the end."""
    # Not below pytest's own folder, which other users may not enter: root's Postgres runs as one of them.
    home = Path(tempfile.mkdtemp(prefix="channelscribe-e2e-"))
    home.chmod(0o755)
    (home / "venv").symlink_to(get_settings().home / "venv")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHANNELSCRIBE_")},
        "CHANNELSCRIBE_HOME": str(home),
        "CHANNELSCRIBE_PORT": str(free_port()),
        "CHANNELSCRIBE_DEMO_PORT": str(free_port()),
        "CHANNELSCRIBE_RUNTIME": runtime,
        "CHANNELSCRIBE_STAGES_IMAGE": get_settings().stages_image,
        "COLUMNS": "200",
        "CHANNELSCRIBE_SCHEDULE": "0 0 29 2 *",  # no run but those that a test asks for
        **{f"CHANNELSCRIBE_{name.upper()}": value for name, value in settings.items()},
    }
    job = MainJob(home, environment)
    try:
        job.call("up")
        yield job
    finally:
        job.call("down", check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session", params=["process", "docker"])
def main_job(request: pytest.FixtureRequest) -> Iterator[MainJob]:
    """The stack, after one run over the demo channel."""
    if request.param == "docker":
        _require_image()
    with _stack(request.param) as job:
        with job.watching() if job.runtime == "docker" else nullcontext() as watched:
            print(job.call("demo"))  # shown by pytest if a test fails
        yield replace(job, watched=watched)


@pytest.fixture
def alerting_job() -> Iterator[MainJob]:
    """A stack that tells the target `hook` of stages and runs that are late after a few minutes."""
    settings = {"alert_targets": "hook", "alert_run_minutes": "2", "alert_slow_factor": "1"}
    with _stack("process", allow_private_addresses="true", **settings) as job:
        yield job


@pytest.fixture
def container_job(main_job: MainJob) -> MainJob:
    """The same, where the stages are containers."""
    if main_job.runtime != "docker":
        pytest.skip("the stages are child processes here")
    return main_job

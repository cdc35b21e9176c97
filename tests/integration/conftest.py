"""The main job, run for real: the stack, Airflow, yt-dlp, the models and the archive, below a folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from channelscribe.contracts import Manifest
from channelscribe.settings import get_settings
from channelscribe.workspace import MANIFEST, Workspace, read_contract


@dataclass(frozen=True)
class MainJob:
    """A running stack and what its commands said."""

    home: Path
    environment: dict[str, str]

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home / "data")

    def call(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Channelscribe without a terminal; returns what it printed."""
        command = [str(self.home / "venv" / "airflow" / "bin" / "channelscribe"), *arguments]
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def main_job() -> Iterator[MainJob]:
    """The stack, after one run over the demo channel."""
    # Not below pytest's own folder, which other users may not enter: root's Postgres runs as one of them.
    home = Path(tempfile.mkdtemp(prefix="channelscribe-e2e-"))
    home.chmod(0o755)
    (home / "venv").symlink_to(get_settings().home / "venv")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHANNELSCRIBE_")},
        "CHANNELSCRIBE_HOME": str(home),
        "CHANNELSCRIBE_PORT": str(_free_port()),
        "CHANNELSCRIBE_DEMO_PORT": str(_free_port()),
        "COLUMNS": "200",
    }
    job = MainJob(home, environment)
    try:
        job.call("up")
        print(job.call("demo"))  # shown by pytest if a test fails
        yield job
    finally:
        job.call("down", check=False)
        shutil.rmtree(home, ignore_errors=True)

"""A real Docker engine for the tests, and an image of a few megabytes whose program does what a test says."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

# Set by .ci/run: without an engine the tests then fail, where elsewhere they are skipped.
REQUIRED = "CHANNELSCRIBE_TEST_DOCKER"

# Stands where the image's Python stands. What it does with the stage's videos is a shell script in the data root. A
# program without videos has a folder in there for its results.
PROGRAM = """#!/bin/sh
stage=${2#channelscribe.stages.}
shift 2
videos=
while [ $# -gt 0 ]; do
  case "$1" in
    --data-root) root=$2; shift 2 ;;
    --profile) shift 2 ;;
    --force) shift ;;
    --out) out=$2; root=${2%/*}; shift 2 ;;
    *) videos="$videos $1"; shift ;;
  esac
done
# Whole seconds only, so of the next one: older statuses are those of earlier attempts.
status() {
  mkdir -p "$root/videos/$1/$stage"
  at=$(date -u -d "@$(($(date +%s) + 1))" +%Y-%m-%dT%H:%M:%SZ)
  printf '{"video_id":"%s","stage":"%s","state":"%s","exit_code":%s,"reason":"%s","at":"%s"}' \\
    "$1" "$stage" "$2" "$3" "$4" "$at" >"$root/videos/$1/$stage/status.json"
}
. "$root/behaviour"
"""
TOOLS = ("sh", "cat", "date", "dd", "df", "env", "id", "ls", "mkdir", "printf", "sleep", "touch")


def unavailable(reason: str):
    """Skip, or fail where an engine is required."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def connect(address: str | None = None):
    """A client of the engine at an address, or of this machine's."""
    docker = pytest.importorskip("docker", reason="docker-py is in Airflow's environment")
    address = address or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        return docker.APIClient(base_url=address, version="auto", timeout=30)
    except docker.errors.DockerException as error:
        unavailable(f"no Docker engine answers: {error}")


def import_program(client, name: str, **labels: str) -> str:
    """Make the image of the program above; returns its id."""
    busybox = shutil.which("busybox")
    if busybox is None:
        unavailable("the test image is made of Debian's busybox-static, which is not installed")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for tool in TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        script = tarfile.TarInfo("bin/python")
        script.size, script.mode = len(PROGRAM), 0o755
        tar.addfile(script, io.BytesIO(PROGRAM.encode()))
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    changes = [f"LABEL {label.replace('_', '.')}={value}" for label, value in labels.items()]
    client.import_image_from_data(archive.getvalue(), repository=name, tag="test", changes=changes)
    return str(client.inspect_image(f"{name}:test")["Id"])


def behave(data_root: Path, script: str) -> None:
    """Say what the program is to do, in its own shell: ``status VIDEO STATE CODE REASON`` writes a status."""
    data_root.mkdir(parents=True, exist_ok=True)
    data_root.chmod(0o777)  # for what a test has the program note there; a stage writes into a video's folder only
    (data_root / "behaviour").write_text(script + "\n")


class PrivateEngine:
    """An engine beside the machine's, with its own socket, folders and network: a test may stop it.

    Without a network of its own, an engine that needs no bridge takes the machine's away.
    """

    def __init__(self, folder: Path) -> None:
        if not (shutil.which("dockerd") and shutil.which("unshare")) or os.geteuid() != 0:
            unavailable("a second engine takes dockerd, unshare and root")
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "PrivateEngine":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def client(self):
        return connect(self.address)

    def import_image(self) -> str:
        return import_program(self.client, "program")

    def start(self) -> None:
        folder = self.folder
        command = [
            "unshare",
            "--net",
            "dockerd",
            "--host",
            self.address,
            "--data-root",
            folder / "data",
            "--exec-root",
            folder / "run",
        ]
        command += ["--pidfile", folder / "pid", "--bridge", "none", "--iptables=false", "--ip-forward=false"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "--host", self.address, "version"], capture_output=True).returncode:
            assert time.monotonic() < deadline and self._process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

"""What the scripts around the Docker engine share: the engine itself, and the names of the images."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

from setup import PREFIX, ROOT, settings


def docker() -> str:
    """Path of the docker command, with an engine that answers."""
    command = shutil.which("docker")
    if command is None:
        fail(
            "Docker is not installed: install Docker Engine (docs/gpu-box.md), or use `make up` without RUNTIME=docker."
        )
    asked = subprocess.run([command, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["it says nothing"])[-1]
        fail(f"No Docker engine answers ({reason}): start it, or let your user reach it (usermod -aG docker).")
    return command


def has_image(command: str, image: str) -> bool:
    """Whether the engine has an image."""
    return subprocess.run([command, "image", "inspect", image], capture_output=True).returncode == 0


def image_names() -> dict[str, str]:
    """The name of each image that we build."""
    names = {part: f"channelscribe/{part}:{project_version()}" for part in ("stages", "airflow")}
    return {part: settings().get(f"{PREFIX}{part.upper()}_IMAGE", name) for part, name in names.items()}


def project_version() -> str:
    """The project's version."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(content["project"]["version"])


def say(text: str) -> None:
    """Tell the user."""
    print(f"{_program()}: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with one line."""
    print(f"{_program()}: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def _program() -> str:
    return Path(sys.argv[0]).stem

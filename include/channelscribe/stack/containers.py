"""The stages' containers: their labels, their user, their removal, and what the engine means when it refuses."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from docker import APIClient
from docker.errors import APIError, NotFound

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe.stack.engine import NO_DRIVER, NO_GPU_RUNTIME
from channelscribe.workspace import Workspace

_PREFIX = "channelscribe."
# Tells the containers of several installations on one engine apart.
_DATA_ROOT = f"{_PREFIX}data_root"
# Who runs the stages where the data belong to root, as which no container runs.
_UNPRIVILEGED = (10_001, 10_001)

_NO_SUCH_GPU = "There is no such GPU on the engine's host: set CHANNELSCRIBE_GPUS to what `nvidia-smi -L` lists there."
# What the engine and NVIDIA's runtime print, from the most particular to the least.
_GPU_FAULTS = (
    (r"unknown device|unresolvable CDI devices", _NO_SUCH_GPU),
    (r"driver not loaded|libnvidia-ml|nvml error|initialization error", NO_DRIVER),
    (r"could not select device driver|unknown or invalid runtime|nvidia-container", NO_GPU_RUNTIME),
)


class TaskInstance(Protocol):
    """What tells a task instance and its attempt from others in Airflow."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


def labels(ti: TaskInstance) -> dict[str, str]:
    """The labels of a container: the task instance and attempt that it works for."""
    return {**_task_labels(ti), f"{_PREFIX}try_number": str(ti.try_number)}


def of_task(client: APIClient, ti: TaskInstance) -> list[str]:
    """Ids of the containers of a task instance, of whatever attempt, those that have ended too."""
    return [container_id for container_id, _ in _find(client, _task_labels(ti))]


def of_installation(client: APIClient, data_root: Path) -> dict[str, dict[str, str]]:
    """The containers of the installation with a data root: by their ids the labels, without their prefix."""
    return {
        container_id: {name.removeprefix(_PREFIX): value for name, value in found.items()}
        for container_id, found in _find(client, {_DATA_ROOT: str(data_root)})
    }


def remove(client: APIClient, container_id: str) -> None:
    """Remove a container, running or not; nothing happens if it is gone."""
    try:
        client.remove_container(container_id, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody else is removing it
            raise


def user(data_root: Path) -> tuple[int, int]:
    """User and group id that the containers run as: the owner of the data root, but never root."""
    status = data_root.stat()
    return (status.st_uid, status.st_gid) if status.st_uid else _UNPRIVILEGED


def hand_over(video_ids: Sequence[str]) -> None:
    """Give the folders of some videos to the containers' user, where this process is root and makes them as root."""
    if os.geteuid() != 0:
        return
    settings = get_settings()
    uid, gid = user(settings.data_dir)
    for video_id in video_ids:
        folder = Workspace(settings.data_dir).video_dir(video_id)
        for path in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):  # a temporary file of somebody who is still at work
                if path.lstat().st_uid != uid:
                    os.chown(path, uid, gid, follow_symlinks=False)


def explain(error: APIError, image: str) -> tuple[ExitCode, str]:
    """Whether a refusal of the engine may pass, and what it means in a sentence with the remedy."""
    text = " ".join(str(error.explanation or error).split())
    for pattern, sentence in _GPU_FAULTS:
        if re.search(pattern, text, re.IGNORECASE):
            return ExitCode.MISCONFIGURED, sentence
    if error.status_code == 404 and "image" in text.lower():
        return ExitCode.MISCONFIGURED, (
            f"The Docker engine no longer has the run's image {image[:19]}: build it by `make images`, then clear "
            "pin_image with what follows it."
        )
    if "bind source path does not exist" in text:
        return ExitCode.MISCONFIGURED, (
            f"The Docker engine's host has no folder {text.rpartition(': ')[2]}: the data root must have the same path "
            "there as here."
        )
    if error.is_client_error():
        return ExitCode.MISCONFIGURED, f"The Docker engine refused: {text}."
    return ExitCode.TRY_AGAIN, f"The Docker engine failed: {text}."


def _task_labels(ti: TaskInstance) -> dict[str, str]:
    return {
        _DATA_ROOT: str(get_settings().data_dir),
        f"{_PREFIX}dag_id": ti.dag_id,
        f"{_PREFIX}run_id": ti.run_id,
        f"{_PREFIX}task_id": ti.task_id,
        f"{_PREFIX}map_index": str(ti.map_index),
    }


def _find(client: APIClient, wanted: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    pairs = [f"{name}={value}" for name, value in wanted.items()]
    return [(found["Id"], found["Labels"]) for found in client.containers(all=True, filters={"label": pairs})]

"""The stages' containers: what they may do, their labels, their removal, and what the engine means when it refuses."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from docker import APIClient
from docker.errors import APIError, NotFound
from docker.types import DeviceRequest, LogConfig, Mount

from channelscribe.errors import ExitCode
from channelscribe.profiles import StageSpec
from channelscribe.settings import get_settings
from channelscribe.stack.engine import NO_DRIVER, NO_GPU_RUNTIME
from channelscribe.workspace import Workspace

_PREFIX = "channelscribe."
# Tells the containers of several installations on one engine apart.
_DATA_ROOT = f"{_PREFIX}data_root"
# torch's data loaders hand arrays over in /dev/shm, of which Docker gives 64 MB.
_SHM_BYTES = 2**30
_TMP_BYTES = 2**30
_MAX_PROCESSES = 4096  # threads count, and torch starts some for every core
_GIB = 2**30
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


def create(
    client: APIClient, ti: TaskInstance, image: str, command: Sequence[str], spec: StageSpec, gpu: str | None
) -> str:
    """Make a container that works for a task instance, and may do as little as it needs; returns its id.

    It has no network, no capabilities, a file system that can't be written, and runs as the owner of the data root, the
    only folder it may write into. It is not started.

    Args:
        client: of the engine.
        ti: whose labels it gets.
        image: id of the image.
        command: what it runs.
        spec: of the stage, whose memory is its limit.
        gpu: the one that it gets, by index or UUID, or None.
    """
    settings = get_settings()
    uid, gid = user(settings.data_dir)
    container = client.create_container(
        image=image,
        command=list(command),
        user=f"{uid}:{gid}",
        labels=labels(ti),
        environment={
            "HOME": "/tmp",  # noqa: S108 - the container's own
            "USER": "channelscribe",
            "PYTHONUNBUFFERED": "1",
            "CHANNELSCRIBE_IMAGE": image,
            "CHANNELSCRIBE_MODELS_ROOT": str(settings.models_dir),
            "CHANNELSCRIBE_STARTED_AT": str(time.time()),
        },
        host_config=host_config(client, spec, gpu),
    )
    return str(container["Id"])


def host_config(client: APIClient, spec: StageSpec, gpu: str | None) -> dict[str, Any]:
    """What a stage's container may do and use. The limits of the engine's host hold besides."""
    settings = get_settings()
    mounts = [Mount(str(settings.data_dir), str(settings.data_dir), "bind")]
    if settings.models_dir.is_dir():
        mounts.append(Mount(str(settings.models_dir), str(settings.models_dir), "bind", read_only=True))
    requests = [DeviceRequest(device_ids=[gpu], capabilities=[["gpu", "compute", "utility"]])] if gpu else None
    config: dict[str, Any] = client.create_host_config(
        mounts=mounts,
        tmpfs={"/tmp": f"size={_TMP_BYTES},mode=1777"},  # noqa: S108 - the container's own
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=spec.ram_gib * _GIB,
        memswap_limit=spec.ram_gib * _GIB,
        pids_limit=_MAX_PROCESSES,
        shm_size=_SHM_BYTES,
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "2"}),
        device_requests=requests,
    )
    return config


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


def remove_of_task(client: APIClient, ti: TaskInstance) -> None:
    """Remove the containers of a task instance, of whatever attempt, running or not."""
    for container_id in of_task(client, ti):
        remove(client, container_id)


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

"""The operator that runs a stage program in a container."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator, fetch_logs
from airflow.sdk.exceptions import AirflowException
from docker import APIClient
from docker.errors import APIError, NotFound
from docker.types import DeviceRequest, LogConfig, Mount
from requests.exceptions import RequestException

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe_airflow.command import stage_command
from channelscribe_airflow.outcomes import describe_ending
from channelscribe_airflow.stage_task import TEMPLATE_FIELDS, StageTask

# torch's data loaders hand arrays over in /dev/shm, of which Docker gives 64 MB.
_SHM_BYTES = 2**30
_TMP_BYTES = 2**30
_MAX_PROCESSES = 4096  # threads count, and torch starts some for every core
_GIB = 2**30


class DockerStageOperator(StageTask, DockerOperator):
    """Runs a stage over a batch of videos in a container, and gives the task the state of the stage's exit code.

    The container has no network, no capabilities, a file system that can't be written, and runs as the owner of the
    data root, the only folder it may write into. It is removed however the task ends; what an earlier attempt left, as
    its process was killed outright, is removed before it starts.

    Args:
        image: id of the image, or a template that renders to it.
        arguments: see `StageTask`, and Airflow's own.
    """

    template_fields: Sequence[str] = (*TEMPLATE_FIELDS, "image")
    stopped = "The container was stopped before its end."

    def __init__(self, *, image: str, **arguments: Any) -> None:
        super().__init__(image=image, mount_tmp_dir=False, auto_remove="never", **arguments)

    @contextmanager
    def ready(self, video_ids: Sequence[str], ti: Any) -> Iterator[None]:
        """An engine without containers of this task, before and after, and folders that they may write into."""
        with self._engine_errors(video_ids), self._no_container_left(video_ids, ti):
            containers.hand_over(video_ids)
            yield

    def on_kill(self) -> None:
        """Remove the container, when the task is stopped or marked. Its process reads of the end in the log stream."""
        self._stopped = True
        if self.container:
            with suppress(APIError, RequestException, OSError):
                containers.remove(self.cli, self.container["Id"])

    def host_config(self, client: APIClient, gpu: str | None) -> dict[str, Any]:
        """What the container may do and use. The limits of the engine's host hold besides.

        Args:
            client: of the engine.
            gpu: the one that it gets, by index or UUID, or None.
        """
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
            mem_limit=self.spec.ram_gib * _GIB,
            memswap_limit=self.spec.ram_gib * _GIB,
            pids_limit=_MAX_PROCESSES,
            shm_size=_SHM_BYTES,
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "2"}),
            device_requests=requests,
        )
        return config

    def run_program(self, video_ids: Sequence[str], ti: Any) -> tuple[int, str]:
        """Run a container to its end; returns its exit code, and a sentence about its end."""
        settings, client = get_settings(), self.cli
        gpu = self.gpu(ti.map_index)
        uid, gid = containers.user(settings.data_dir)
        command = stage_command(
            "python", self.stage, video_ids, data_root=settings.data_dir, profile=self.profile, force=self.forced
        )
        self.log.info("Running %s in %s on %s", " ".join(command), self.image, f"GPU {gpu}" if gpu else "the CPU")
        self.container = client.create_container(
            image=self.image,
            command=command,
            user=f"{uid}:{gid}",
            labels=containers.labels(ti),
            environment={
                "HOME": "/tmp",  # noqa: S108 - the container's own
                "USER": "channelscribe",
                "PYTHONUNBUFFERED": "1",
                "CHANNELSCRIBE_IMAGE": self.image,
                "CHANNELSCRIBE_MODELS_ROOT": str(settings.models_dir),
                "CHANNELSCRIBE_STARTED_AT": str(time.time()),
            },
            host_config=self.host_config(client, gpu),
        )
        container_id = self.container["Id"]
        if self._stopped:
            return ExitCode.TRY_AGAIN, ""
        lines = client.attach(container_id, stdout=True, stderr=True, stream=True)
        client.start(container_id)
        # Whoever stopped the task while there was no container yet could not remove it.
        if self._stopped:
            return ExitCode.TRY_AGAIN, ""
        fetch_logs(lines, self.log)
        try:
            code = int(client.wait(container_id)["StatusCode"])
            if client.inspect_container(container_id)["State"]["OOMKilled"]:
                return code, f"The container ran out of its {self.spec.ram_gib} GiB of memory."
        except NotFound:
            return ExitCode.TRY_AGAIN, "The container was removed before its end."
        # A container that a signal killed ends with 128 and its number, a child process with minus its number.
        return code, describe_ending(128 - code if code > 128 else code)

    @contextmanager
    def _engine_errors(self, video_ids: Sequence[str]) -> Iterator[None]:
        """Let what the engine refuses end the task with one sentence, retried only where that may help."""
        try:
            yield
        except APIError as error:
            code, reason = containers.explain(error, self.image)
            if self._stopped:  # it was removed under our hands
                code, reason = ExitCode.TRY_AGAIN, self.stopped
            raise self.refuse(video_ids, code, reason) from error
        except (RequestException, OSError) as error:
            reason = f"The Docker engine went away while {self.stage} was at work: {error}."
            raise self.refuse(video_ids, ExitCode.TRY_AGAIN, reason) from error

    @contextmanager
    def _no_container_left(self, video_ids: Sequence[str], ti: Any) -> Iterator[None]:
        self._connect(video_ids)
        self._remove_containers(ti)
        try:
            yield
        finally:
            # By their labels: the time limit may strike after the engine made one and before it said so.
            self._remove_containers(ti)

    def _connect(self, video_ids: Sequence[str]) -> None:
        try:
            _ = self.cli
        except AirflowException as error:
            reason = f"No Docker engine answers at {self.docker_url}: start it, or let Airflow's user reach it."
            raise self.refuse(video_ids, ExitCode.TRY_AGAIN, reason) from error

    def _remove_containers(self, ti: Any) -> None:
        """Remove by force. A failure must not hide how the task ended: a later attempt or the maintenance does it."""
        try:
            for container_id in containers.of_task(self.cli, ti):
                containers.remove(self.cli, container_id)
        except (APIError, RequestException, OSError) as error:
            self.log.warning("Containers of this task could not be removed: %s", error)

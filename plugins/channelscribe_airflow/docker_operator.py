"""The operator that runs a stage program in a container."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator, fetch_logs
from airflow.sdk.exceptions import AirflowException
from docker.errors import APIError, NotFound
from requests.exceptions import RequestException

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe_airflow.command import stage_command
from channelscribe_airflow.outcomes import describe_ending
from channelscribe_airflow.stage_task import TEMPLATE_FIELDS, StageTask


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

    def run_program(self, video_ids: Sequence[str], ti: Any) -> tuple[int, str]:
        """Run a container to its end; returns its exit code, and a sentence about its end."""
        settings, client = get_settings(), self.cli
        gpu = self.gpu(ti.map_index)
        command = stage_command(
            "python", self.stage, video_ids, data_root=settings.data_dir, profile=self.profile, force=self.forced
        )
        self.log.info("Running %s in %s on %s", " ".join(command), self.image, f"GPU {gpu}" if gpu else "the CPU")
        container_id = containers.create(client, ti, self.image, command, self.spec, gpu)
        self.container = {"Id": container_id}
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
            containers.remove_of_task(self.cli, ti)
        except (APIError, RequestException, OSError) as error:
            self.log.warning("Containers of this task could not be removed: %s", error)

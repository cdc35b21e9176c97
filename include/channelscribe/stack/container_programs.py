"""Programs of the stages' image, each run in a container of its own, for a task of Airflow's."""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker import APIClient
from docker.errors import APIError, NotFound
from requests.exceptions import RequestException

from channelscribe.errors import ExitCode, MisconfiguredError, TryAgainError
from channelscribe.profiles import StageSpec
from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe.stack.engine import REMOVAL_TIMEOUT_S, docker_client, image_id
from channelscribe.store.programs import failure, first_gpu

logger = logging.getLogger(__name__)

_LAST_LINES = 20


@dataclass(frozen=True)
class ContainerPrograms:
    """Programs that may do what a stage's container may; see `store.programs.Programs`.

    A container is removed however its program ends. What a killed task left is removed by its next attempt, or by the
    maintenance, as those of the stages are.

    Args:
        task: the task instance that they work for. It runs one at a time.
    """

    task: containers.TaskInstance

    @contextmanager
    def results(self) -> Iterator[Path]:
        """A folder in the data root, all of the machine that a container may write into."""
        data_root = get_settings().data_dir
        folder = data_root / f".{self.task.task_id}"
        shutil.rmtree(folder, ignore_errors=True)  # a killed attempt's
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, *containers.user(data_root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, module: str, arguments: Sequence[str], spec: StageSpec, *, failed: str, timeout_s: float) -> None:
        """Run a module in a container to its end; see `store.programs.run_program`."""
        image = image_id(get_settings().stages_image)
        try:
            with docker_client(REMOVAL_TIMEOUT_S) as client:
                containers.remove_of_task(client, self.task)
                try:
                    code, printed = self._run(client, image, ["python", "-m", module, *arguments], spec, timeout_s)
                finally:
                    containers.remove_of_task(client, self.task)
        except TimeoutError:
            raise TryAgainError(f"{failed} within {timeout_s:.0f} s: try again.") from None
        except APIError as error:
            code, reason = containers.explain(error, image)
            raise (MisconfiguredError if code == ExitCode.MISCONFIGURED else TryAgainError)(reason) from error
        if code:
            raise failure(failed, code, printed)

    def _run(
        self, client: APIClient, image: str, command: Sequence[str], spec: StageSpec, timeout_s: float
    ) -> tuple[int, str]:
        """Exit code of a container's program, and the end of what it had to say of a failure."""
        gpu = first_gpu(spec, get_settings())
        logger.info("Running %s in %s on %s", " ".join(command), image, f"GPU {gpu}" if gpu else "the CPU")
        container_id = containers.create(client, self.task, image, command, spec, gpu)
        client.start(container_id)
        try:
            code = _wait(client, container_id, timeout_s)
            if client.inspect_container(container_id)["State"]["OOMKilled"]:
                raise TryAgainError(f"The container ran out of its {spec.ram_gib} GiB of memory: try again.")
            return code, client.logs(container_id, stdout=False, tail=_LAST_LINES).decode(errors="replace")
        except NotFound:
            raise TryAgainError("The container was removed before its end: try again.") from None


def _wait(client: APIClient, container_id: str, timeout_s: float) -> int:
    """The exit code of a container, once it ends.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + timeout_s
    try:
        return int(client.wait(container_id, timeout=timeout_s)["StatusCode"])
    except RequestException as error:
        # docker-py tells of an answer that did not come in time as of a connection that broke.
        if isinstance(error, APIError) or time.monotonic() < deadline:
            raise
        raise TimeoutError from error

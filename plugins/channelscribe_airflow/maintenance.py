"""What the maintenance does: containers without a task, artifacts without a use."""

import logging
from datetime import timedelta
from typing import Any

from docker.errors import APIError

from channelscribe import retention
from channelscribe.errors import TryAgainError
from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe.stack.engine import REMOVAL_TIMEOUT_S, docker_client
from channelscribe.workspace import Workspace, now

logger = logging.getLogger(__name__)


def reap_containers(ti: Any) -> int:
    """Remove the containers whose task is no longer running, as its process was killed outright; returns how many.

    Args:
        ti: the task instance that asks Airflow.

    Raises:
        TryAgainError: the engine does not answer, or could not remove some.
    """
    reaped, refused = 0, []
    with docker_client(REMOVAL_TIMEOUT_S) as client:
        for container_id, labels in containers.of_installation(client, get_settings().data_dir).items():
            state = _state_of(ti, labels)
            if state == "running":
                continue
            logger.warning(
                "Removing container %s of %s, index %s, try %s of %s: its task is %s",
                container_id[:12],
                labels["task_id"],
                labels["map_index"],
                labels["try_number"],
                labels["run_id"],
                state or "gone",
            )
            try:
                containers.remove(client, container_id)
                reaped += 1
            except APIError as error:
                refused.append(f"{container_id[:12]} ({error.explanation})")
    if refused:
        raise TryAgainError(f"The Docker engine did not remove {', '.join(refused)}.")
    return reaped


def remove_unused_artifacts() -> int:
    """Remove the artifacts that nothing uses, older than the setting ``keep_days``; returns how many."""
    settings = get_settings()
    workspace = Workspace(settings.data_dir)
    removed = 0
    for folder in retention.unused(workspace, now() - timedelta(days=settings.keep_days)):
        n_bytes = retention.remove(folder)
        logger.info("Removed %s (%.1f MB)", folder.relative_to(workspace.data_root), n_bytes / 1e6)
        removed += 1
    return removed


def _state_of(ti: Any, labels: dict[str, str]) -> str | None:
    """State of the task instance that a container works for; None if Airflow no longer knows it."""
    states = ti.get_task_states(dag_id=labels["dag_id"], run_ids=[labels["run_id"]], task_ids=[labels["task_id"]])
    index = int(labels["map_index"])
    name = labels["task_id"] if index < 0 else f"{labels['task_id']}_{index}"
    state: str | None = states.get(labels["run_id"], {}).get(name)
    return state

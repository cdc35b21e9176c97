"""Where a task runs the programs of the stages that work on no video."""

from typing import Any

from channelscribe.settings import get_settings
from channelscribe.store.programs import ChildPrograms, Programs
from channelscribe_airflow.video_tasks import in_containers


def programs_for(ti: Any) -> Programs:
    """In containers where the stages run in them, else in child processes.

    Args:
        ti: the task instance that they work for.
    """
    if not in_containers():
        return ChildPrograms(get_settings())
    # Here, not above: only tasks with containers need docker-py.
    from channelscribe.stack.container_programs import ContainerPrograms

    return ContainerPrograms(ti)

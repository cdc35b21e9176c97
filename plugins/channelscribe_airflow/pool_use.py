"""What Airflow's pools are taken by at the moment, whatever the DAG."""

from collections.abc import Iterator
from dataclasses import dataclass

from channelscribe.alerts.late_run import Pool
from channelscribe.pools import VRAM_POOL, pool_slots
from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow.links import INGEST_DAG

DOWNLOADS_POOL = "downloads"
# That take channels or videos of the archive through the stages.
_VIDEO_DAGS = (INGEST_DAG, "backfill", "reprocess")
# Airflow's words for tasks that hold slots.
_HOLDING = ["running", "queued"]


@dataclass(frozen=True)
class PooledTask:
    """A task that takes slots of a pool.

    Args:
        dag_id: its DAG.
        task_id: its id there, of all its map indexes.
        pool: name of the pool.
        slots: that each map index takes.
    """

    dag_id: str
    task_id: str
    pool: str
    slots: int

    @property
    def name(self) -> str:
        """What people know it by: the stage, for one."""
        return self.task_id.rpartition(".")[2]


def pooled_tasks() -> Iterator[PooledTask]:
    """All tasks of all DAGs that take slots of a pool that is declared."""
    reserved = get_profile(get_settings().profile).stages
    for dag_id in _VIDEO_DAGS:
        yield PooledTask(dag_id, "poll_channels", DOWNLOADS_POOL, 1)
        yield PooledTask(dag_id, "ingest_video.fetch_audio", DOWNLOADS_POOL, 1)
        for stage in STAGES:
            if stage != "fetch_audio":
                yield PooledTask(dag_id, f"ingest_video.{stage}", VRAM_POOL, reserved[stage].memory_gib)
    yield PooledTask("enroll_speakers", "enroll_voice", VRAM_POOL, reserved["identify_speakers"].memory_gib)


def pool_use() -> list[Pool]:
    """The pools and what takes them, as a task or the triggerer may ask Airflow: by counting tasks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    tasks = list(pooled_tasks())
    pools = []
    for name in (DOWNLOADS_POOL, VRAM_POOL):
        taken = {}
        for task in (task for task in tasks if task.pool == name):
            n = RuntimeTaskInstance.get_ti_count(task.dag_id, task_ids=[task.task_id], states=_HOLDING)
            if n:
                taken[task.name if task.dag_id == INGEST_DAG else f"{task.name} of {task.dag_id}"] = n * task.slots
        needs = {task.name: task.slots for task in tasks if task.pool == name and task.dag_id == INGEST_DAG}
        pools.append(Pool(name, pool_slots(name), needs, taken))
    return pools

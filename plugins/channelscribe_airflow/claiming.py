"""Claims of runs on videos: which runs are at work, and a claim of a task that works once more."""

from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from channelscribe.errors import TryAgainError
from channelscribe.settings import get_settings

if TYPE_CHECKING:
    from channelscribe.store.claims import IsAtWork


@dataclass(frozen=True)
class _Videos:
    video_ids: list[str]


def is_at_work(ti: Any) -> "IsAtWork":
    """A function that asks Airflow whether a run, by DAG and id, has still to end."""
    unfinished = ["queued", "running"]
    return lambda dag_id, run_id: ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=unfinished) > 0


def claim_if_cleared(ti: Any, dag_run: Any, video_ids: Sequence[str], log: Any) -> list[str]:
    """Claim videos that a task is about to work on, where tasks of its run were cleared; returns those to work on.

    Such a run may have been over in between, and others have taken its videos. One of which nothing was cleared has
    held its claims throughout: it asks nobody, so that its retries do without the archive.

    Args:
        ti: the task instance.
        dag_run: its run; None where there is none.
        video_ids: the videos.
        log: told of those that are left out, as another run is at work on them.

    Raises:
        TryAgainError: that is all of them, or the archive can't be asked.
    """
    if dag_run is None or not dag_run.clear_number:
        return list(video_ids)
    return claim_again(ti, video_ids, log)


def claim_again(ti: Any, video_ids: Sequence[str], log: Any) -> list[str]:
    """Claim videos that a run, whose claim another may have taken since, works on once more.

    Args:
        ti: the task instance.
        video_ids: the videos.
        log: told of those that are left out, as another run is at work on them.

    Raises:
        TryAgainError: that is all of them, or the archive can't be asked.
    """
    from channelscribe.store.claims import Run, claim_videos
    from channelscribe.store.connection import archive_dsn, connect

    def free(busy: Set[str]) -> _Videos:
        return _Videos([video_id for video_id in video_ids if video_id not in busy])

    with closing(connect(archive_dsn(get_settings()))) as connection:
        claimed = claim_videos(connection, Run(ti.dag_id, ti.run_id), is_at_work(ti), free).video_ids
    for video_id in video_ids:
        if video_id not in claimed:
            log.warning("%s is left out: another run is at work on it.", video_id)
    if not claimed:
        raise TryAgainError("Another run is at work on that: clear the task once it has ended.")
    return claimed

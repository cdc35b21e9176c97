"""Which run works on a video, so that no two do at once, whatever their DAGs."""

from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from psycopg2.extras import execute_values

from channelscribe.store.connection import Connection, errors_in_words

# Whether a run, by DAG and id, is at work still: Airflow knows, and nobody has to give a claim back.
IsAtWork = Callable[[str, str], bool]

_LOCK = 7_231_846_508


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    dag_id: str
    run_id: str

    @property
    def name(self) -> str:
        """What the archive knows it by: two DAGs may have runs of one id."""
        return f"{self.dag_id}/{self.run_id}"


class Choice(Protocol):
    """A plan that names the videos of a run."""

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos."""


C = TypeVar("C", bound=Choice)


def claim_videos(connection: Connection, run: Run, is_at_work: IsAtWork, choose: Callable[[Set[str]], C]) -> C:
    """Choose the videos of a run and claim them, while no other run does.

    Args:
        connection: to the archive.
        run: that will work on them.
        is_at_work: asks Airflow.
        choose: called with the ids of videos to leave out, until what it chooses has none that another run works on.
    """
    busy: set[str] = set()
    with _one_at_a_time(connection):
        while True:
            choice = choose(busy)
            found = _at_work_elsewhere(connection, run, is_at_work, choice.video_ids)
            if not found:
                break
            busy |= found
        _claim(connection, run, choice.video_ids)
    return choice


@contextmanager
def _one_at_a_time(connection: Connection) -> Iterator[None]:
    # Of the session: what chooses commits transactions of its own.
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        with errors_in_words(), connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _at_work_elsewhere(connection: Connection, run: Run, is_at_work: IsAtWork, video_ids: Collection[str]) -> set[str]:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT dag_id, run_id, array_agg(video_id) FROM claims "
            "WHERE video_id = ANY(%s) AND (dag_id, run_id) <> (%s, %s) GROUP BY dag_id, run_id",
            (list(video_ids), run.dag_id, run.run_id),
        )
        claims = cursor.fetchall()
    return {video_id for dag_id, run_id, claimed in claims if is_at_work(dag_id, run_id) for video_id in claimed}


def _claim(connection: Connection, run: Run, video_ids: Collection[str]) -> None:
    with errors_in_words(), connection, connection.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO claims (video_id, dag_id, run_id) VALUES %s ON CONFLICT (video_id) DO UPDATE SET "
            "dag_id = excluded.dag_id, run_id = excluded.run_id, claimed_at = now()",
            [(video_id, run.dag_id, run.run_id) for video_id in sorted(video_ids)],
        )

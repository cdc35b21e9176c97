"""Addresses of pages in Airflow's UI."""

from urllib.parse import quote

from airflow.configuration import conf

INGEST_DAG = "channel_ingest"


def run_page(run_id: str, dag_id: str = INGEST_DAG) -> str:
    """The page of a DAG's run."""
    base = str(conf.get("api", "base_url", fallback="http://localhost:8080/")).rstrip("/")
    return f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def task_page(run_id: str, task_id: str, map_index: int, dag_id: str = INGEST_DAG) -> str:
    """The page of a task instance of a run."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{run_page(run_id, dag_id)}/tasks/{task_id}{mapped}"

"""A small client of Airflow's REST API, for what the commands need. (Airflow's own command line takes 5 s a call.)"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError

# Where it is needed, and not here: it takes 0.2 s, and every command would wait for it.
if TYPE_CHECKING:
    import httpx

_PAGE = 100
FINISHED = ("success", "failed")


@dataclass(frozen=True)
class TaskState:
    """How one task instance stands.

    Args:
        task_id: the task, with its group.
        map_index: -1 where the task is not mapped.
        state: Airflow's word for it, None before it is scheduled.
        try_number: attempts begun.
        duration_s: length of the last attempt, or None.
    """

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    duration_s: float | None


class AirflowApi:
    """The API of one Airflow.

    Args:
        base_url: address of the API server.
        user: name of the user.
        password: the user's password.
    """

    def __init__(self, base_url: str, user: str, password: str) -> None:
        import httpx

        # Without the environment's proxies: the server is on loopback.
        self._client = httpx.Client(base_url=base_url, timeout=30, trust_env=False)
        self._login = {"username": user, "password": password}

    def __enter__(self) -> "AirflowApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def unhealthy(self) -> list[str]:
        """The parts of Airflow that are not well, or ``["api-server"]`` while it doesn't answer."""
        import httpx

        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5)
            answer.raise_for_status()
        except httpx.HTTPError:
            return ["api-server"]
        parts = answer.json()
        names = {"metadatabase": "Postgres", "scheduler": "scheduler", "dag_processor": "dag-processor",
                 "triggerer": "triggerer"}  # fmt: skip
        return [name for key, name in names.items() if (parts.get(key) or {}).get("status") != "healthy"]

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG was parsed.

        Raises:
            MisconfiguredError: it has an import error.
        """
        try:
            self._call("GET", f"/dags/{dag_id}")
        except BadInputError:
            errors = self._call("GET", "/importErrors")["import_errors"]
            if errors:
                last = errors[0]["stack_trace"].strip().splitlines()[-1]
                raise MisconfiguredError(f"{errors[0]['filename']} can't be imported: {last}") from None
            return False
        return True

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start."""
        self._call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Trigger a run and return its id.

        Raises:
            BadInputError: a value of the configuration is not allowed.
        """
        run = self._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf)})
        return str(run["dag_run_id"])

    def unfinished_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The runs that are queued or running, oldest first."""
        query = f"state=queued&state=running&order_by=run_after&limit={_PAGE}"
        return list(self._call("GET", f"/dags/{dag_id}/dagRuns?{query}")["dag_runs"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._call("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> Iterator[TaskState]:
        """All task instances of a run."""
        offset, total = 0, 1
        while offset < total:
            path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances?limit={_PAGE}&offset={offset}"
            page = self._call("GET", path)
            total = page["total_entries"]
            for task in page["task_instances"]:
                yield TaskState(
                    task["task_id"], task["map_index"], task["state"], task["try_number"] or 0, task["duration"]
                )
            offset += _PAGE

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A value that a task left, or None."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/xcomEntries/{key}"
        with suppress(BadInputError):
            return self._call("GET", f"{path}?map_index={map_index}&deserialize=false&stringify=false")["value"]
        return None

    def _call(self, method: str, path: str, json: object = None) -> Any:
        import httpx

        try:
            answer = self._client.request(method, "/api/v2" + path, json=json)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._authenticate()
                answer = self._client.request(method, "/api/v2" + path, json=json)
            if answer.is_client_error:
                raise BadInputError(f"Airflow refuses this: {_detail(answer)}")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise TryAgainError(
                f"Airflow doesn't answer ({error or type(error).__name__}): see `make status`."
            ) from error
        return answer.json()

    def _authenticate(self) -> None:
        answer = self._client.post("/auth/token", json=self._login)
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _detail(answer: "httpx.Response") -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return " ".join(str(detail).split())[:500]

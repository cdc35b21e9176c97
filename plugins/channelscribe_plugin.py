"""The plugin: pages about the archive in Airflow's UI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/channelscribe"
# Airflow may live below a path of its server.
_BASE = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PREFIX


class _Pages:
    """The pages' app, imported with the first request: every process of Airflow loads plugins, one serves pages."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        from channelscribe_airflow.pages.app import app

        await app(scope, receive, send)


def _view(name: str, path: str) -> dict[str, object]:
    route = name.lower()
    return {
        "name": name,
        "href": f"{_BASE}/{path}",
        "destination": "nav",
        "url_route": f"channelscribe-{route}",
        "nav_top_level": True,
        "icon": f"{_BASE}/static/{route}.svg",
        "icon_dark_mode": f"{_BASE}/static/{route}-dark.svg",
    }


def _tab(name: str, destination: str, path: str) -> dict[str, object]:
    """A tab on Airflow's own page of a run or a task instance; Airflow fills in what stands in braces."""
    return {
        "name": name,
        "href": f"{_BASE}/{path}",
        "destination": destination,
        "url_route": f"channelscribe-{name.lower()}",
        "icon": f"{_BASE}/static/pipeline.svg",
        "icon_dark_mode": f"{_BASE}/static/pipeline-dark.svg",
    }


class ChannelscribePlugin(AirflowPlugin):
    """Mounts the pages and puts them into the navigation."""

    name = "channelscribe"
    fastapi_apps = [{"app": _Pages(), "url_prefix": PREFIX, "name": "Channelscribe"}]  # noqa: RUF012 - Airflow's interface
    external_views = [  # noqa: RUF012 - Airflow's interface
        _view("Archive", ""),
        _view("Speakers", "speakers"),
        _view("Pipeline", "pipeline"),
        _tab("Report", "dag_run", "run?dag={DAG_ID}&run={RUN_ID}"),
        _tab("Transcript", "task_instance", "task?dag={DAG_ID}&run={RUN_ID}&task={TASK_ID}&index={MAP_INDEX}"),
    ]

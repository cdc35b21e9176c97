"""A running Airflow to look at: Postgres and the API server alone, with a user of each role."""

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from psycopg2.extensions import parse_dsn

from channelscribe.settings import Settings, get_settings
from channelscribe.stack.environment import airflow_environment, base_url
from channelscribe.stack.ports import free_port
from channelscribe.stack.postgres import EmbeddedPostgres
from channelscribe.stack.processes import spawn, stop_processes
from channelscribe.store.migrate import upgrade

ROLES = ("viewer", "user", "op", "admin")
_PATIENCE_S = 600


@dataclass(frozen=True)
class LiveAirflow:
    """What is running.

    Args:
        home: its folder.
        url: of Airflow, without a slash at its end.
        pages: of the plugin's pages, likewise.
        archive_dsn: connection string of its archive.
        settings: that it runs with.
    """

    home: Path
    url: str
    archive_dsn: str
    settings: Settings

    @property
    def pages(self) -> str:
        return self.url + "/channelscribe"

    @property
    def data_root(self) -> Path:
        return self.settings.data_dir

    def client(self, role: str | None) -> httpx.Client:
        """Somebody of a role who has logged in, or nobody. Like a browser, it says where a form comes from."""
        client = httpx.Client(base_url=self.pages, timeout=60, trust_env=False, headers={"Accept": "text/html"})
        if role:
            login = {"username": role, "password": role}
            answer = client.post(self.url + "/auth/token", json=login).raise_for_status()
            client.cookies.set("_token", answer.json()["access_token"], domain="127.0.0.1")
            client.headers["Origin"] = self.url
        return client


def form(client: httpx.Client, path: str, marker: str = "") -> dict[str, str]:
    """The hidden fields of the first form of a page whose address holds the marker."""
    html = client.get(path).raise_for_status().text
    for action, body in re.findall(r'<form[^>]*method="post" action="([^"]*)">(.*?)</form>', html, re.DOTALL):
        if marker in action:
            return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', body))
    raise LookupError(f"{path} has no form for {marker!r}")


@contextmanager
def running(**environment: str) -> Iterator[LiveAirflow]:
    """Start it over a new folder and an empty archive, and stop it at the end. Passwords are the roles' names.

    Args:
        environment: more variables of its processes.
    """
    # Not below pytest's own folder, which other users may not enter: root's Postgres runs as one of them.
    home = Path(tempfile.mkdtemp(prefix="channelscribe-live-"))
    home.chmod(0o755)
    (home / "venv").symlink_to(get_settings().home / "venv")
    settings = Settings(home=home, port=free_port(), _env_file=None)
    postgres = EmbeddedPostgres(settings.postgres_dir, home / "postgres.log")
    try:
        postgres.start()
        upgrade(postgres.dsn("archive"))
        variables = airflow_environment(settings, "", parse_dsn(postgres.dsn("airflow"))) | environment
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({role: role for role in ROLES}))
        variables |= {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        migrate = spawn([sys.executable, "-m", "airflow", "db", "migrate"], variables, home, home / "migrate.log")
        assert migrate.wait() == 0, (home / "migrate.log").read_text(errors="replace")[-3000:]
        spawn([sys.executable, "-m", "airflow", "api-server"], variables, home, home / "api-server.log")
        live = LiveAirflow(home, base_url(settings), postgres.dsn("archive"), settings)
        _wait(live)
        yield live
    finally:
        stop_processes(home)
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


def _wait(live: LiveAirflow) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(live.url + "/api/v2/monitor/health", trust_env=False, timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise TimeoutError((live.home / "api-server.log").read_text(errors="replace")[-3000:])

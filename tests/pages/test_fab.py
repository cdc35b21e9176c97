"""The pages behind FAB's auth manager, in an Airflow's environment with its provider: elsewhere they are skipped."""

import json
import os
import runpy
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

pytest.importorskip("airflow.providers.fab", reason="FAB's provider is not among the requirements")

from channelscribe.stack.environment import airflow_environment
from channelscribe.store.connection import connect

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
live_airflow, example_archive = (
    SimpleNamespace(**runpy.run_path(str(HERE / name))) for name in ("live_airflow.py", "example_archive.py")
)
FAB = {"AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"}
DAG = "DAG:channel_ingest"
# A user of each, of the same name and password. FAB's own roles, and what ours may do.
ROLES = {
    "Admin": [], "Op": [], "User": [], "Viewer": [], "Public": [], "nothing": [],
    "reader": [("can_read", DAG)], "editor": [("can_read", DAG), ("can_edit", DAG)], "unreading": [("can_edit", DAG)],
    "elsewhere": [("can_read", "DAG:maintenance"), ("can_edit", "DAG:maintenance")],
    "reader_with_menu": [("can_read", DAG), ("can_read", "Plugins")],
}  # fmt: skip
READERS = ["Admin", "Op", "User", "Viewer", "reader", "editor", "reader_with_menu"]
EDITORS = ["Admin", "Op", "User", "editor"]
SEE_THE_MENU = ["Admin", "Op", "reader_with_menu"]
MAKE_USERS = """
import json, sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
with get_application_builder() as builder:
    manager = builder.sm
    for name, allowed in json.loads(sys.argv[1]).items():
        role = manager.find_role(name) or manager.add_role(name)
        for action, resource in allowed:
            manager.add_permission_to_role(role, manager.create_permission(action, resource))
        assert manager.add_user(name, name, name, name + "@x.example", role, password=name)
"""
TEA = "/videos/a-mad-tea-party"
NAME_DORMOUSE = f"{TEA}/voices/SPEAKER_03"
PATHS = [
    "/", "/?q=wine", "/static/pages.css", TEA, f"{TEA}/audio", f"{TEA}/export/srt", "/speakers", "/speakers/duplicates",
    "/speaker?name=Hatter", "/pipeline", "/run?dag=channel_ingest&run=x", "/task?dag=channel_ingest&run=x&task=x",
]  # fmt: skip


@pytest.fixture(scope="module")
def with_fab():
    """Airflow with FAB's auth manager and the users, over the example archive."""
    with live_airflow.running(**FAB) as live:
        example_archive.fill(live.archive_dsn, live.data_root)
        metadata = parse_dsn(make_dsn(live.archive_dsn, dbname="airflow"))
        environment = {**os.environ, **airflow_environment(live.settings, "", metadata), **FAB}
        command = [sys.executable, "-c", MAKE_USERS, json.dumps(ROLES)]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
        yield live


def edits(live) -> list[tuple[object, ...]]:
    """All that was said about voices, and whether it was taken back."""
    with closing(connect(live.archive_dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT edit_id, undone_at FROM speaker_edits ORDER BY 1")
        return cursor.fetchall()


def test_nobody_is_sent_to_the_login(with_fab) -> None:
    client = with_fab.client(None)
    answer = client.get("/?q=raven")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{with_fab.url}/auth/login/?next=")
    assert 'name="username"' in client.get(answer.headers["location"]).text
    assert {client.get(path, headers={"Accept": "*/*"}).status_code for path in PATHS} == {401}


@pytest.mark.parametrize("role", ROLES)
def test_who_may_read_the_dag_reads_all_pages(with_fab, role: str) -> None:
    client = with_fab.client(role)
    assert {client.get(path).status_code for path in PATHS} == {200 if role in READERS else 403}


@pytest.mark.parametrize("role", EDITORS)
def test_who_may_edit_the_dag_names_a_voice_and_takes_it_back(with_fab, role: str) -> None:
    client = with_fab.client(role)
    before = edits(with_fab)
    fields = live_airflow.form(client, TEA, "SPEAKER_03")
    assert client.post(NAME_DORMOUSE, data={**fields, "name": "Dormouse"}).status_code == 303
    client.post("/speakers/undo", data=live_airflow.form(client, "/speakers", "undo"))
    ((_, undone_at),) = set(edits(with_fab)) - set(before)
    assert undone_at


@pytest.mark.parametrize("role", [role for role in ROLES if role not in EDITORS])
def test_nobody_else_changes_anything(with_fab, role: str) -> None:
    fields = live_airflow.form(with_fab.client("Admin"), TEA, "SPEAKER_03")
    client = with_fab.client(role)
    before = edits(with_fab)
    assert 'method="post"' not in client.get(TEA).text
    assert client.post(NAME_DORMOUSE, data={**fields, "name": "Dormouse"}).status_code == 403
    assert edits(with_fab) == before


@pytest.mark.parametrize("role", ROLES)
def test_the_entries_are_shown_to_who_may_read_plugins(with_fab, role: str) -> None:
    answer = with_fab.client(role).get(with_fab.url + "/api/v2/plugins")
    assert answer.status_code == (200 if role in SEE_THE_MENU else 403)


def test_after_logging_out_the_login_is_good_for_nothing(with_fab) -> None:
    client = with_fab.client("Viewer")
    token = client.cookies["_token"]
    assert client.get("/").status_code == 200
    client.get(with_fab.url + "/api/v2/auth/logout", follow_redirects=True)
    assert "_token" not in client.cookies
    client.cookies.set("_token", token, domain="127.0.0.1")
    assert client.get("/").headers["location"].startswith(f"{with_fab.url}/auth/login/?next=")

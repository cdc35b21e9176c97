import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from channelscribe.airflow_settings import read_settings
from channelscribe.errors import BadInputError

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
FULL = """
airflow:
  pools:
    - {pool_name: downloads, pool_slot: 3, pool_description: Polls and downloads.}
  connections:
    - {conn_id: elsewhere, conn_type: postgres, conn_host: db, conn_login: me, conn_port: 5432, conn_extra: {a: 1}}
    - {conn_id: by_uri, conn_uri: "postgres://me@db:5433/archive"}
  variables:
    - {variable_name: colour, variable_value: blue}
"""

# Applies the file given, then once more, and prints what the database holds: in a process and an Airflow of its own.
APPLY_TWICE = """
import json, sys
from pathlib import Path
from airflow.utils.db import initdb
initdb()
from channelscribe.airflow_settings import read_settings
from channelscribe_airflow.apply_settings import apply_settings
from airflow.models import Connection, Pool, Variable
from airflow.utils.session import create_session
from sqlalchemy import select
for _ in range(2):
    apply_settings(read_settings(Path(sys.argv[1])))
with create_session() as session:
    print(json.dumps({
        "pools": {pool.pool: pool.slots for pool in session.scalars(select(Pool))},
        "connections": sorted(
            (c.conn_id, c.conn_type, c.host, c.login, c.port, c.extra) for c in session.scalars(select(Connection))
            if c.conn_id in ("elsewhere", "by_uri")
        ),
        "variables": {v.key: v.val for v in session.scalars(select(Variable))},
    }))
"""


def test_applied_twice_is_applied_once(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(FULL)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    result = subprocess.run(
        [sys.executable, "-c", APPLY_TWICE, str(path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr

    found = json.loads(result.stdout.splitlines()[-1])
    assert found["pools"]["downloads"] == 3
    assert found["connections"] == [
        ["by_uri", "postgres", "db", "me", 5433, None],
        ["elsewhere", "postgres", "db", "me", 5432, '{"a": 1}'],
    ]
    assert found["variables"] == {"colour": "blue"}


def test_the_projects_own_file_is_good_and_holds_no_secret():
    settings = read_settings(ROOT / "airflow_settings.yaml")
    assert {pool.pool_name for pool in settings.pools} == {"downloads", "vram_gib"}
    assert not [connection for connection in settings.connections if connection.conn_password or connection.conn_uri]


def test_what_is_left_out_or_empty_is_nothing(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("airflow:\n  pools:\n  variables: []\n")
    assert read_settings(path).pools == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pools: []", "one key, `airflow`"),
        ("", "one key, `airflow`"),
        ("airflow: [", "cannot be read"),
        ("airflow: [1]", "airflow: It is not a mapping"),
        ("airflow:\n  pools: [{pool_name: x}]", "airflow.pools.0.pool_slot: Field required"),
        ("airflow:\n  pools: [{pool_name: x, pool_slot: many}]", "airflow.pools.0.pool_slot"),
        ("airflow:\n  pools: [{pool_name: x, pool_slot: 1, slots: 2}]", "airflow.pools.0.slots"),
        ("airflow:\n  poools: []", "airflow.poools"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        read_settings(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said():
    with pytest.raises(BadInputError, match="cannot be read"):
        read_settings(Path("/nowhere.yaml"))

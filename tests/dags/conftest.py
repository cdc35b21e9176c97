"""The DAGs as Airflow parses them, in an Airflow of the tests' own."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

from channelscribe.settings import get_settings

runpy.run_path(str(Path(__file__).with_name("airflow_environment.py")))

collect_ignore_glob = [] if find_spec("airflow") else ["test_*.py"]

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings of the tests' own: whatever the machine's .env file says."""
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "https://example.org/feed.xml")
    for name in ("SCHEDULE", "LIMIT", "PROFILE", "DATA_ROOT", "RUNTIME", "BATCH_MINUTES"):
        monkeypatch.setenv(f"CHANNELSCRIBE_{name}", "")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def airflow_database():
    from airflow.models import Pool
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        for name in ("downloads", "vram_gib"):
            Pool.create_or_update_pool(name, 4, "", include_deferred=False, session=session)


@pytest.fixture
def load_dags(settings):
    """Parse dags/ anew, with the settings as they are now."""

    def load():
        from airflow.dag_processing.dagbag import DagBag

        get_settings.cache_clear()
        return DagBag(dag_folder=str(DAGS))

    return load


@pytest.fixture
def dag(load_dags):
    return load_dags().dags["channel_ingest"]

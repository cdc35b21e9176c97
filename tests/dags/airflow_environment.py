"""An Airflow of the tests' own, set before Airflow is imported for the first time: it reads its settings then."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def prepare() -> None:
    # Each of pytest-xdist's workers has one: they inherit that of their parent, which may have read this first.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if os.environ.get("CHANNELSCRIBE_TEST_AIRFLOW_OF") == worker:
        return
    home = tempfile.mkdtemp(prefix="channelscribe-test-airflow-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ |= {
        "CHANNELSCRIBE_TEST_AIRFLOW_OF": worker,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    sys.path.insert(0, str(ROOT / "plugins"))


prepare()

"""Makes and migrates both databases and applies airflow_settings.yaml, before Airflow's components start.

    python prepare.py

All of it may be done again; what is done already stays as it is.
"""

import os
import subprocess
import sys
from contextlib import closing

import psycopg2

from channelscribe.settings import PROJECT_ROOT, get_settings
from channelscribe.store.connection import DATABASE
from channelscribe.store.migrate import upgrade


def main() -> None:
    """Prepare everything; the first fault ends it."""
    dsn = get_settings().archive_dsn
    if not dsn:
        sys.exit("prepare: CHANNELSCRIBE_ARCHIVE_DSN is not set.")
    make_database(os.environ["CHANNELSCRIBE_METADATA_DSN"])
    applied = upgrade(dsn)
    print(f"Archive: {', '.join(applied) if applied else 'up to date'}.", flush=True)
    run("-m", "airflow", "db", "migrate")
    run("-m", "channelscribe_airflow.apply_settings", str(PROJECT_ROOT / "airflow_settings.yaml"))


def make_database(dsn: str) -> None:
    """Make the archive's database beside Airflow's own, if it isn't there.

    Args:
        dsn: connection string of Airflow's own database.
    """
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')


def run(*arguments: str) -> None:
    """Run a Python program with the plugins on its path."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "plugins")}
    code = subprocess.run([sys.executable, *arguments], env=environment).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()

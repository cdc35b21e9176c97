"""The environment variables of Airflow's processes, and the secrets among them."""

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from channelscribe.settings import PROJECT_ROOT, Settings
from channelscribe.stack.ports import LOOPBACK

USER = "admin"
# Of the user's own shell, and wrong in our environments.
_FOREIGN = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "GUNICORN")


@dataclass(frozen=True)
class Secrets:
    """Random for each home folder, and kept in files that only their owner may read."""

    password: str
    fernet_key: str
    jwt_secret: str
    api_secret: str


def password_file(home: Path) -> Path:
    """The file with the password of Airflow's UI, in the format of its SimpleAuthManager."""
    return home / "airflow" / "password.json"


def read_secrets(home: Path) -> Secrets:
    """Read the secrets, and make them where they are missing."""
    path = home / "airflow" / "secrets.json"
    try:
        found = Secrets(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = Secrets(
            password=secrets.token_urlsafe(9),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(48),
            api_secret=secrets.token_urlsafe(32),
        )
        _write_private(path, json.dumps(vars(found)))
    _write_private(password_file(home), json.dumps({USER: found.password}))
    return found


def base_url(settings: Settings) -> str:
    """Address of Airflow's UI and API."""
    return f"http://{LOOPBACK}:{settings.port}"


def stack_environment(settings: Settings, channels: str) -> dict[str, str]:
    """What the user's own environment becomes for every process of the stack: ours first, nothing of others'.

    Args:
        settings: the settings, which the processes get as they are here.
        channels: the channels that the daily run polls, as the setting has them.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    loopback = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), LOOPBACK, "localhost"]))
    return kept | {
        # Where `deno` is, which yt-dlp calls, and `airflow`.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "CHANNELSCRIBE_HOME": str(settings.home),
        "CHANNELSCRIBE_PORT": str(settings.port),
        "CHANNELSCRIBE_DEMO_PORT": str(settings.demo_port),
        "CHANNELSCRIBE_CHANNELS": channels,
        "CHANNELSCRIBE_RUNTIME": settings.runtime,
    }


def airflow_environment(settings: Settings, channels: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """The environment of all of Airflow's processes.

    Args:
        settings: the settings.
        channels: the channels that the daily run polls.
        metadata: libpq parameters of the metadata database: host (the socket's folder), port, user, dbname.
    """
    home, url, found = settings.home, base_url(settings), read_secrets(settings.home)
    options = {
        "CORE__DAGS_FOLDER": PROJECT_ROOT / "dags",
        "CORE__PLUGINS_FOLDER": PROJECT_ROOT / "plugins",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__LOAD_EXAMPLES": False,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": password_file(home),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__FERNET_KEY": found.fernet_key,
        "DATABASE__SQL_ALCHEMY_CONN": _sqlalchemy_url(metadata),
        "LOGGING__BASE_LOG_FOLDER": home / "logs" / "tasks",
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": home / "logs" / "dag-files",
        "LOGGING__COLORED_CONSOLE_LOG": False,
        "API__HOST": LOOPBACK,
        "API__PORT": settings.port,
        "API__BASE_URL": url,
        "API__SECRET_KEY": found.api_secret,
        "API_AUTH__JWT_SECRET": found.jwt_secret,
        # A step of a chain costs this much at least, and one heartbeat of the worker.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        # So that the tasks of a stack that was killed are noticed within a minute of the next start.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 5,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 15,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": home / "airflow" / "bundles",
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    variables = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    return stack_environment(settings, channels) | {"AIRFLOW_HOME": str(home / "airflow")} | variables


def _sqlalchemy_url(metadata: Mapping[str, str]) -> str:
    query = f"host={quote(metadata['host'])}&port={metadata['port']}"
    return f"postgresql+psycopg2://{metadata['user']}@/{metadata['dbname']}?{query}"


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    temporary.replace(path)

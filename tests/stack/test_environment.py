import json
import os

import pytest

from channelscribe.settings import Settings
from channelscribe.stack.environment import airflow_environment, password_file, read_secrets, stack_environment

METADATA = {"host": "/home folder/postgres", "port": "5432", "user": "postgres", "dbname": "airflow"}


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, home=tmp_path, port=18081)


def test_secrets_are_made_once_and_only_their_owner_may_read_them(tmp_path, settings):
    first = read_secrets(tmp_path)
    assert read_secrets(tmp_path) == first
    assert len({*vars(first).values()}) == 4
    assert read_secrets(tmp_path / "other") != first
    for path in (tmp_path / "airflow").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(password_file(tmp_path).read_text()) == {"admin": first.password}


def test_nothing_of_another_airflow_or_environment_gets_in(settings, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONFIG", "/elsewhere/airflow.cfg")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("SSL_CERT_FILE", "/kept.pem")
    environment = airflow_environment(settings, "", METADATA)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW_CONFIG" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["SSL_CERT_FILE"] == "/kept.pem"


def test_everything_listens_and_is_called_on_loopback_without_a_proxy(settings, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intern.example")
    environment = airflow_environment(settings, "", METADATA)
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18081/execution/"
    assert environment["NO_PROXY"] == "intern.example,127.0.0.1,localhost"


def test_all_is_written_below_the_home_folder(settings):
    environment = airflow_environment(settings, "", METADATA)
    for name in ("AIRFLOW_HOME", "AIRFLOW__LOGGING__BASE_LOG_FOLDER", "CHANNELSCRIBE_HOME"):
        assert environment[name].startswith(str(settings.home))


def test_a_socket_below_a_folder_with_a_space_is_reached(settings):
    from sqlalchemy.engine import make_url

    url = make_url(airflow_environment(settings, "", METADATA)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert url.query["host"] == METADATA["host"]
    assert url.database == "airflow"


def test_the_settings_of_the_command_are_those_of_its_processes(settings):
    environment = stack_environment(settings, "https://example.org/feed.xml")
    read = {name: value for name, value in environment.items() if name.startswith("CHANNELSCRIBE_")}
    assert read["CHANNELSCRIBE_CHANNELS"] == "https://example.org/feed.xml"
    assert read["CHANNELSCRIBE_PORT"] == "18081"
    assert environment["PATH"].endswith(os.environ["PATH"])

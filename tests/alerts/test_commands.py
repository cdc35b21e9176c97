"""The commands about alerts; sending to targets of a live Airflow is tested in tests/integration."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from channelscribe.alerts import commands
from channelscribe.alerts.alert import Alert
from channelscribe.cli import app
from channelscribe.settings import get_settings
from channelscribe.store.runs.alerts import raise_alerts, settle, tell


@pytest.fixture
def call(archive_dsn: str, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_TARGETS", "")
    for name in ("AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(commands, "_console", Console(width=200))

    def run(*arguments: str) -> tuple[int, str]:
        get_settings.cache_clear()
        result = CliRunner().invoke(app, ["alerts", *arguments])
        return result.exit_code, result.output if result.exit_code == 0 else str(result.exception)

    yield run
    get_settings.cache_clear()


def test_the_list_says_what_was_wrong_and_who_was_told(call, archive) -> None:
    assert call("list") == (0, "Nothing was wrong so far.\n")
    raise_alerts(archive, [Alert("video_failed", "v", "A [b]talk[/b]\n failed", ("No sound.",), "http://ui")], ["mail"])
    raise_alerts(archive, [Alert("poll_failed", "c", "It is gone")], ["mail", "chat", "fax"])
    tell(archive, "mail", lambda alerts: None)
    tell(archive, "chat", lambda alerts: "no answer")
    settle(archive, "poll_failed", [], [], None)
    code, listed = call("list")
    assert code == 0
    assert listed.index("It is gone") < listed.index("A [b]talk[/b] failed")
    assert listed.count("told mail at 20") == 2
    assert "not told chat: no answer" in listed and "not told fax\n" in listed
    assert listed.count(", over at 20") == 1
    assert "  No sound.\n  http://ui\n" in listed


def test_the_list_is_as_long_as_was_asked_for(call, archive) -> None:
    raise_alerts(archive, [Alert("video_failed", f"v{number}", f"Talk {number} failed") for number in range(25)], [])
    assert call("list")[1].count(" failed") == 20
    assert call("list", "--limit", "1000")[1].count(" failed") == 25
    code, listed = call("list", "--limit", "1")
    assert code == 0 and listed.startswith("Talk 24 failed") and listed.count(" failed") == 1


def test_a_test_without_a_target_says_how_to_set_one(call) -> None:
    code, said = call("test")
    assert code and "There is no target: docs/alerts.md says how" in said


def test_a_test_without_the_stack_says_how_to_start_it(call, monkeypatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_TARGETS", "mail")
    code, said = call("test")
    assert code and "start it with `make up`" in said

from pathlib import Path

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CHANNELSCRIBE_{name.upper()}", raising=False)
    yield
    get_settings.cache_clear()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "https://a.example/feed, @handle ,")
    monkeypatch.setenv("CHANNELSCRIBE_HOME", "/somewhere")
    settings = get_settings()
    assert settings.channels == ("https://a.example/feed", "@handle")
    assert settings.data_dir == Path("/somewhere/data")
    assert settings.stages_interpreter == Path("/somewhere/venv/stages/bin/python")


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_PORT", "")
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "")
    assert (get_settings().port, get_settings().channels) == (8080, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "80"),
        ("LIMIT", "0"),
        ("SCHEDULE", "daily"),
        ("ALERT_QUIET_HOURS", "at night"),
        ("ALERT_QUIET_HOURS", "22:00-07:00 Europe/Berlyn"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CHANNELSCRIBE_{name}", value)
    with pytest.raises(MisconfiguredError) as caught:
        get_settings()
    assert str(caught.value).startswith(f"CHANNELSCRIBE_{name}='{value}' is not allowed")
    assert "\n" not in str(caught.value)


def test_a_relative_home_does_not_move_with_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHANNELSCRIBE_HOME", "here")
    assert get_settings().home == tmp_path / "here"

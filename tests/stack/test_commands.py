"""What the commands say before anything is started."""

import pytest
from typer.testing import CliRunner

from channelscribe.cli import app
from channelscribe.errors import BadInputError, ChannelscribeError
from channelscribe.settings import get_settings
from channelscribe.wording import clock


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    get_settings.cache_clear()


@pytest.mark.parametrize("channel", ["", "not a url", "ftp://example.org/feed", "file:///etc/passwd"])
def test_a_bad_channel_is_refused_before_anything_is_written(invoke, tmp_path, channel):
    result = invoke("ingest", "--", channel)
    assert isinstance(result.exception, BadInputError)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "home").exists()


def test_an_unknown_profile_is_refused_before_anything_is_written(invoke, tmp_path):
    result = invoke("ingest", "--profile", "huge", "https://example.org/feed.xml")
    assert isinstance(result.exception, ChannelscribeError)
    assert "bundled" in str(result.exception)
    assert not (tmp_path / "home").exists()


def test_down_where_nothing_ever_ran(invoke, tmp_path):
    result = invoke("down")
    assert (result.exit_code, result.output) == (0, "Nothing runs.\n")
    assert not (tmp_path / "home").exists()


def test_status_where_nothing_runs_is_a_failure_with_the_remedy(invoke):
    result = invoke("status")
    assert result.exit_code == 1
    assert "scheduler: down" in result.output
    assert "make up" in result.output


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3723.4, "1:02:03")])
def test_times_are_written_as_people_read_them(seconds, text):
    assert clock(seconds) == text

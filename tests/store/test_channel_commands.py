"""The commands about channels, as they are called."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from channelscribe.cli import app
from channelscribe.settings import get_settings
from channelscribe.store import channel_commands

HANDLE = "https://www.youtube.com/@a/videos"


@pytest.fixture
def call(archive_dsn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setattr(channel_commands, "_console", Console(width=200))
    get_settings.cache_clear()

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["channels", *arguments])
        return result.exit_code, result.output if result.exit_code == 0 else str(result.exception)

    yield run
    get_settings.cache_clear()


def test_a_channel_is_added_listed_paused_and_removed(call) -> None:
    assert "No channel is followed" in call("list")[1]
    options = ["--since", "2026-01-31", "--limit", "3", "--oldest-first", "--recordings", "--title", "talk"]
    assert call("add", "@a", *options, "--backfill", "5") == (0, f"{HANDLE} is followed.\n")
    code, listed = call("list")
    assert code == 0 and HANDLE in listed and "never" in listed
    options = ("since: 2026-01-31", "limit: 3", "newest_first: False", "backfill: 5", "recordings: True", "title: talk")
    for option in options:
        assert option in listed
    assert call("add", "https://youtube.com/@a") == (0, f"{HANDLE} has these options now.\n")
    assert "since" not in call("list")[1]
    call("pause", "@a")
    assert "paused" in call("list")[1]
    call("resume", "@a")
    assert "paused" not in call("list")[1]
    assert "what was loaded of it stays" in call("remove", "@a")[1]
    assert "No channel is followed" in call("list")[1]


def test_channels_are_listed_for_programs(call) -> None:
    assert json.loads(call("list", "--json")[1]) == []
    call("add", "@a", "--language", "de", "--since", "2026-01-31")
    (channel,) = json.loads(call("list", "--json")[1])
    assert (channel["url"], channel["polled_at"], channel["n_listed"], channel["paused"]) == (HANDLE, None, 0, False)
    assert (channel["options"]["language"], channel["options"]["since"]) == ("de", "2026-01-31")


def test_a_narrow_terminal_cuts_no_address(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_commands, "_console", Console(width=20))
    url = "https://example.org/" + "a/" * 100 + "feed"
    call("add", url, "--language", "de")
    listed = call("list")[1].splitlines()
    assert listed == [url, "  0 listed, 0 loaded, 0 unavailable", "  never polled", "  language: de", ""]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "file:///etc/passwd"], "only http and https URLs are polled"),
        (["add", "--", "-x"], "looks like a command-line option"),
        (["add", "@a", "--title", "("], "is no regular expression"),
        (["add", "@a", "--limit", "0"], "limit: "),
        (["add", "@a", "--language", "klingon"], "is no language that Whisper knows: give its ISO 639 code"),
        (["add", "@a", "--backfill", "0"], "backfill: "),
        (["pause", "@nobody"], "is not followed"),
        (["remove", "@nobody"], "is not followed"),
        (["sync", "/nowhere/channels.yaml"], "copy channels.example.yaml there"),
    ],
)
def test_wrong_uses_are_one_line(call, arguments: list[str], says: str) -> None:
    code, said = call(*arguments)
    assert code != 0 and says in said and "\n" not in said.strip()


def test_a_file_is_synced(call, tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text("channels:\n  - channel: '@a'\n    limit: 2\n  - https://example.org/feed\n")
    assert "followed: 2" in call("sync", str(path))[1]
    assert "in channels.yaml" in call("list")[1]
    assert "change it there" in call("add", "@a")[1]
    path.write_text("channels: []\n")
    said = call("sync", str(path))[1]
    assert "followed: 0. No more followed: https://example.org/feed, https://www.youtube.com/@a/videos." in said
    assert "No channel is followed" in call("list")[1]


def test_channels_of_a_file_that_is_gone_can_be_changed(call, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "channels.yaml"
    monkeypatch.setattr(channel_commands, "CHANNELS_FILE", path)
    path.write_text("channels:\n  - channel: '@a'\n    limit: 2\n")
    call("sync", str(path))
    path.unlink()
    code, refusal = call("remove", "@a")
    assert code != 0 and "if there is no such file any more, `channelscribe channels sync` frees it" in refusal
    # Another file that is not there is a slip of the pen.
    assert "There is no file" in call("sync", str(tmp_path / "chanels.yaml"))[1]
    assert "in channels.yaml" in call("list")[1]
    said = f"There is no channels.yaml any more. Followed without it from now on: {HANDLE}.\n"
    assert call("sync", str(path)) == (0, said)
    assert "limit: 2" in call("list")[1] and "in channels.yaml" not in call("list")[1]
    assert "copy channels.example.yaml there" in call("sync", str(path))[1]
    assert call("remove", "@a")[0] == 0


def test_a_channel_that_is_held_says_so(call, monkeypatch: pytest.MonkeyPatch) -> None:
    call("add", "@a")
    assert json.loads(call("list", "--json")[1])[0]["held_until"] is None
    until = datetime(2999, 1, 2, tzinfo=UTC)
    monkeypatch.setattr(channel_commands, "blocked_channels", lambda connection: {HANDLE: until})
    assert "held until 2999-01-02, as the last videos tried are not available from this country" in call("list")[1]
    assert json.loads(call("list", "--json")[1])[0]["held_until"] == until.isoformat()
    monkeypatch.setattr(channel_commands, "blocked_channels", lambda connection: {HANDLE: until.replace(year=1999)})
    assert "held" not in call("list")[1]

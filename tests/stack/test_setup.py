"""scripts/setup.py, as the system's Python runs it."""

import importlib.util
import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest

from channelscribe.settings import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "scripts" / "setup.py"


@pytest.fixture
def setup():
    found = importlib.util.spec_from_file_location("setup_script", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def one_line(capsys) -> str:
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 15, 0)])
def test_a_python_of_the_wrong_age_is_refused_with_the_remedy(setup, monkeypatch, capsys, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit):
        setup.check_machine()
    assert "PYTHON=python3.12" in one_line(capsys)


def test_this_machine_is_fine(setup):
    setup.check_machine()


def test_a_python_without_venv_names_the_package(setup, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(SystemExit):
        setup.check_machine()
    assert "-venv" in one_line(capsys)


def test_a_full_disk_is_noticed_before_anything_is_fetched(setup, tmp_path, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")(1e12, 1e12 - 3e9, 3e9)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SystemExit):
        setup.check_space(tmp_path, setup.PINS)
    assert "has 3.0 GB free, but set-up needs 11 GB" in one_line(capsys)
    setup.check_space(tmp_path, {"airflow": "requirements.txt"})


def stamp(setup, home, *, name="airflow", dev=False) -> None:
    folder = home / "venv" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "channelscribe").touch()
    pins = [setup.PINS[name], setup.DEV_PINS]
    content = {"key": setup.key_of(pins[:1]), "dev": setup.key_of(pins) if dev else ""}
    (folder / "stamp.json").write_text(json.dumps(content))


def test_an_environment_is_kept_until_what_it_is_made_of_changes(setup, tmp_path, monkeypatch):
    assert not setup.is_current(tmp_path, "airflow", dev=False)
    stamp(setup, tmp_path, dev=True)
    assert setup.is_current(tmp_path, "airflow", dev=False)
    assert setup.is_current(tmp_path, "airflow", dev=True)
    monkeypatch.setitem(setup.PINS, "airflow", "docker/requirements-stages.txt")
    assert not setup.is_current(tmp_path, "airflow", dev=False)


def test_without_the_tests_tools_it_is_not_enough_for_the_tests(setup, tmp_path):
    stamp(setup, tmp_path, dev=False)
    assert setup.is_current(tmp_path, "airflow", dev=False)
    assert not setup.is_current(tmp_path, "airflow", dev=True)


@pytest.mark.parametrize("left", ["", "{", "[]"])
def test_an_interrupted_set_up_is_done_again(setup, tmp_path, left):
    stamp(setup, tmp_path)
    (tmp_path / "venv" / "airflow" / "stamp.json").write_text(left)
    assert not setup.is_current(tmp_path, "airflow", dev=False)


def test_the_newest_yt_dlp_needs_an_environment_to_go_into(setup, tmp_path, capsys):
    with pytest.raises(SystemExit):
        setup.update_ytdlp(tmp_path)
    assert "run `make setup` first" in one_line(capsys)


def test_only_yt_dlp_is_upgraded_and_the_environment_stays_current(setup, tmp_path, monkeypatch):
    commands = []
    folder = tmp_path / "venv" / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stamp.json").write_text('{"key": "k"}')
    monkeypatch.setattr(setup, "installed_uv", lambda home: "uv")
    monkeypatch.setattr(setup, "run", lambda command, environment=None: commands.append(command))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "2026.1.1", ""))
    monkeypatch.setattr(setup, "settings", dict)
    setup.update_ytdlp(tmp_path)
    (command,) = commands
    assert upgraded(command) == ["yt-dlp", "yt-dlp-ejs"] and "--upgrade" not in command
    assert (folder / "stamp.json").read_text() == '{"key": "k"}'


def upgraded(command):
    return [word.removeprefix("--upgrade-package=") for word in command if word.startswith("--upgrade-package")]


def test_a_plugin_that_a_setting_asks_for_comes_with_yt_dlp_and_survives_new_pins(setup, tmp_path, monkeypatch):
    commands = []
    stamp(setup, tmp_path)
    monkeypatch.setenv("CHANNELSCRIBE_POT_PROVIDER", "http://127.0.0.1:4416")
    monkeypatch.setattr(setup, "installed_uv", lambda home: "uv")
    monkeypatch.setattr(setup, "run", lambda command, environment=None: commands.append(command))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "2026.1.1", ""))
    setup.update_ytdlp(tmp_path)
    assert upgraded(commands[0]) == ["yt-dlp", "yt-dlp-ejs", setup.POT_PLUGIN]
    assert commands[0][-1] == setup.POT_PLUGIN
    commands.clear()
    for name in setup.PINS:
        (tmp_path / "venv" / name).mkdir(exist_ok=True)
        setup.install("uv", tmp_path, name, [setup.PINS[name]])
    synced = [index for index, command in enumerate(commands) if "sync" in command]
    (plugin,) = [index for index, command in enumerate(commands) if setup.POT_PLUGIN in command]
    assert plugin > synced[list(setup.PINS).index("airflow")]
    assert str(tmp_path / "venv" / "airflow" / "bin" / "python") in commands[plugin]


def test_clean_removes_what_was_written_and_nothing_else(setup, tmp_path):
    home = tmp_path / "home"
    for name in (*setup.WRITTEN, "mine"):
        (home / name).mkdir(parents=True)
    setup.clean(home)
    assert [path.name for path in home.iterdir()] == ["mine"]
    (home / "mine").rmdir()
    setup.clean(home)
    assert not home.exists()


def test_the_home_folder_is_the_one_of_the_settings(tmp_path):
    environment = {**os.environ, "CHANNELSCRIBE_HOME": str(tmp_path / "a b")}
    answer = subprocess.run([sys.executable, SCRIPT, "--home"], env=environment, capture_output=True, text=True)
    assert answer.stdout == f"{tmp_path}/a b\n"


def test_pips_own_index_and_certificate_reach_the_installer(setup, tmp_path, monkeypatch):
    python = tmp_path / "venv" / "setup" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_CERT", "/own.pem")
    for name in ("UV_DEFAULT_INDEX", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    environment = setup.uv_environment(tmp_path)
    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert environment["SSL_CERT_FILE"] == "/own.pem"


def test_the_pins_name_no_index_and_agree_with_each_other():
    versions: dict[tuple[str, str], set[str]] = {}
    for name in ("requirements.txt", "docker/requirements-stages.txt", "tests/requirements.txt"):
        text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        for line in text.splitlines():
            if "==" in line:
                pin, _, marker = line.partition(" ; ")
                package, _, version = pin.partition("==")
                versions.setdefault((package, marker), set()).add(version)
    assert [key for key, found in versions.items() if len(found) > 1] == []

"""The scripts around the engine: secrets, folders, and one clear line where something is missing."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
import yaml

from channelscribe.settings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "scripts"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("CHANNELSCRIBE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHANNELSCRIBE_DOCKER_SOCKET", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_secrets_are_random_private_and_made_once(script, home) -> None:
    compose = script("compose")
    first = compose.prepare(home)
    names = [f"CHANNELSCRIBE_{name}" for name in compose.SECRETS]
    assert all(len(first[name]) >= 16 for name in names)
    assert len({first[name] for name in names}) == len(names)
    assert {name: compose.prepare(home)[name] for name in names} == {name: first[name] for name in names}

    other = home.with_name("other")
    assert all(compose.prepare(other)[name] != first[name] for name in names)

    password = home / "compose" / "airflow" / "password.json"
    for path in (compose.env_file(home), compose.passfile(home), password):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(password.read_text()) == {"admin": first["CHANNELSCRIBE_PASSWORD"]}


def test_settings_and_folders_reach_compose(script, home, monkeypatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "https://example.org/a?b=$c,@d e")
    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(home.with_name("models")))
    compose = script("compose")
    compose.prepare(home)
    found = compose.read_variables(compose.env_file(home))
    assert found["CHANNELSCRIBE_CHANNELS"] == "https://example.org/a?b=$c,@d e"
    assert found["CHANNELSCRIBE_DATA_ROOT"] == str(home / "data")
    assert home.with_name("models").is_dir()
    assert found["CHANNELSCRIBE_DOCKER_GID"] == str(home.parent.stat().st_gid)
    # Compose called by hand, with this file, means the same containers.
    assert found["COMPOSE_PROJECT_NAME"] == "channelscribe"


@pytest.fixture
def start(script, home, monkeypatch, tmp_path):
    """Starts containers that are well at once; returns the calls of compose."""
    compose = script("compose")
    monkeypatch.setattr(compose, "CHANNELS_FILE", tmp_path / "channels.yaml")
    monkeypatch.setattr(compose, "has_image", lambda *_: True)
    monkeypatch.setattr(compose, "times", lambda *_: {})
    monkeypatch.setattr(compose, "unhealthy", lambda _: [])

    def up():
        calls = []
        monkeypatch.setattr(compose, "run", lambda call, **options: calls.append((call, options.get("given"))) or "")
        compose.up("docker", ["compose"], home)
        return calls

    return up


def test_the_channels_of_the_file_are_followed_once_airflow_is_well(start, home, tmp_path, archive_dsn) -> None:
    def follow() -> subprocess.CompletedProcess[str]:
        *_, (call, given) = start()
        assert call[:5] == ["compose", "exec", "-T", "scheduler", "python"]
        assert call[5] in (PROJECT_ROOT / "docker" / "airflow.Dockerfile").read_text(encoding="utf-8")
        return subprocess.run(
            [sys.executable, str(PROJECT_ROOT / call[5])], input=given,
            env={**os.environ, "CHANNELSCRIBE_ARCHIVE_DSN": archive_dsn}, capture_output=True, text=True,
        )  # fmt: skip

    assert not any("exec" in call for call, _ in start())
    (tmp_path / "channels.yaml").write_text("channels:\n  - https://example.org/feed\n")
    assert follow().stdout == "Channels of channels.yaml that are followed: 1.\n"
    (tmp_path / "channels.yaml").write_text("channels: 7\n")
    wrong = follow()
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("channels: channels.yaml holds something else than a list named `channels`")


def test_a_link_in_the_containers_folder_leads_to_no_other_file(script, home, tmp_path) -> None:
    compose, elsewhere = script("compose"), tmp_path / "elsewhere"
    compose.prepare(home)
    elsewhere.write_text("mine")
    for name in ("password.new", "password.json"):
        (home / "compose" / "airflow" / name).unlink(missing_ok=True)
        (home / "compose" / "airflow" / name).symlink_to(elsewhere)
    owner = elsewhere.stat().st_uid
    compose.prepare(home)
    assert (elsewhere.read_text(), elsewhere.stat().st_uid) == ("mine", owner)
    assert not (home / "compose" / "airflow" / "password.json").is_symlink()


def test_nothing_runs_as_root(script, home) -> None:
    compose = script("compose")
    found = compose.prepare(home)
    assert found["CHANNELSCRIBE_UID"] != "0"
    for name in ("compose/airflow", "compose/logs", "run/embedder", "data", "compose/airflow/password.json"):
        assert str((home / name).stat().st_uid) == found["CHANNELSCRIBE_UID"]


@pytest.fixture
def installer(script, tmp_path, monkeypatch):
    """In the place of uv: a program that installs a yt-dlp of the version that a file says, or fails without one."""
    program, version = tmp_path / "uv", tmp_path / "version"
    program.write_text(
        f"""#!/bin/sh -e
version=$(cat {version})
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/yt_dlp" "$2/yt_dlp-$version.dist-info"
echo "$*" >"$2/asked"
echo "__version__ = '$version'" >"$2/yt_dlp/version.py"
echo >"$2/yt_dlp/__init__.py"
"""
    )
    program.chmod(0o755)
    compose = script("compose")
    monkeypatch.setattr(compose, "installed_uv", lambda home: program)
    monkeypatch.setattr(compose, "uv_environment", lambda home: dict(os.environ))
    return compose, version


def test_a_newer_ytdlp_goes_before_the_images_without_building_anything(installer, home, capsys, monkeypatch) -> None:
    compose, version = installer
    compose.prepare(home)
    root = home / "compose" / "ytdlp"
    found = compose.read_variables(compose.env_file(home))
    assert found["CHANNELSCRIBE_YTDLP_ROOT"] == str(root) and (root / "packages").is_dir()
    mounted = root.stat().st_ino
    program = "import yt_dlp.version; print(yt_dlp.version.__version__)"
    path = compose_environment()["PYTHONPATH"].replace("/opt/channelscribe/ytdlp", str(root))
    for number in ("2099.01.01", "2099.02.02"):
        version.write_text(number)
        compose.update_ytdlp(home)
        assert f"yt-dlp {number} is in {root}" in capsys.readouterr().out
        done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True)
        assert done.stdout.strip() == number, done.stderr
    assert "pot-provider" not in (root / "packages" / "asked").read_text()
    monkeypatch.setenv("CHANNELSCRIBE_POT_PROVIDER", "http://127.0.0.1:4416")
    compose.update_ytdlp(home)
    assert "yt-dlp yt-dlp-ejs bgutil-ytdlp-pot-provider" in (root / "packages" / "asked").read_text()
    assert root.stat().st_ino == mounted
    assert [entry.name for entry in root.iterdir()] == ["packages"]
    version.unlink()
    with pytest.raises(SystemExit):
        compose.update_ytdlp(home)
    assert "What was there stays." in capsys.readouterr().err
    assert (root / "packages" / "yt_dlp" / "version.py").is_file()


def compose_environment() -> dict[str, str]:
    text = (PROJECT_ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["services"]["scheduler"]["environment"]


def test_a_value_that_compose_would_read_otherwise_is_refused(script, home, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "it's")
    with pytest.raises(SystemExit):
        script("compose").prepare(home)
    assert "CHANNELSCRIBE_CHANNELS holds a quotation mark" in capsys.readouterr().err


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("name", "arguments"), [("images.py", ()), ("compose.py", ("up",)), ("compose.py", ("status",))]
)
def test_without_docker_there_is_one_line(home, name: str, arguments: tuple[str, ...]) -> None:
    answer = run(name, *arguments, PATH="/nonexistent")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1 and "Docker is not installed: install" in answer.stderr


@pytest.mark.parametrize("name", ["images.py", "compose.py"])
def test_without_an_engine_there_is_one_line(home, require, name: str) -> None:
    if shutil.which("docker") is None:
        require("docker is not installed")
    arguments = ("up",) if name == "compose.py" else ()
    answer = run(name, *arguments, DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1 and "No Docker engine answers" in answer.stderr


def test_without_the_images_it_says_what_builds_them(home, engine) -> None:
    answer = run("compose.py", "up", CHANNELSCRIBE_STAGES_IMAGE="channelscribe/nothing:0.0.0")
    assert answer.returncode == 1
    assert answer.stderr == "compose: The image channelscribe/nothing:0.0.0 is missing: `make images` builds it.\n"
    assert not home.exists()


def test_a_password_in_pips_index_does_not_get_into_an_image(script, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hidden@index.example/simple")
    monkeypatch.delenv("PIP_CERT", raising=False)
    images = script("images")
    monkeypatch.setattr(images, "pip_setting", {"cert": "", "index-url": os.environ["PIP_INDEX_URL"]}.__getitem__)
    with pytest.raises(SystemExit):
        images.build("docker", "stages", "channelscribe/nothing:0.0.0", "nothing", None)
    error = capsys.readouterr().err
    assert "pip's index-url holds a password" in error and "hidden" not in error


def test_the_source_of_an_image_names_no_user(script, monkeypatch) -> None:
    images = script("images")
    monkeypatch.setattr(images, "git", lambda *_: "https://me:hidden@example.org/channelscribe.git")
    assert images.source() == "https://example.org/channelscribe.git"

"""The compose file: valid, pinned, hardened, without a secret, and with every setting."""

import re
import shutil
import subprocess

import pytest
import yaml

from channelscribe.settings import PROJECT_ROOT, Settings

FILE = PROJECT_ROOT / "docker" / "compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
PINNED = re.compile(r"(@sha256:[0-9a-f]{64}|:\d+\.\d+\.\d+|:slim-\d+\.\d+\.\d+-python\d\.\d+)$")
# Written by scripts/compose.py, or for those who build or move the images.
GENERATED = {"UID", "GID", "DOCKER_GID", "FERNET_KEY", "API_SECRET", "JWT_SECRET", "POSTGRES_PASSWORD"}
# Of the embedded stack alone, or set by the compose file itself.
NOT_PASSED = {"home", "stages_python", "port", "demo_port", "embedder_idle_s"}


def variables() -> set[str]:
    return set(re.findall(r"\$\{CHANNELSCRIBE_([A-Z_]+)", TEXT))


def config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    return subprocess.run(
        [command, "-f", str(FILE), "config"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        cwd=FILE.parent,
    )


def test_it_is_valid_with_the_variables_that_the_command_writes(script, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_DOCKER_SOCKET", str(tmp_path))
    found = script("compose").prepare(tmp_path / "home")
    answer = config(found)
    assert answer.returncode == 0, answer.stderr
    services = yaml.safe_load(answer.stdout)["services"]
    data = {"type": "bind", "source": f"{tmp_path}/home/data", "target": f"{tmp_path}/home/data"}
    for name in ("scheduler", "api-server", "dag-processor", "triggerer", "prepare"):
        assert data in services[name]["volumes"]
    ytdlp = {"source": f"{tmp_path}/home/compose/ytdlp", "target": "/opt/channelscribe/ytdlp", "read_only": True}
    for name in ("scheduler", "dag-processor"):
        assert any(ytdlp.items() <= volume.items() for volume in services[name]["volumes"])
        assert services[name]["environment"]["PYTHONPATH"].startswith(f"{ytdlp['target']}/")


def test_without_them_it_says_what_writes_them() -> None:
    answer = config({})
    assert answer.returncode != 0
    assert "run make up RUNTIME=docker" in answer.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    default = re.fullmatch(r"\$\{CHANNELSCRIBE_[A-Z_]+_IMAGE:-([^}]+)\}", SERVICES[name]["image"])
    assert default and PINNED.search(default[1]), SERVICES[name]["image"]


def test_our_images_are_of_this_version(script) -> None:
    for part, image in script("engine").image_names().items():
        assert f"${{CHANNELSCRIBE_{part.upper()}_IMAGE:-{image}}}" in TEXT


@pytest.mark.parametrize("part", ["stages", "airflow"])
def test_every_base_is_pinned(script, part: str) -> None:
    assert PINNED.search(script("images").default_base(part))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] != "root" and not service["user"].startswith("0")
    assert service["logging"]["options"]["max-size"]
    assert "privileged" not in service and "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_reached_from_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"prepare"}))
def test_what_stays_up_says_how_it_is_and_starts_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_no_secret_has_a_default() -> None:
    for name in variables():
        if re.search(r"SECRET|PASSWORD|KEY", name):
            assert f"${{CHANNELSCRIBE_{name}:-" not in TEXT
    assert not re.search(r"(?i)(password|secret|key)\w*: *[a-z0-9]", re.sub(r"\w*PASSWORDS_FILE.*", "", TEXT))


def test_only_the_scheduler_gets_at_the_engine_and_only_through_the_proxy() -> None:
    socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))]
    shared = [name for name, service in SERVICES.items() if "engine:/run/channelscribe" in service.get("volumes", [])]
    told = [name for name, service in SERVICES.items() if "DOCKER_HOST" in service.get("environment", {})]
    assert socket == ["socket-proxy"]
    assert sorted(shared) == ["scheduler", "socket-proxy"]
    assert told == ["scheduler"]
    assert SERVICES["socket-proxy"]["network_mode"] == "none"


def test_the_embedder_is_started_as_its_program_wants_it_where_the_command_looks_for_it() -> None:
    service = SERVICES["embedder"]
    options = dict(zip(service["command"][3::2], service["command"][4::2], strict=True))
    assert service["command"][:3] == ["python", "-m", "channelscribe.models.embedder_server"]
    defaults = Settings(_env_file=None, home="/home/of")
    assert options == {
        "--idle-s": f"${{CHANNELSCRIBE_EMBEDDER_IDLE_S:-{defaults.embedder_idle_s:g}}}",
        "--folder": "/run/channelscribe",
    }
    (volume,) = [volume for volume in service["volumes"] if volume["target"] == options["--folder"]]
    assert volume["source"].replace("${CHANNELSCRIBE_HOME}", "/home/of") == str(defaults.embedder_socket.parent)
    assert service["network_mode"] == "none"
    # The pages look for it in the home folder of their image, which is that of the project there.
    (pages,) = [mount for mount in SERVICES["api-server"]["volumes"] if mount["source"] == volume["source"]]
    in_image = Settings(_env_file=None, home="/opt/channelscribe/app/.channelscribe")
    assert (pages["target"], pages["read_only"]) == (str(in_image.embedder_socket.parent), True)


def test_every_setting_reaches_airflow() -> None:
    passed = SERVICES["scheduler"]["environment"]
    expected = {f"CHANNELSCRIBE_{name.upper()}" for name in set(Settings.model_fields) - NOT_PASSED}
    assert expected - set(passed) == set()


def test_every_variable_is_in_the_example_file() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")
    assert [name for name in variables() - GENERATED if f"CHANNELSCRIBE_{name}=" not in example] == []

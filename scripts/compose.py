"""Start, stop and look at the containers of docker/compose.yaml.

Runs with the system's Python and its standard library alone. The Makefile calls it for RUNTIME=docker.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from engine import docker, fail, has_image, image_names, say
from setup import PREFIX, ROOT, home_folder, installed_uv, settings, step, uv_environment, ytdlp_plugins

COMPOSE_FILE = ROOT / "docker" / "compose.yaml"
CHANNELS_FILE = ROOT / "channels.yaml"
PROJECT = "channelscribe"
# Whom Airflow and the stages run as where root starts them: they never run as root.
UNPRIVILEGED = 10_001
SECRETS = ("POSTGRES_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET", "PASSWORD")
READY_TIMEOUT_S = 300


def main() -> None:
    """Do what the argument says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("up", "down", "status", "clean", "update-ytdlp"))
    action = parser.parse_args().action
    home = home_folder()
    if action == "update-ytdlp":
        update_ytdlp(home)
        return
    command = docker()
    call = [*compose_command(command), "--env-file", str(env_file(home)), "--file", str(COMPOSE_FILE)]
    if action == "up":
        up(command, call, home)
    elif not env_file(home).is_file():
        fail("Nothing was started yet: `make up RUNTIME=docker` does.")
    elif action in ("down", "clean"):
        run([*call, "down", "--remove-orphans", *(["--volumes"] if action == "clean" else [])])
        remove_stages(command, read_variables(env_file(home))[PREFIX + "DATA_ROOT"])
    else:
        status(call, home)


def up(command: str, call: list[str], home: Path) -> None:
    """Start everything, and wait until it is well."""
    for image in image_names().values():
        if not has_image(command, image):
            fail(f"The image {image} is missing: `make images` builds it.")
    variables = prepare(home)
    run([*call, "up", "--detach", "--remove-orphans"])
    # A scheduler that was replaced, or started again, knows nothing of what the one before it started.
    scheduler = run([*call, "ps", "--all", "--quiet", "scheduler"], capture_output=True).split()
    for started in times(command, "{{.State.StartedAt}}", scheduler).values():
        remove_stages(command, variables[PREFIX + "DATA_ROOT"], before=started)
    say("Waiting until Airflow is well ...")
    deadline = time.monotonic() + READY_TIMEOUT_S
    while sick := unhealthy(variables):
        if time.monotonic() > deadline:
            fail(f"{', '.join(sick)} not well after {READY_TIMEOUT_S} s: see `{shlex.join([*call, 'logs', sick[0]])}`.")
        time.sleep(1)
    say_where(variables, home)
    follow_channels(call)  # last, so that a mistake in the file keeps nothing else from being up


def follow_channels(call: list[str]) -> None:
    """Hand channels.yaml, where there is one, to the scheduler, which follows its channels.

    It is not mounted: where there is no such file, the engine would make a folder of that name.
    """
    if CHANNELS_FILE.is_file():
        text = CHANNELS_FILE.read_text(encoding="utf-8")
        run([*call, "exec", "-T", "scheduler", "python", "docker/follow_channels.py"], given=text)


def remove_stages(command: str, data_root: str, before: datetime | None = None) -> None:
    """Remove the stages' containers of the installation with a data root: all, or those made before some time.

    They are none of compose's. The scheduler does not remove them when it is stopped: it waits for its tasks until it
    is killed. The tasks are tried again once there is a scheduler.
    """
    found = stages(command, data_root)
    if before:
        found = [container for container, at in times(command, "{{.Created}}", found).items() if at < before]
    if not found:
        return
    say(f"Removing the containers of stages that were at work: {len(found)}.")
    removal = subprocess.run([command, "rm", "--force", "--volumes", *found], capture_output=True, text=True)
    # What its own task removed meanwhile is no failure.
    if removal.returncode and set(found) & set(stages(command, data_root)):
        fail(f"Containers of stages could not be removed: {removal.stderr.strip()}")


def stages(command: str, data_root: str) -> list[str]:
    """Ids of the stages' containers of the installation with a data root, running or not."""
    label = f"label=channelscribe.data_root={data_root}"
    call = [command, "ps", "--all", "--quiet", "--no-trunc", "--filter", label]
    asked = subprocess.run(call, capture_output=True, text=True)
    if asked.returncode:
        fail(f"The engine does not list its containers: {asked.stderr.strip()}")
    return asked.stdout.split()


def times(command: str, which: str, containers: list[str]) -> dict[str, datetime]:
    """A time of each container, by its id; those that are gone are left out."""
    call = [command, "container", "inspect", "--format", "{{.Id}} " + which, *containers]
    lines = subprocess.run(call, capture_output=True, text=True).stdout.splitlines()
    pairs = (line.split() for line in lines)
    return {container: datetime.fromisoformat(at) for container, at in pairs}


def status(call: list[str], home: Path) -> None:
    """Show the containers; the exit code is 1 if something is not well."""
    run([*call, "ps"])
    variables = read_variables(env_file(home))
    if sick := unhealthy(variables):
        fail(f"Not well: {', '.join(sick)}. `make up RUNTIME=docker` starts what is down.")
    say_where(variables, home)


def prepare(home: Path) -> dict[str, str]:
    """Make the folders, and the file of the variables that compose reads; secrets are made once and then stay."""
    chosen = settings()
    data = Path(chosen.get(PREFIX + "DATA_ROOT", home / "data"))
    models = Path(chosen.get(PREFIX + "MODELS_ROOT", home / "models"))
    socket = Path(chosen.get(PREFIX + "DOCKER_SOCKET", "/var/run/docker.sock"))
    folders = {"DATA_ROOT": data.expanduser().absolute(), "MODELS_ROOT": models.expanduser().absolute()}
    folders["YTDLP_ROOT"] = ytdlp_root(home)
    try:
        gid = socket.stat().st_gid
    except OSError as error:
        fail(
            f"The socket {socket} can't be reached ({error.strerror}): set CHANNELSCRIBE_DOCKER_SOCKET to the engine's."
        )
    own = [home / "compose" / "airflow", home / "compose" / "logs", home / "run" / "embedder"]
    # Made before Airflow starts: Python never looks again for a folder that was not there.
    for folder in (*own, *folders.values(), folders["YTDLP_ROOT"] / "packages"):
        folder.mkdir(parents=True, exist_ok=True)
    user = owner(folders["DATA_ROOT"], own)

    known = read_variables(env_file(home))
    variables = {**chosen, **{PREFIX + name: str(path) for name, path in folders.items()}}
    variables |= {PREFIX + "HOME": str(home), PREFIX + "DOCKER_GID": str(gid)}
    # For whoever calls compose by hand, too.
    variables["COMPOSE_PROJECT_NAME"] = PROJECT
    variables |= {PREFIX + "UID": str(user[0]), PREFIX + "GID": str(user[1])}
    for name in SECRETS:
        variables[PREFIX + name] = known.get(PREFIX + name) or new_secret(name)
    write_private(
        env_file(home), "".join(f"{name}={quoted(name, value)}\n" for name, value in sorted(variables.items()))
    )
    password = home / "compose" / "airflow" / "password.json"
    write_private(password, json.dumps({"admin": variables[PREFIX + "PASSWORD"]}))
    if os.geteuid() == 0:
        os.chown(password, *user, follow_symlinks=False)  # its folder is the containers'
    line = f"127.0.0.1:{archive_port(variables)}:archive:channelscribe:{variables[PREFIX + 'POSTGRES_PASSWORD']}\n"
    write_private(passfile(home), line)
    return variables


def ytdlp_root(home: Path) -> Path:
    """Folder of the yt-dlp that goes before the image's."""
    return Path(settings().get(PREFIX + "YTDLP_ROOT", home / "compose" / "ytdlp")).expanduser().absolute()


def update_ytdlp(home: Path) -> None:
    """Fetch the newest yt-dlp beside the image: its scripts for YouTube, too, and the plugin that a setting asks for.

    They are plain Python and need nothing that the image's own does not need, so that they fit its Python. Airflow
    finds them first, from its next task on.
    """
    root = ytdlp_root(home)
    root.mkdir(parents=True, exist_ok=True)
    uv = installed_uv(home)
    new, old, packages = root / "new", root / "old", root / "packages"
    with step("Fetching the newest yt-dlp"):
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
        call = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(new), "--no-deps"]
        call += ["yt-dlp", "yt-dlp-ejs", *ytdlp_plugins()]
        if subprocess.run(call, cwd=ROOT, env=uv_environment(home)).returncode:
            fail("yt-dlp could not be fetched; the reason is above. What was there stays.")
        # The folder around them stays: it is what the containers have mounted.
        if packages.exists():
            packages.rename(old)
        new.rename(packages)
        shutil.rmtree(old, ignore_errors=True)
    version = next(packages.glob("yt_dlp-*.dist-info")).name.removeprefix("yt_dlp-").removesuffix(".dist-info")
    say(f"yt-dlp {version} is in {root}: Airflow's containers take it from their next task on.")


def owner(data: Path, own: list[Path]) -> tuple[int, int]:
    """Whom Airflow and the stages run as: the owner of the data. What root owns is handed to a user without rights."""
    found = data.stat()
    user = (found.st_uid, found.st_gid) if found.st_uid else (UNPRIVILEGED, UNPRIVILEGED)
    if os.geteuid() != 0:
        if user[0] != os.geteuid():
            fail(
                f"{data} belongs to another user (uid {found.st_uid}): start this as that user, or give it to yourself."
            )
        return user
    for folder in (data, *own):
        if folder.stat().st_uid == user[0]:
            continue
        say(f"Handing {folder} to the user {user[0]}, as whom Airflow and the stages run.")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *user, follow_symlinks=False)
    return user


def new_secret(name: str) -> str:
    """A random one, in the form that its reader needs."""
    if name == "FERNET_KEY":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(12 if name == "PASSWORD" else 48)


def env_file(home: Path) -> Path:
    """The file of the variables that compose reads."""
    return home / "compose" / "env"


def passfile(home: Path) -> Path:
    """The archive's password as libpq reads it, so that it need not stand in a connection string."""
    return home / "compose" / "pgpass"


def read_variables(path: Path) -> dict[str, str]:
    """The variables of a file that we wrote; none if it isn't there."""
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: value[1:-1] for name, _, value in pairs}


def quoted(name: str, value: str) -> str:
    """The value so that every compose takes it literally."""
    if "'" in value or "\n" in value:
        fail(f"{name} holds a quotation mark or a line break, which can't be handed to compose.")
    return f"'{value}'"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    # Made here, and no link that somebody put there.
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    temporary.replace(path)


def compose_command(command: str) -> list[str]:
    """Compose as the engine's plugin, or as a program of its own."""
    if subprocess.run([command, "compose", "version"], capture_output=True).returncode == 0:
        return [command, "compose"]
    if found := shutil.which("docker-compose"):
        return [found]
    fail("Docker's compose is not installed: install docker-compose-plugin (docker-compose on Debian).")


def unhealthy(variables: dict[str, str]) -> list[str]:
    """The parts of Airflow that are not well, as the services are called."""
    parts = {
        "metadatabase": "api-server",
        "scheduler": "scheduler",
        "triggerer": "triggerer",
        "dag_processor": "dag-processor",
    }
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url(variables)}/api/v2/monitor/health", timeout=5) as response:
            health = json.load(response)
    except (OSError, ValueError):
        return ["api-server"]
    return [name for part, name in parts.items() if health.get(part, {}).get("status") != "healthy"]


def url(variables: dict[str, str]) -> str:
    """Address of Airflow's UI and API."""
    return f"http://127.0.0.1:{variables.get(PREFIX + 'PORT', '8080')}"


def say_where(variables: dict[str, str], home: Path) -> None:
    """Say where everything is."""
    say(f"Airflow: {url(variables)} (user admin, password {variables[PREFIX + 'PASSWORD']})")
    dsn = f"host=127.0.0.1 port={archive_port(variables)} dbname=archive user=channelscribe passfile={passfile(home)}"
    say(f'For bin/channelscribe, in .env: CHANNELSCRIBE_ARCHIVE_DSN="{dsn}"')


def archive_port(variables: dict[str, str]) -> str:
    """The port of the archive on this machine's loopback."""
    return variables.get(PREFIX + "ARCHIVE_PORT", "5433")


def run(call: list[str], *, capture_output: bool = False, given: str | None = None) -> str:
    """Run compose, whose failure ends this; returns what it printed, if that is captured. It reads what is given."""
    # What compose reads is in its file alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    out = subprocess.PIPE if capture_output else None
    done = subprocess.run(call, env=environment, cwd=ROOT, stdout=out, input=given, text=True)
    if done.returncode:
        fail("Compose failed; the reason is above.")
    return done.stdout or ""


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("Interrupted.")

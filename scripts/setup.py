"""Make the two environments, Airflow's and the stages', from the pinned files.

Runs with the system's Python and its standard library alone. What is there already and made of the same files is
left as it is; what was interrupted is made again. The Makefile calls it for setup, test, demo, lock and clean.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "CHANNELSCRIBE_"
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 14)
UV = "uv==0.13.9"

# Pinned files by environment, and the free space that each needs.
PINS = {"stages": "docker/requirements-stages.txt", "airflow": "requirements.txt"}
SPACE_GB = {"stages": 9, "airflow": 2}
DEV_PINS = "tests/requirements.txt"
# Of another licence, and of no use without a provider: not among the pinned packages. It needs yt-dlp alone.
POT_PLUGIN = "bgutil-ytdlp-pot-provider"

# All that Channelscribe ever writes below the home folder: nothing else is removed by `make clean`.
WRITTEN = ("venv", "airflow", "compose", "postgres", "postgres.new", "data", "logs", "run")


def main() -> None:
    """Do what the arguments ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="add the tools that the tests need")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--lock", action="store_true", help="compile the pinned files anew from pyproject.toml")
    group.add_argument("--update-ytdlp", action="store_true", help="fetch the newest yt-dlp into Airflow's environment")
    group.add_argument("--clean", action="store_true", help="remove all that Channelscribe wrote")
    group.add_argument("--home", action="store_true", help="print the folder for all that is written")
    options = parser.parse_args()

    home = home_folder()
    if options.home:
        print(home)
        return
    if options.clean:
        clean(home)
        return
    check_machine()
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        with (home / "run" / "setup.lock").open("w") as lock:
            wait_for(lock)
            if options.lock:
                compile_pins(installed_uv(home), home)
            elif options.update_ytdlp:
                update_ytdlp(home)
            else:
                set_up(home, dev=options.dev)
    except OSError as error:
        fail(f"{home} can't be written ({error.strerror}): set CHANNELSCRIBE_HOME to a folder that can.")


def home_folder() -> Path:
    """The folder for all that is written: CHANNELSCRIBE_HOME of the environment or of .env, or .channelscribe here."""
    home = settings().get(PREFIX + "HOME")
    return Path(os.path.abspath(os.path.expanduser(home))) if home else ROOT / ".channelscribe"  # noqa: PTH100, PTH111


def settings() -> dict[str, str]:
    """Channelscribe's settings, by their variable: the environment's before those of .env; empty ones left out."""
    found: dict[str, str] = {}
    env_file = ROOT / ".env"
    if env_file.is_file():
        for line in env_file.read_text(encoding="utf-8").splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and name.strip().startswith(PREFIX):
                found[name.strip()] = value.strip().strip("\"'")
    found.update({name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value})
    return {name: value for name, value in found.items() if value}


def check_machine() -> None:
    """Refuse a machine on which the pinned packages don't run."""
    version = sys.version_info[:2]
    if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        fail(
            f"Python {version[0]}.{version[1]} ({sys.executable}) is not supported: install Python 3.11 to 3.14 "
            "and name it, as in `make demo PYTHON=python3.12`."
        )
    if sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        fail(
            f"{platform.system()} on {platform.machine()} is not supported: the models' packages need "
            "x86_64 Linux with glibc (Debian, Ubuntu, Fedora ...; not Alpine)."
        )
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            fail(
                f"Python's {module} module is missing: install it (on Debian and Ubuntu the package "
                f"python{version[0]}.{version[1]}-venv), or name another Python, as in `make demo PYTHON=python3.12`."
            )


def set_up(home: Path, *, dev: bool) -> None:
    """Make or renew each environment that isn't of today's pinned files."""
    missing = {name: pins for name, pins in PINS.items() if not is_current(home, name, dev=dev)}
    if not missing:
        return
    check_space(home, missing)
    if dev:
        check_compiler()
    started = time.monotonic()
    uv = installed_uv(home)
    for name, pins in missing.items():
        install(uv, home, name, [pins, DEV_PINS] if dev else [pins])
    say(f"Set-up done in {time.monotonic() - started:.0f} s.")


def key_of(files: list[str]) -> str:
    """Digest of what an environment is made of."""
    digest = hashlib.sha256(f"{sys.version_info[:3]} {sys.base_prefix} {ROOT}".encode())
    for name in [*files, "pyproject.toml", "scripts/setup.py"]:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def read_stamp(home: Path, name: str) -> dict[str, str]:
    """What the environment was made of; empty where it was never finished."""
    try:
        stamp = json.loads((home / "venv" / name / "stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_current(home: Path, name: str, *, dev: bool) -> bool:
    """Whether the environment is made of today's pinned files; the tests' tools may be there unasked."""
    stamp = read_stamp(home, name)
    current = stamp.get("key") == key_of([PINS[name]]) and (home / "venv" / name / "bin" / "channelscribe").exists()
    return current and (not dev or stamp.get("dev") == key_of([PINS[name], DEV_PINS]))


def check_space(home: Path, missing: dict[str, str]) -> None:
    """Refuse a disk that would be full half-way."""
    needed = sum(SPACE_GB[name] for name in missing if not (home / "venv" / name / "bin").exists())
    free = shutil.disk_usage(home).free / 1e9
    if free < needed:
        fail(
            f"{home} has {free:.1f} GB free, but set-up needs {needed} GB: make room, or set CHANNELSCRIBE_HOME "
            "to a folder on a larger disk."
        )


def check_compiler() -> None:
    """The tests score with meeteval, which is published as source."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("c++") is None and shutil.which("g++") is None:
        fail("`make test` builds meeteval, which needs a C++ compiler: install g++ (`make demo` works without).")
    if not headers.is_file():
        fail(f"`make test` builds meeteval, which needs Python's headers ({headers}): install python3-dev.")


def installed_uv(home: Path) -> Path:
    """The installer, in an environment of its own."""
    folder = home / "venv" / "setup"
    stamp, key = folder / "stamp.json", json.dumps([UV, sys.base_prefix])
    uv = folder / "bin" / "uv"
    if uv.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        return uv
    with step(f"Fetching the installer {UV}"):
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", UV])
    stamp.write_text(key, encoding="utf-8")
    return uv


def install(uv: Path, home: Path, name: str, pins: list[str]) -> None:
    """Bring one environment to exactly its pinned packages, and the project itself."""
    folder = home / "venv" / name
    python = folder / "bin" / "python"
    stamp = read_stamp(home, name)
    # Without a stamp somebody stopped in the middle, and no package in there can be trusted.
    (folder / "stamp.json").unlink(missing_ok=True)
    environment = uv_environment(home)
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    what = " and the tests' tools" if len(pins) > 1 else ""
    size = " (6.5 GB the first time)" if name == "stages" else ""
    with step(f"Installing the {name} environment{what}{size}"):
        if not stamp or stamp.get("python") != sys.base_prefix:
            run([str(uv), "venv", "--quiet", "--no-project", "--clear", "--python", sys.executable, str(folder)])
        run([str(uv), "pip", "sync", *quiet, "--python", str(python), *pins], environment)
        project = ["--no-deps", "--no-build-isolation", "--editable", "."]
        run([str(uv), "pip", "install", "--quiet", "--python", str(python), *project], environment)
        if name == "airflow" and (plugins := ytdlp_plugins()):
            run([str(uv), "pip", "install", "--quiet", "--python", str(python), "--no-deps", *plugins], environment)
    stamp = {"key": key_of(pins[:1]), "dev": key_of(pins) if len(pins) > 1 else "", "python": sys.base_prefix}
    (folder / "stamp.json").write_text(json.dumps(stamp), encoding="utf-8")


def update_ytdlp(home: Path) -> None:
    """Fetch the newest yt-dlp, with its scripts for YouTube and the plugin that a setting asks for.

    All else stays as it is pinned. Sites change, and yt-dlp follows within days. It stays until the pinned files
    change, when the plugin is fetched anew.
    """
    python = home / "venv" / "airflow" / "bin" / "python"
    if not read_stamp(home, "airflow"):
        fail("There is no environment yet: run `make setup` first, which installs the yt-dlp that is pinned.")
    code = "from yt_dlp.version import __version__; print(__version__)"
    before, after = "", ""
    with step("Fetching the newest yt-dlp"):
        before = subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout.strip()
        upgraded = ["yt-dlp", "yt-dlp-ejs", *ytdlp_plugins()]
        packages = [f"--upgrade-package={name}" for name in upgraded] + ["yt-dlp[default]", *ytdlp_plugins()]
        run([str(installed_uv(home)), "pip", "install", "--quiet", "--python", str(python), *packages],
            uv_environment(home))  # fmt: skip
        after = subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout.strip()
    say(f"yt-dlp {after} was the newest already." if before == after else f"yt-dlp {before or '?'} -> {after}.")


def ytdlp_plugins() -> list[str]:
    """The plugins for yt-dlp that the settings ask for."""
    return [POT_PLUGIN] if settings().get(PREFIX + "POT_PROVIDER") else []


def uv_environment(home: Path) -> dict[str, str]:
    """The environment for uv, which doesn't read pip's configuration: an own index or certificate is passed on."""
    environment = dict(os.environ)
    python = str(home / "venv" / "setup" / "bin" / "python")
    for option, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        if value := pip_setting(option, python):
            environment.setdefault(variable, value)
    return environment


def pip_setting(option: str, python: str = sys.executable) -> str:
    """A setting of a Python's pip, from its variable or its files; empty if there is none."""
    if value := os.environ.get("PIP_" + option.upper().replace("-", "_")):
        return value
    call = [python, "-m", "pip", "config", "get", f"global.{option}"]
    return subprocess.run(call, capture_output=True, text=True).stdout.strip()


def compile_pins(uv: Path, home: Path) -> None:
    """Compile the pinned files. Packages that several environments share get the same version in each."""
    command = [str(uv), "pip", "compile", "pyproject.toml", "--quiet", "--upgrade", "--universal"]
    command += ["--python-version", "3.11", "--no-annotate", "--no-emit-index-url"]
    command += ["--custom-compile-command", "make lock"]
    # Wheels alone: set-up must need no compiler. openai-whisper, which is pure Python, has none, nor has meeteval,
    # for the tests.
    command += ["--only-binary", ":all:", "--no-binary", "openai-whisper", "--no-binary", "meeteval"]
    environment = uv_environment(home)
    constraints: list[str] = []
    for extra, pins in (*PINS.items(), ("dev", DEV_PINS)):
        with step(f"Compiling {pins}"):
            run([*command, "--extra", extra, *constraints, "--output-file", pins], environment)
        constraints += ["--constraint", pins]


def clean(home: Path) -> None:
    """Stop all that runs, and remove what Channelscribe wrote; the home folder too if nothing else is in it."""
    compose = [sys.executable, str(ROOT / "scripts" / "compose.py"), "clean"]
    if (home / "compose" / "env").is_file() and subprocess.run(compose).returncode:
        fail("The containers and their database must be removed first, and could not be.")
    command = home / "venv" / "airflow" / "bin" / "channelscribe"
    if command.exists() and subprocess.run([str(command), "down"]).returncode:
        say("What runs could not be stopped by `channelscribe down`; its files are removed all the same.")
    for name in WRITTEN:
        path = home / name
        if path.exists():
            say(f"Removing {path}")
            shutil.rmtree(path)
    if home.is_dir() and not any(home.iterdir()):
        home.rmdir()


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is going on, and how long it took."""
    started = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: done in {time.monotonic() - started:.0f} s.")


def wait_for(lock: TextIO) -> None:
    """Let only one set-up run at a time."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another set-up is running; waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command in the project's folder; its failure ends the set-up."""
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    if code:
        fail(
            f"`{Path(command[0]).name} {' '.join(command[1:3])}` failed; the reason is above. "
            "Check the network and the disk, then run make again: it goes on from here."
        )


def say(text: str) -> None:
    """Tell the user."""
    print(f"setup: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with one line."""
    print(f"setup: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("Interrupted; run make again to go on.")

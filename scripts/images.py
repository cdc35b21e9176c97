"""Build the images: the stages' and Airflow's.

Runs with the system's Python and its standard library alone. An index or certificate that this machine's pip is
configured with holds for the builds too; `make images` calls it.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from engine import docker, fail, image_names, project_version, say
from setup import ROOT, pip_setting

sys.path.insert(0, str(ROOT / "include"))
from channelscribe.code_digest import code_digest

DOCKERFILES = {"stages": "docker/stage.Dockerfile", "airflow": "docker/airflow.Dockerfile"}
CERTIFICATES = "/etc/ssl/certs/channelscribe-build.pem"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def main() -> None:
    """Build what the arguments name, both without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="stages|airflow", help="what to build; both by default")
    parser.add_argument("--base", help="image to build on, instead of the one that the Dockerfile names")
    parser.add_argument("--network", help="network of the build, such as host")
    options = parser.parse_args()
    for part in options.parts:
        if part not in DOCKERFILES:
            parser.error(f"there is no image {part!r}")

    command = docker()
    for part in options.parts or DOCKERFILES:
        started = time.monotonic()
        image = image_names()[part]
        say(f"Building {image} ...")
        build(command, part, image, options.base or default_base(part), options.network)
        say(f"Building {image}: done in {time.monotonic() - started:.0f} s.")


def build(command: str, part: str, image: str, base: str, network: str | None) -> None:
    """Build one image."""
    certificates = pip_setting("cert")
    if certificates:
        base = with_certificates(command, base, Path(certificates))
    arguments = {"BASE": base, "VERSION": project_version(), "REVISION": revision(), "SOURCE": source()}
    arguments["CODE"] = code_digest()
    if index := pip_setting("index-url"):
        if urlsplit(index).password:
            fail("pip's index-url holds a password, which would stay in the image's history: use one without.")
        arguments["PIP_INDEX_URL"] = index
    # Docker leaves these out of the image's history.
    arguments.update({name: os.environ[name] for name in (*PROXIES, *map(str.upper, PROXIES)) if os.environ.get(name)})
    call = [command, "build", "--file", DOCKERFILES[part], "--tag", image]
    call += [f"--network={network}"] if network else []
    for name, value in arguments.items():
        call += ["--build-arg", f"{name}={value}"]
    if subprocess.run([*call, "."], cwd=ROOT).returncode:
        fail(
            f"{image} could not be built; the reason is above. If builds reach no network, `make images "
            "BUILD_NETWORK=host` lets them use this machine's."
        )


def default_base(part: str) -> str:
    """The base that the Dockerfile names."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / DOCKERFILES[part]).read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        fail(f"{DOCKERFILES[part]} names no base.")
    return found[1]


def with_certificates(command: str, base: str, certificates: Path) -> str:
    """The base with the certificates that this machine's pip trusts; returns its image id."""
    dockerfile = (
        f"FROM {base}\nCOPY certificates {CERTIFICATES}\nENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}\n"
    )
    context = io.BytesIO()
    try:
        content = certificates.read_bytes()
    except OSError as error:
        fail(f"pip's cert {certificates} can't be read ({error.strerror}).")
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, data in (("Dockerfile", dockerfile.encode()), ("certificates", content)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    done = subprocess.run([command, "build", "--quiet", "-"], input=context.getvalue(), stdout=subprocess.PIPE)
    if done.returncode:
        fail(f"The certificates of {certificates} could not be put on {base}; the reason is above.")
    return done.stdout.decode().split()[-1]


def revision() -> str:
    """The commit that is built, marked where the clone differs from it; empty without git."""
    return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def source() -> str:
    """Where the clone came from, without a user's name and password; empty if it came from nowhere."""
    return re.sub(r"//[^/@]*@", "//", git("config", "--get", "remote.origin.url"))


def git(*arguments: str) -> str:
    """What git says, if anything."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: S607
    except OSError:
        return ""


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("Interrupted.")

"""The Docker engine: whether it answers and has the stages' image, and what follows from that for a run."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from channelscribe.code_digest import code_digest
from channelscribe.errors import ChannelscribeError, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings

NO_GPU_RUNTIME = (
    "The Docker engine can't hand GPUs to containers: install the NVIDIA Container Toolkit (docs/gpu-box.md), or "
    "choose a profile for the CPU."
)
NO_DRIVER = "The NVIDIA driver does not answer on this machine: see what `nvidia-smi` says."

# Written by scripts/images.py; an image that was built otherwise has none, and its owner answers for it.
CODE_LABEL = "channelscribe.code"

_TIMEOUT_S = 5
REMOVAL_TIMEOUT_S = 60
_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


class Gpu(NamedTuple):
    """A GPU of this machine: its name, and its compute capability, such as (8, 9); None where the driver has none."""

    name: str
    compute_capability: tuple[int, ...] | None


class StaleImageError(MisconfiguredError):
    """An image was built of other code than that which would use it."""


@contextmanager
def docker_client(timeout_s: int = _TIMEOUT_S) -> Iterator[APIClient]:
    """A client of the engine that ``DOCKER_HOST`` names, or of this machine's.

    Raises:
        TryAgainError: it does not answer.
    """
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
    try:
        client = APIClient(**{"base_url": address, **kwargs_from_env()}, version="auto", timeout=timeout_s)
    except DockerException as error:
        raise TryAgainError(
            f"No Docker engine answers at {address} ({_root_cause(error)}): start it, or let this user reach it."
        ) from error
    try:
        yield client
    except APIError:  # an answer, though docker-py counts it among the failed requests
        raise
    except RequestException as error:
        raise TryAgainError(f"The Docker engine at {address} went away: {_root_cause(error)}.") from error
    finally:
        client.close()


def image_id(name: str) -> str:
    """The id of an image, a digest over all that is in it: ``sha256:`` and 64 hexadecimal digits.

    Args:
        name: its name with a tag or digest, as the engine knows it.

    Raises:
        StaleImageError: it was built of other code.
        MisconfiguredError: the engine has no such image.
        TryAgainError: the engine does not answer.
    """
    with docker_client() as client:
        try:
            image = client.inspect_image(name)
        except ImageNotFound:
            raise MisconfiguredError(
                f"The Docker engine has no image {name}: build it by `make images`, or name another by "
                "CHANNELSCRIBE_STAGES_IMAGE."
            ) from None
        except APIError as error:
            raise TryAgainError(f"The Docker engine refused to look up {name}: {error.explanation}.") from error
    built_of = (image["Config"]["Labels"] or {}).get(CODE_LABEL)
    if built_of and built_of != code_digest():
        raise StaleImageError(f"The image {name} was built of other code than this: build it anew by `make images`.")
    return str(image["Id"])


def stages_image_id(settings: Settings, say: Callable[[str], None] = lambda _: None) -> str | None:
    """The id of the image that the stages run in; None where they run as child processes.

    Args:
        settings: where they leave the choice, containers are taken if they can be had.
        say: told why an image that is there is not taken.

    Raises:
        MisconfiguredError, TryAgainError: the settings ask for containers, which cannot be had.
    """
    if settings.runtime == "process":
        return None
    try:
        return image_id(settings.stages_image)
    except ChannelscribeError as error:
        if settings.runtime == "docker":
            raise
        if isinstance(error, StaleImageError):
            say(f"{error} Until then stages run as child processes.")
        return None


def resolve_runtime(settings: Settings) -> Literal["docker", "process"]:
    """What runs the stages: as the setting says, or what this machine has where it leaves the choice."""
    if settings.runtime != "auto":
        return settings.runtime
    return "docker" if stages_image_id(settings) else "process"


def require_gpu_runtime() -> None:
    """Refuse an engine that can't hand GPUs to containers.

    Raises:
        MisconfiguredError: NVIDIA's runtime is not known to it.
        TryAgainError: the engine does not answer.
    """
    with docker_client() as client:
        info = client.info()
    if "nvidia" not in info["Runtimes"] and not info.get("CDISpecDirs"):
        raise MisconfiguredError(NO_GPU_RUNTIME)


def gpus() -> dict[str, Gpu]:
    """This machine's GPUs, each by its index and by its UUID.

    Raises:
        MisconfiguredError: there is no driver, or it does not answer.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid,compute_cap,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MisconfiguredError(NO_DRIVER) from error
    found = {}
    for line in done.stdout.splitlines():
        index, uuid, capability, name = (part.strip() for part in line.split(",", 3))
        numbers = tuple(int(part) for part in capability.split(".") if part.isdigit())
        found[index] = found[uuid] = Gpu(name, numbers or None)
    return found


def _root_cause(error: BaseException) -> str:
    """The last words of an error, which urllib3 and requests wrap several times."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or str(error)

"""Fetches the models of a profile into the models' folder: ``python -m channelscribe.model_pull --profile NAME``.

It runs in the stages' environment, which has the hub's library; ``channelscribe models pull`` starts it. A model that
is fetched lies in a folder beside its own, with ``.partial`` behind the name, until all of it is there and checked. So
what has its proper name is whole, and what was interrupted goes on at the next call.
"""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from channelscribe.errors import ChannelscribeError, MisconfiguredError, TryAgainError
from channelscribe.model_files import inspect, write_record
from channelscribe.model_registry import HubModel, models_among
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings

if TYPE_CHECKING:
    from channelscribe.model_hub import Hub, RemoteFile

Say = Callable[[str], None]

INTERRUPTED = 130

# The hub's library reads these when it is imported. The stages, which must never ask a hub, set the opposite.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the models of a profile; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True)
    options = parser.parse_args(arguments)
    os.environ.update(_ENVIRONMENT)
    os.environ.pop("TQDM_DISABLE", None)
    try:
        profile = get_profile(options.profile)
        models = models_among(spec.model for spec in profile.stages.values())
        if models:
            pull(models, get_settings().models_dir, _say)
        else:
            _say(f"The profile {profile.name} needs no models from a hub: its weights come inside the packages.")
    except ChannelscribeError as error:
        sys.stderr.write(f"channelscribe: {error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("channelscribe: Interrupted. What has come stays: the next call goes on where this stopped.\n")
        return INTERRUPTED
    return 0


def pull(models: Sequence[HubModel], root: Path, say: Say) -> None:
    """Make models present and whole; those that are cost a reading of their files.

    Args:
        models: the models.
        root: folder of the models; made if need be.
        say: is given lines for people.

    Raises:
        ChannelscribeError: in one line, why not and what to do. What has come stays.
    """
    with _alone(root):
        wanted = [model for model in models if not _is_whole(model, root, say)]
        if not wanted:
            return
        # Here, not above: only the stages' environment has its library, and what is whole needs none.
        try:
            from channelscribe.model_hub import Hub, require_room
        except ImportError as error:
            raise MisconfiguredError(
                f"The hub's library is not in {sys.prefix} ({error}): run `make setup`, or set "
                "CHANNELSCRIBE_STAGES_PYTHON."
            ) from error
        hub = Hub()
        # All are asked for before the first is fetched: a refusal after gigabytes would be a late one.
        plans = [(model, hub.list_files(model)) for model in wanted]
        require_room(root, sum(_bytes_to_fetch(files, _partial(model, root)) for model, files in plans))
        for model, files in plans:
            _pull_one(hub, model, files, root, say)


def _is_whole(model: HubModel, root: Path, say: Say) -> bool:
    finding = inspect(root / model.folder, checksums=True)
    if finding.state == "present":
        say(f"{model.name}: present, checksums right.")
    elif finding.state != "missing":
        say(f"{model.name}: {finding.state} ({finding.reason}); what is wrong is fetched again.")
    return finding.state == "present"


def _pull_one(hub: "Hub", model: HubModel, files: Sequence["RemoteFile"], root: Path, say: Say) -> None:
    folder, partial = root / model.folder, _partial(model, root)
    total_mb = sum(file.size_bytes for file in files) / 1e6
    say(f"{model.name}: {len(files)} files, {total_mb:,.0f} MB, {model.licence}, revision {model.revision}")
    try:
        if folder.is_dir() and not partial.exists():
            folder.replace(partial)
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(partial, error) from error
    for number, file in enumerate(files, 1):
        target = partial / file.path
        if not file.is_at(target):
            say(f"  {number}/{len(files)} {file.path}, {file.size_bytes / 1e6:,.1f} MB")
            hub.fetch(model, file, target)
    _finish(model, files, partial, folder, model.url or hub.endpoint)
    say(f"{model.name}: whole, in {folder}")


def _finish(model: HubModel, files: Sequence["RemoteFile"], partial: Path, folder: Path, source: str) -> None:
    """Give the folder its name, with what belongs to the model and nothing else."""
    wanted = {file.path for file in files}
    try:
        for path in partial.rglob("*"):
            if path.is_file() and str(path.relative_to(partial)) not in wanted:
                path.unlink()
        write_record(partial, model, source)
        if folder.is_dir():
            # A damaged one: it became the partial one, unless there was one already.
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _bytes_to_fetch(files: Sequence["RemoteFile"], partial: Path) -> int:
    """What is not there yet of some files, whole ones and begun ones counted by their size."""
    there = 0
    for file in files:
        whole, begun = partial / file.path, partial / f"{file.path}.part"
        there += min(file.size_bytes, next((path.stat().st_size for path in (whole, begun) if path.is_file()), 0))
    return sum(file.size_bytes for file in files) - there


def _partial(model: HubModel, root: Path) -> Path:
    return root / f"{model.folder}.partial"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder of the models against another pull."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / ".pull.lock").open("a")
    except OSError as error:
        raise _cannot_write(root, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TryAgainError(f"Another pull is at work in {root}: wait for it.") from None
        yield


def _cannot_write(path: Path, error: OSError) -> ChannelscribeError:
    return MisconfiguredError(
        f"{error.filename or path} cannot be written ({error.strerror}): give the folder to yourself, or set "
        "CHANNELSCRIBE_MODELS_ROOT."
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

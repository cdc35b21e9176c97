"""Programs of the stages' environment, run as child processes of a command or a task."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from channelscribe.errors import BadInputError, ChannelscribeError, ExitCode, MisconfiguredError, TryAgainError
from channelscribe.profiles import StageSpec
from channelscribe.settings import Settings


class Programs(Protocol):
    """Where the programs of the stages' environment are run."""

    def results(self) -> AbstractContextManager[Path]:
        """An empty folder for what a program is to hand back; it is gone afterwards."""
        ...

    def run(self, module: str, arguments: Sequence[str], spec: StageSpec, *, failed: str, timeout_s: float) -> None:
        """Run a module to its end, on the device of a stage; see `run_program`."""
        ...


@dataclass(frozen=True)
class ChildPrograms:
    """Programs run as child processes."""

    settings: Settings

    @contextmanager
    def results(self) -> Iterator[Path]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="channelscribe-") as folder:
            yield Path(folder)

    def run(self, module: str, arguments: Sequence[str], spec: StageSpec, *, failed: str, timeout_s: float) -> None:
        """Run a module as a child process; see `run_program`."""
        gpu = first_gpu(spec, self.settings)
        environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        run_program(module, arguments, self.settings, failed=failed, timeout_s=timeout_s, environment=environment)


def first_gpu(spec: StageSpec, settings: Settings) -> str | None:
    """The GPU, by index or UUID, of a program that does without turns; None where the stage uses none."""
    return settings.gpus[0] if spec.device == "cuda" else None


def run_program(
    module: str,
    arguments: Sequence[str],
    settings: Settings,
    *,
    failed: str,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a module of the stages' environment to its end. Nothing that it prints is read, but to explain its failure.

    Args:
        module: to run.
        arguments: its command line.
        settings: where the environment is.
        failed: what to say if it fails, such as "The words could not be embedded".
        timeout_s: seconds after which it is ended.
        environment: variables besides the present ones.

    Raises:
        BadInputError: the program found its input bad.
        MisconfiguredError: the environment or the model is missing.
        TryAgainError: it took too long, or failed in a way that may pass.
    """
    interpreter = settings.stages_interpreter
    # The programs know nothing of Airflow, and need none of its secrets.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    try:
        done = subprocess.run(
            [str(interpreter), "-m", module, *arguments],
            env={**inherited, **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise MisconfiguredError(
            f"The stages' Python cannot be started ({interpreter}: {error.strerror}): run `make setup`, or set "
            "CHANNELSCRIBE_STAGES_PYTHON."
        ) from error
    except subprocess.TimeoutExpired:
        raise TryAgainError(f"{failed} within {timeout_s:.0f} s: try again.") from None
    if done.returncode:
        raise failure(failed, done.returncode, done.stderr)


def failure(failed: str, code: int, printed: str) -> ChannelscribeError:
    """The error that a program's exit code stands for, with the last line that it printed."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reason = f"{failed}: {lines[-1] if lines else f'the program ended with {code}'}"
    if code == ExitCode.BAD_INPUT:
        return BadInputError(reason)
    if code == ExitCode.TRY_AGAIN:
        return TryAgainError(reason)
    return MisconfiguredError(reason)

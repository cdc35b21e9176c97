"""Programs of the stages' environment, run as child processes of a command or a task."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from channelscribe.errors import BadInputError, ExitCode, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings


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
        raise _failure(failed, done.returncode, done.stderr)


def _failure(failed: str, code: int, printed: str) -> Exception:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reason = f"{failed}: {lines[-1] if lines else f'the program ended with {code}'}"
    if code == ExitCode.BAD_INPUT:
        return BadInputError(reason)
    if code == ExitCode.TRY_AGAIN:
        return TryAgainError(reason)
    return MisconfiguredError(reason)

"""The text embedding of a query, made by the stages' environment in a child process."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channelscribe.errors import BadInputError, ExitCode, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings

TIMEOUT_S = 180


def embed_query(words: str, profile: str, settings: Settings) -> npt.NDArray[np.float32]:
    """Embed a query with the profile's model.

    The vector comes back in a file: nothing that the program prints is read, but to explain its failure.

    Returns:
        (dim,) float32, L2-normalised.

    Raises:
        BadInputError: the words cannot be embedded.
        MisconfiguredError: the stages' environment or the model is missing.
        TryAgainError: it took too long.
    """
    if "\x00" in words:
        raise BadInputError("The words to search for hold a character that no text has (NUL).")
    interpreter = settings.stages_interpreter
    with tempfile.TemporaryDirectory(prefix="channelscribe-query-") as folder:
        out = Path(folder) / "query.npy"
        command = [str(interpreter), "-m", "channelscribe.models.embed_query", "--profile", profile, "--out", str(out)]
        try:
            done = subprocess.run(
                [*command, "--", words],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise MisconfiguredError(
                f"The stages' Python cannot be started ({interpreter}: {error.strerror}): run `make setup`, or set "
                "CHANNELSCRIBE_STAGES_PYTHON."
            ) from error
        except subprocess.TimeoutExpired:
            raise TryAgainError(f"Embedding the words took more than {TIMEOUT_S} s: try again.") from None
        if done.returncode != 0:
            raise _failure(done.returncode, done.stderr)
        return _read(out)


def _failure(code: int, printed: str) -> Exception:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reason = f"The words could not be embedded: {lines[-1] if lines else f'the program ended with {code}'}"
    if code == ExitCode.BAD_INPUT:
        return BadInputError(reason)
    if code == ExitCode.TRY_AGAIN:
        return TryAgainError(reason)
    return MisconfiguredError(reason)


def _read(path: Path) -> npt.NDArray[np.float32]:
    try:
        vector = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MisconfiguredError(f"The words' embedding cannot be read ({error}): run `make setup`.") from error
    if vector.ndim != 1 or not np.issubdtype(vector.dtype, np.floating) or not np.isfinite(vector).all():
        raise MisconfiguredError("The words' embedding is not one vector of numbers: run `make setup`.")
    result: npt.NDArray[np.float32] = vector.astype(np.float32)
    return result

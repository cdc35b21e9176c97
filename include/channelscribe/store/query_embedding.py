"""The text embedding of a query, made by the stages' environment in a child process."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.settings import Settings
from channelscribe.store.programs import run_program

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
    with tempfile.TemporaryDirectory(prefix="channelscribe-query-") as folder:
        out = Path(folder) / "query.npy"
        run_program(
            "channelscribe.models.embed_query",
            ["--profile", profile, "--out", str(out), "--", words],
            settings,
            failed="The words could not be embedded",
            timeout_s=TIMEOUT_S,
        )
        return _read(out)


def _read(path: Path) -> npt.NDArray[np.float32]:
    try:
        vector = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MisconfiguredError(f"The words' embedding cannot be read ({error}): run `make setup`.") from error
    if vector.ndim != 1 or not np.issubdtype(vector.dtype, np.floating) or not np.isfinite(vector).all():
        raise MisconfiguredError("The words' embedding is not one vector of numbers: run `make setup`.")
    result: npt.NDArray[np.float32] = vector.astype(np.float32)
    return result

"""The text embedding of a query: by the running stack's embedder, or else by a child process that loads the model."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channelscribe.contracts import Query
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings
from channelscribe.store.programs import run_program
from channelscribe.store.search.resident_embedder import NoAnswerError, as_vector, ask_embedder

TIMEOUT_S = 180


def embed_query(words: str, profile: str, settings: Settings, say: Callable[[str], None]) -> npt.NDArray[np.float32]:
    """Embed a query with the profile's model.

    Args:
        words: what is searched for.
        profile: names the model.
        settings: where the embedder and the stages' environment are.
        say: told in a sentence why it takes seconds, where it does.

    Returns:
        (dim,) float32, L2-normalised.

    Raises:
        BadInputError: the words cannot be embedded.
        MisconfiguredError: the stages' environment or the model is missing.
        TryAgainError: it took too long.
    """
    if "\x00" in words:
        raise BadInputError("The words to search for hold a character that no text has (NUL).")
    spec = get_profile(profile).stages["embed_text"]
    try:
        query = Query(model=spec.model, revision=spec.revision, words=words)
        return ask_embedder(settings.embedder_socket, query, say)
    except NoAnswerError as reason:
        say(f"Loading the text model, which takes seconds. {reason}")
    return _in_a_child(words, profile, settings)


def _in_a_child(words: str, profile: str, settings: Settings) -> npt.NDArray[np.float32]:
    """The vector comes back in a file: nothing that the program prints is read, but to explain its failure."""
    with tempfile.TemporaryDirectory(prefix="channelscribe-query-") as folder:
        out = Path(folder) / "query.npy"
        run_program(
            "channelscribe.models.embed_query",
            ["--profile", profile, "--out", str(out), "--", words],
            settings,
            failed="The words could not be embedded",
            timeout_s=TIMEOUT_S,
        )
        try:
            return as_vector(out)
        except NoAnswerError as error:
            raise MisconfiguredError(f"{str(error).removesuffix('.')}: run `make setup`.") from error

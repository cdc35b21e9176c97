"""The text models whose embeddings the archive holds: which videos each is needed for, and removing one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg2 import sql

from channelscribe.errors import BadInputError, ChannelscribeError
from channelscribe.profiles import profiles_with
from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.models import TABLES
from channelscribe.store.speakers.labels import lock_voices

logger = logging.getLogger(__name__)

Model = tuple[str, str]
Vector = npt.NDArray[np.float32]
Embed = Callable[[str], Vector]

# A model has embeddings of all chunks of a video, or of none: the first chunk tells.
_HAS = "EXISTS (SELECT FROM text_embeddings e WHERE e.video_id = v.video_id AND e.chunk_index = 0 AND e.model_id {})"
_NEEDED = f"""
SELECT m.name, m.revision FROM embedding_models m
WHERE m.kind = 'text' AND (m.name, m.revision) <> (%(name)s, %(revision)s) AND EXISTS (
    SELECT FROM videos v WHERE {_HAS.format("= m.model_id")} AND NOT {
    _HAS.format(
        "= (SELECT model_id FROM embedding_models WHERE kind = 'text' AND name = %(name)s AND revision = %(revision)s)"
    )
})
ORDER BY m.model_id
"""  # noqa: S608 - constants of this module
_LIST = f"""
SELECT m.name, m.revision, m.dimension, count(v.video_id),
       count(v.video_id) FILTER (WHERE NOT {_HAS.format("<> m.model_id")})
FROM embedding_models m LEFT JOIN videos v ON {_HAS.format("= m.model_id")}
WHERE m.kind = 'text' GROUP BY m.model_id ORDER BY m.model_id
"""  # noqa: S608 - constants of this module


@dataclass(frozen=True)
class TextModel:
    """A text model of the archive.

    Args:
        name: of the model.
        revision: of the model.
        dimension: length of its vectors.
        n_videos: videos that have its text embeddings.
        n_alone: those of them that have no other.
    """

    name: str
    revision: str
    dimension: int
    n_videos: int
    n_alone: int

    @property
    def profiles(self) -> list[str]:
        """Names of the profiles that embed texts with it."""
        return [profile.name for profile in profiles_with("embed_text", self.name, self.revision)]


def embed_for_other_models(
    connection: Connection, model: Model, embed: Embed, say: Callable[[str], None] = logger.warning
) -> list[tuple[Model, Vector]]:
    """Embed a query for the models of those videos that have no text embeddings of the one that searches.

    Such videos are there while the archive changes from one model to another. A model that can't be had is left out:
    its videos are found by their words.

    Args:
        connection: to a migrated archive.
        model: name and revision of the one that searches.
        embed: embeds the query with the text model of a profile.
        say: told in a sentence of each model that is left out.

    Returns:
        Each model with the (dim,) float32 embedding.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_NEEDED, {"name": model[0], "revision": model[1]})
        needed: list[Model] = list(cursor.fetchall())
    found = []
    for other in needed:
        try:
            found.append((other, embed(_profile_of(other))))
        except ChannelscribeError as error:
            name, revision = other
            say(f"Videos with text embeddings of {name} ({revision}) are found by their words alone: {error}")
    return found


def list_text_models(connection: Connection) -> list[TextModel]:
    """The text models of the archive, in the order in which they came."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_LIST)
        return [TextModel(*row) for row in cursor]


def remove_text_model(connection: Connection, name: str, revision: str | None, keep: Model) -> TextModel:
    """Delete the text embeddings of a model; returns what it was.

    Args:
        connection: to a migrated archive.
        name: of the model.
        revision: of the model; may be left out where there is one.
        keep: the model that searches, which stays.

    Raises:
        BadInputError: there is no such model, or search needs it.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        # No load in between takes from a video what it has beside this model.
        lock_voices(cursor, exclusive=True)
        cursor.execute("LOCK TABLE text_embeddings IN ACCESS EXCLUSIVE MODE")
        cursor.execute(_LIST)
        models = [TextModel(*row) for row in cursor]
        found = [model for model in models if model.name == name and revision in (None, model.revision)]
        if not found:
            there = ", ".join(model.name for model in models) or "none"
            raise BadInputError(f"The archive has no text embeddings of {name!r}; those that it has: {there}.")
        if len(found) > 1:
            raise BadInputError(f"There are {len(found)} revisions of {name}: say which by `--revision`.")
        (model,) = found
        if (model.name, model.revision) == keep:
            raise BadInputError(f"{name} is the model that search uses: set CHANNELSCRIBE_PROFILE to another first.")
        if model.n_alone:
            raise BadInputError(
                f"{model.n_alone} of the videos have text embeddings of {name} alone, and would not be found by "
                "their meaning: trigger the DAG reprocess first."
            )
        cursor.execute(
            "SELECT model_id FROM embedding_models WHERE kind = 'text' AND name = %s AND revision = %s",
            (model.name, model.revision),
        )
        ((model_id,),) = cursor.fetchall()
        cursor.execute("DELETE FROM text_embeddings WHERE model_id = %s", (model_id,))
        cursor.execute("DELETE FROM embedding_models WHERE model_id = %s", (model_id,))
        for table in TABLES["text"]:
            cursor.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(f"{table}_hnsw_{model_id}")))
    return model


def _profile_of(model: Model) -> str:
    profiles = profiles_with("embed_text", *model)
    if not profiles:
        raise BadInputError("no profile has this model any more; the DAG reprocess gives them another's.")
    return profiles[0].name

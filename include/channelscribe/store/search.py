"""Search of the archive by words and by meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
from psycopg2 import sql

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.fusion import reciprocal_rank_fusion
from channelscribe.store.links import link_at
from channelscribe.store.matching import MatchedWord, best_run
from channelscribe.store.models import EmbeddingModel, find_model

Key = tuple[str, int]

# How far down a chunk may stand in one list and still be found: beyond it its share of the score is small.
_CANDIDATES = 100
# Marks around highlighted words: characters that nobody says, so that they cannot be taken for text.
_START, _STOP = "\x02", "\x03"

# Who says an utterance stands in the view, whether its cluster was named, or it itself, or nobody.
_SPEAKER_IS = "(lower(k.label) = lower(%(speaker)s) OR lower(k.cluster) = lower(%(speaker)s))"
_IN_CHUNK = "k.video_id = c.video_id AND k.utterance_index BETWEEN c.first_utterance AND c.last_utterance"
_FILTERS = {
    "speaker": f"EXISTS (SELECT FROM utterance_speakers k WHERE {_IN_CHUNK} AND {_SPEAKER_IS})",
    "channel": "(lower(n.title) = lower(%(channel)s) OR lower(rtrim(n.url, '/')) = lower(rtrim(%(channel)s, '/')) "
    "OR strpos(lower(n.url) || '/', '/' || lower(%(channel)s) || '/') > 0)",
    "since": "v.published_at >= %(since)s",
}
# Words that another voice in the chunk said do not count where one speaker is asked for.
_SPEAKER_SAID = f"""
to_tsvector(c.text_config, (
    SELECT string_agg(u.text, ' ' ORDER BY u.utterance_index)
    FROM utterances u JOIN utterance_speakers k USING (video_id, utterance_index)
    WHERE {_IN_CHUNK} AND {_SPEAKER_IS})) @@ q.query
"""  # noqa: S608 - a constant of this module
# A query for each language that the archive has: with the configuration as a constant, the index can be used.
_BY_WORDS = """
WITH configs AS (SELECT DISTINCT text_config FROM videos),
     q AS (SELECT text_config, websearch_to_tsquery(text_config, %(words)s) AS query FROM configs)
SELECT c.video_id, c.chunk_index
FROM q JOIN chunks c ON c.text_config = q.text_config AND c.text_search @@ q.query
JOIN videos v USING (video_id) JOIN channels n USING (channel_id)
WHERE {filters}
ORDER BY ts_rank_cd(c.text_search, q.query, 1) DESC, c.video_id, c.chunk_index
LIMIT %(candidates)s
"""
_BY_MEANING = """
SELECT c.video_id, c.chunk_index
FROM text_embeddings e JOIN chunks c USING (video_id, chunk_index)
JOIN videos v USING (video_id) JOIN channels n USING (channel_id)
WHERE e.model_id = {model_id} AND {filters}
ORDER BY e.embedding::{type} <=> %(vector)s::{type}
LIMIT %(candidates)s
"""
_DETAILS = f"""
SELECT c.video_id, c.chunk_index, v.title, n.title, v.url, v.published_at, c.start_s, c.end_s, c.text,
       c.text_search @@ q.query AS matches,
       ts_headline(c.text_config, c.text, q.query, %(marks)s) AS marked,
       ARRAY(SELECT k.label FROM utterance_speakers k WHERE {_IN_CHUNK} ORDER BY k.utterance_index) AS speakers
FROM unnest(%(video_ids)s::text[], %(chunk_indexes)s::int[]) AS wanted(video_id, chunk_index)
JOIN chunks c USING (video_id, chunk_index)
JOIN videos v USING (video_id) JOIN channels n USING (channel_id)
CROSS JOIN LATERAL (SELECT websearch_to_tsquery(c.text_config, %(words)s) AS query) q
"""  # noqa: S608 - a constant of this module
# Utterances of the chunks found, word by word, each with those of its lexemes that the query has too.
_WORDS = f"""
SELECT c.video_id, c.chunk_index, k.label, (w.word->>'start_s')::float8,
       ARRAY(SELECT unnest(tsvector_to_array(to_tsvector(c.text_config, w.word->>'text')))
             INTERSECT SELECT unnest(tsvector_to_array(to_tsvector(c.text_config, %(words)s))))
FROM unnest(%(video_ids)s::text[], %(chunk_indexes)s::int[]) AS wanted(video_id, chunk_index)
JOIN chunks c USING (video_id, chunk_index)
JOIN utterance_speakers k ON {_IN_CHUNK}
JOIN utterances u ON u.video_id = k.video_id AND u.utterance_index = k.utterance_index
CROSS JOIN LATERAL jsonb_array_elements(u.words) WITH ORDINALITY AS w(word, place)
WHERE {{filters}} AND (w.word->>'start_s')::float8 BETWEEN c.start_s AND c.end_s
ORDER BY c.video_id, c.chunk_index, u.utterance_index, w.place
"""  # noqa: S608 - a constant of this module


@dataclass(frozen=True)
class Hit:
    """One place where the archive answers a search.

    Args:
        video_id: which video.
        title: of the video.
        channel: title of its channel.
        published_at: when it appeared, if known.
        speakers: who speaks in the chunk, by name or else by cluster; first the one who speaks at ``start_s``.
        start_s: where the words that were searched begin, else where the chunk does.
        end_s: end of the chunk.
        text: of the chunk.
        highlights: (first, behind the last) character of every word of the text that was searched.
        link: opens the video at ``start_s``.
        score: by reciprocal rank fusion; of no meaning beyond its order.
    """

    video_id: str
    title: str
    channel: str
    published_at: datetime | None
    speakers: tuple[str, ...]
    start_s: float
    end_s: float
    text: str
    highlights: tuple[tuple[int, int], ...]
    link: str
    score: float

    @property
    def highlighted(self) -> str:
        """The text as Markdown, with the words that were searched in bold."""
        parts, at = [], 0
        for first, last in self.highlights:
            parts += [self.text[at:first], "**", self.text[first:last], "**"]
            at = last
        return "".join([*parts, self.text[at:]])


def search(
    connection: Connection,
    words: str,
    query_embedding: npt.NDArray[np.float32] | None,
    model: tuple[str, str],
    *,
    speaker: str | None = None,
    channel: str | None = None,
    since: date | None = None,
    limit: int = 10,
) -> list[Hit]:
    """Find chunks by their words and by their meaning, merged by reciprocal rank fusion (see ``store.fusion``).

    Words are read as a web search: ``"a phrase"``, ``or``, and ``-not``. They are stemmed by each video's language.

    Args:
        connection: to a migrated archive.
        words: what to search for.
        query_embedding: (dim,) float32 of the words, or None to search by words alone.
        model: name and revision of the model that made it.
        speaker: only what this speaker, by name or cluster label, says.
        channel: only this channel, by title, URL or handle.
        since: only videos published on this day (UTC) or later.
        limit: most hits to return.

    Raises:
        BadInputError: no words, or an embedding that does not fit the model.
    """
    if not words.strip() or "\x00" in words:
        raise BadInputError("There is nothing to search for: give some words.")
    given = {"speaker": speaker, "channel": channel, "since": since}
    filters = sql.SQL(" AND ").join(
        [sql.SQL("true"), *(sql.SQL(_FILTERS[name]) for name, value in given.items() if value is not None)]
    )
    parameters = {**given, "words": words, "candidates": max(_CANDIDATES, limit)}
    with errors_in_words(), connection, connection.cursor() as cursor:
        rankings = [_by_words(cursor, filters, parameters)]
        found = None if query_embedding is None else find_model(cursor, "text", *model)
        if found and query_embedding is not None:
            rankings.append(_by_meaning(cursor, filters, parameters, found, query_embedding))
        merged = reciprocal_rank_fusion(rankings)[:limit]
        return _hits(cursor, merged, parameters)


def _by_words(cursor: Cursor, filters: sql.Composable, parameters: Mapping[str, object]) -> list[Key]:
    if parameters["speaker"] is not None:
        filters = sql.SQL("{} AND {}").format(filters, sql.SQL(_SPEAKER_SAID))
    cursor.execute(sql.SQL(_BY_WORDS).format(filters=filters), parameters)
    return [(video_id, chunk_index) for video_id, chunk_index in cursor]


def _by_meaning(
    cursor: Cursor,
    filters: sql.Composable,
    parameters: Mapping[str, object],
    model: EmbeddingModel,
    vector: npt.NDArray[np.float32],
) -> list[Key]:
    if vector.shape != (model.dimension,):
        raise BadInputError(
            f"The words' embedding has the shape {vector.shape}, but the archive's vectors have {model.dimension} "
            "dimensions: search with the profile that the videos were loaded with."
        )
    # Without these the index yields its 40 nearest, and a filter leaves few of them or none.
    cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
    cursor.execute("SET LOCAL hnsw.ef_search = %s", (min(1000, int(str(parameters["candidates"]))),))
    cursor.execute(by_meaning_statement(model, filters), {**parameters, "vector": vector})
    return [(video_id, chunk_index) for video_id, chunk_index in cursor]


def by_meaning_statement(model: EmbeddingModel, filters: sql.Composable) -> sql.Composable:
    """The query for the nearest chunks, written such that the model's own index serves it."""
    return sql.SQL(_BY_MEANING).format(model_id=sql.Literal(model.model_id), type=model.indexed_type, filters=filters)


def _hits(cursor: Cursor, merged: Sequence[tuple[Key, float]], parameters: Mapping[str, object]) -> list[Hit]:
    wanted = {
        **parameters,
        "video_ids": [video_id for (video_id, _), _ in merged],
        "chunk_indexes": [chunk_index for (_, chunk_index), _ in merged],
        "marks": f'HighlightAll=true, StartSel="{_START}", StopSel="{_STOP}"',
    }
    cursor.execute(_DETAILS, wanted)
    details = {(row[0], row[1]): row[2:] for row in cursor}
    by_speaker = sql.SQL(_SPEAKER_IS if parameters["speaker"] is not None else "true")
    cursor.execute(sql.SQL(_WORDS).format(filters=by_speaker), wanted)
    words: dict[Key, list[MatchedWord]] = {}
    for video_id, chunk_index, speaker, start_s, lexemes in cursor:
        words.setdefault((video_id, chunk_index), []).append(MatchedWord(speaker, start_s, frozenset(lexemes)))
    # A chunk that another transaction deleted in between is left out.
    return [_hit(key, score, details[key], words.get(key, [])) for key, score in merged if key in details]


def _hit(key: Key, score: float, row: tuple, words: list[MatchedWord]) -> Hit:  # type: ignore[type-arg]
    title, channel, url, published_at, start_s, end_s, text, matches, marked, speakers = row
    first = best_run(words) if matches else None
    if first is None and words:
        first = words[0]
    if first is not None:
        start_s = first.start_s
        speakers = [first.speaker, *(speaker for speaker in speakers if speaker != first.speaker)]
    return Hit(
        video_id=key[0],
        title=title,
        channel=channel,
        published_at=published_at,
        speakers=tuple(dict.fromkeys(speakers)),
        start_s=start_s,
        end_s=end_s,
        text=text,
        highlights=_highlights(text, marked),
        link=link_at(url, start_s),
        score=score,
    )


def _highlights(text: str, marked: str) -> tuple[tuple[int, int], ...]:
    spans, position, first = [], 0, 0
    for character in marked:
        if character == _START:
            first = position
        elif character == _STOP:
            spans.append((first, position))
        else:
            position += 1
    # A text that holds the marks itself cannot be told apart from the marking, and is shown without.
    unmarked = marked.replace(_START, "").replace(_STOP, "")
    return tuple(spans) if unmarked == text else ()

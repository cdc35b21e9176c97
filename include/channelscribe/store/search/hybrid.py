"""Search of the archive by words and by meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
from psycopg2 import sql

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.links import link_at
from channelscribe.store.models import find_model
from channelscribe.store.search.fusion import reciprocal_rank_fusion
from channelscribe.store.search.matching import MatchedWord, best_run
from channelscribe.store.search.narrowing import IN_CHUNK, SPEAKER_IS, Narrowing, narrow
from channelscribe.store.search.nearest import Key, nearest_chunks
from channelscribe.store.search.query_terms import left_out, words_to_embed

# How far down a chunk may stand in one list and still be found: beyond it its share of the score is small.
_CANDIDATES = 100
# Marks around highlighted words: characters that nobody says, so that they cannot be taken for text.
_START, _STOP = "\x02", "\x03"

# Of more chunks that have the words, so many are ranked: for words that stand everywhere, ranking all takes seconds.
RANK_AT_MOST = 10_000

# Words that another voice in the chunk said do not count where one speaker is asked for.
_SPEAKER_SAID = f"""
c.first_utterance = c.last_utterance OR to_tsvector(c.text_config, (
    SELECT string_agg(u.text, ' ' ORDER BY u.utterance_index)
    FROM utterances u JOIN utterance_speakers k USING (video_id, utterance_index)
    WHERE {IN_CHUNK} AND {SPEAKER_IS})) @@ c.query
"""  # noqa: S608 - constants
# Ranked first, as what another voice said costs more to find out than a rank.
_BY_WORDS = """
SELECT video_id, chunk_index FROM (
    SELECT video_id, chunk_index, text_config, first_utterance, last_utterance, query,
           ts_rank_cd(text_search, query, 1) AS rank
    FROM ({matching}) matching
    ORDER BY rank DESC, video_id, chunk_index
) c
WHERE {said}
ORDER BY rank DESC, video_id, chunk_index
LIMIT %(candidates)s
"""
# For each language that the archive has: with its query as a constant, the index can be used, and the planner knows how
# many chunks have the words.
_MATCHING = """
(SELECT c.*, {query} AS query FROM chunks c {join}
WHERE c.text_config = {config}::regconfig AND c.text_search @@ {query} AND {of_chunks}
LIMIT %(rank_at_most)s)
"""
_QUERY = "websearch_to_tsquery({config}::regconfig, %(words)s)"
_DETAILS = f"""
SELECT c.video_id, c.chunk_index, v.title, n.title, v.url, v.published_at, c.start_s, c.end_s, c.text,
       c.text_search @@ q.query AS matches,
       ts_headline(c.text_config, c.text, q.query, %(marks)s) AS marked,
       ARRAY(SELECT k.label FROM utterance_speakers k WHERE {IN_CHUNK} ORDER BY k.utterance_index) AS speakers,
       l.availability
FROM unnest(%(video_ids)s::text[], %(chunk_indexes)s::int[]) AS wanted(video_id, chunk_index)
JOIN chunks c USING (video_id, chunk_index)
JOIN videos v USING (video_id) JOIN channels n USING (channel_id)
LEFT JOIN listed_videos l USING (video_id)
CROSS JOIN LATERAL (SELECT websearch_to_tsquery(c.text_config, %(words)s) AS query) q
"""  # noqa: S608 - a constant of this module
# Utterances of the chunks found, word by word, each with those of its lexemes that the query has too.
_WORDS = f"""
SELECT c.video_id, c.chunk_index, k.label, (w.word->>'start_s')::float8,
       ARRAY(SELECT unnest(tsvector_to_array(to_tsvector(c.text_config, w.word->>'text')))
             INTERSECT SELECT unnest(q.lexemes))
FROM unnest(%(video_ids)s::text[], %(chunk_indexes)s::int[]) AS wanted(video_id, chunk_index)
JOIN chunks c USING (video_id, chunk_index)
CROSS JOIN LATERAL (SELECT tsvector_to_array(to_tsvector(c.text_config, %(words)s)) AS lexemes OFFSET 0) q
JOIN utterance_speakers k ON {IN_CHUNK}
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
        availability: whether the site still hands the video out, as it said last (`contracts.Availability`); None where
            no poll has listed it.
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
    availability: str | None

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
    video: str | None = None,
    since: date | None = None,
    until: date | None = None,
    limit: int = 10,
    others: Sequence[tuple[tuple[str, str], npt.NDArray[np.float32]]] = (),
) -> list[Hit]:
    """Find chunks by their words and by their meaning, merged by reciprocal rank fusion (see ``store.search.fusion``).

    Words are read as a web search: ``"a phrase"``, ``or``, and ``-not``, which holds for the meaning
    too. They are stemmed by each video's language.

    Args:
        connection: to a migrated archive.
        words: what to search for.
        query_embedding: (dim,) float32 of the words to embed (`words_to_embed`), or None to search by words alone.
        model: name and revision of the model that made it.
        speaker: only what this speaker, by name or cluster label, says.
        channel: only this channel, by title, URL or handle.
        video: only this video, by id or URL.
        since: only videos published on this day (UTC) or later.
        until: only videos published on this day (UTC) or earlier.
        limit: most hits to return.
        others: further models, each with its embedding of the words, for videos that have none of the first model.

    Raises:
        BadInputError: no words to find, or an embedding that does not fit the model.
    """
    if not words_to_embed(words).strip() or "\x00" in words:
        raise BadInputError("There is nothing to search for: give some words.")
    candidates = max(_CANDIDATES, limit)
    with errors_in_words(), connection, connection.cursor() as cursor:
        narrowing = narrow(cursor, speaker=speaker, channel=channel, video=video, since=since, until=until)
        cursor.execute("SELECT DISTINCT text_config::text FROM videos ORDER BY 1")
        configs = [name for (name,) in cursor]
        rankings = [_by_words(cursor, words, configs, narrowing, candidates)]
        narrowing = replace(narrowing, left_out=left_out(words, configs))
        found = find_model(cursor, "text", *model)
        if found and query_embedding is not None:
            rankings.append(nearest_chunks(cursor, found, query_embedding, narrowing, candidates))
        for other, embedding in others:
            if beside := find_model(cursor, "text", *other):
                rankings.append(nearest_chunks(cursor, beside, embedding, narrowing, candidates, without=found))
        merged = reciprocal_rank_fusion(rankings)[:limit]
        return _hits(cursor, merged, {"words": words, "speaker": speaker})


def _by_words(cursor: Cursor, words: str, configs: Sequence[str], narrowing: Narrowing, n: int) -> list[Key]:
    matching = []
    for name in configs:
        config = sql.Literal(name)
        query = sql.SQL(_QUERY).format(config=config)
        matching.append(
            sql.SQL(_MATCHING).format(
                config=config, query=query, join=narrowing.join_of_chunks, of_chunks=narrowing.of_chunks
            )
        )
    if not matching:
        return []
    said = sql.SQL(_SPEAKER_SAID if narrowing.by_speaker else "true")
    statement = sql.SQL(_BY_WORDS).format(matching=sql.SQL(" UNION ALL ").join(matching), said=said)
    parameters = {"words": words, "rank_at_most": RANK_AT_MOST, "candidates": n}
    cursor.execute(statement, {**narrowing.parameters, **parameters})
    return [(video_id, chunk_index) for video_id, chunk_index in cursor]


def _hits(cursor: Cursor, merged: Sequence[tuple[Key, float]], parameters: Mapping[str, object]) -> list[Hit]:
    wanted = {
        **parameters,
        "video_ids": [video_id for (video_id, _), _ in merged],
        "chunk_indexes": [chunk_index for (_, chunk_index), _ in merged],
        "marks": f'HighlightAll=true, StartSel="{_START}", StopSel="{_STOP}"',
    }
    cursor.execute(_DETAILS, wanted)
    details = {(row[0], row[1]): row[2:] for row in cursor}
    by_speaker = sql.SQL(SPEAKER_IS if parameters["speaker"] is not None else "true")
    cursor.execute(sql.SQL(_WORDS).format(filters=by_speaker), wanted)
    words: dict[Key, list[MatchedWord]] = {}
    for video_id, chunk_index, speaker, start_s, lexemes in cursor:
        words.setdefault((video_id, chunk_index), []).append(MatchedWord(speaker, start_s, frozenset(lexemes)))
    # A chunk that another transaction deleted in between is left out.
    return [_hit(key, score, details[key], words.get(key, [])) for key, score in merged if key in details]


def _hit(key: Key, score: float, row: tuple, words: list[MatchedWord]) -> Hit:  # type: ignore[type-arg]
    title, channel, url, published_at, start_s, end_s, text, matches, marked, speakers, availability = row
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
        availability=availability,
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

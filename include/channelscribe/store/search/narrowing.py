"""What a search's filters let through: resolved to videos and speakers first, then a condition on each chunk."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from psycopg2 import sql

from channelscribe.channels.source import normalise_channel
from channelscribe.errors import BadInputError
from channelscribe.store.connection import Cursor

IN_CHUNK = "k.video_id = c.video_id AND k.utterance_index BETWEEN c.first_utterance AND c.last_utterance"
# Who says an utterance stands in the view, whether its cluster was named, or it itself, or nobody.
SPEAKER_IS = "(lower(k.label) = lower(%(speaker)s) OR lower(k.cluster) = lower(%(speaker)s))"

# Of a video `v` and its channel `n`.
VIDEO_FILTERS = {
    "channel": "(lower(n.title) = lower(%(channel)s) OR lower(rtrim(n.url, '/')) = lower(rtrim(%(channel_url)s, '/')) "
    "OR strpos(lower(n.url) || '/', '/' || lower(%(channel)s) || '/') > 0)",
    "video": "(v.video_id = %(video)s OR v.url = %(video)s)",
    "since": "v.published_at >= %(since)s::date::timestamp AT TIME ZONE 'UTC'",
    "until": "v.published_at < (%(until)s::date + 1)::timestamp AT TIME ZONE 'UTC'",
}
_SPEAKER_IDS = "SELECT speaker_id FROM speakers WHERE lower(name) = lower(%(speaker)s)"
_CLUSTERS = """
SELECT video_id, cluster, n_turns FROM clusters WHERE speaker_id = ANY(%(speaker_ids)s::bigint[])
UNION SELECT video_id, cluster, n_turns FROM clusters WHERE lower(cluster) = lower(%(speaker)s)
"""
# Utterances that are somebody's while their cluster is a mix of voices.
_MIXED = "SELECT video_id, count(*) FROM utterances WHERE speaker_id = ANY(%(speaker_ids)s::bigint[]) GROUP BY video_id"
_COUNT = "SELECT count(*) FROM (SELECT FROM chunks WHERE video_id = ANY(%(video_ids)s::text[]) LIMIT %(at_most)s) few"

# Voice by voice: of many at once, the index takes a time that grows with their number times that of the chunks.
# The keys come as arrays in Postgres's own notation, to be handed back as they are.
_CHUNKS = f"""
SELECT array_agg(video_id)::text, array_agg(chunk_index)::text FROM (
SELECT c.video_id, c.chunk_index FROM unnest(%(voices)s::text[]) AS voice
CROSS JOIN LATERAL (
    SELECT video_id, chunk_index FROM chunks WHERE chunk_voices(video_id, clusters) @> ARRAY[voice] OFFSET 0
) c
UNION
SELECT c.video_id, c.chunk_index FROM chunks c
WHERE c.video_id = ANY(%(mixed_in)s::text[])
  AND EXISTS (SELECT FROM utterance_speakers k WHERE {IN_CHUNK} AND {SPEAKER_IS})
) found
"""  # noqa: S608 - constants of this module
# Joined to chunks `c`, few that are known: by IN, the planner takes them for a tenth of their number.
_KNOWN = """
JOIN unnest(%(chunk_videos)s::text[], %(chunk_indexes)s::integer[]) AS known (of_video, at)
ON c.video_id = known.of_video AND c.chunk_index = known.at
"""
# The condition on a chunk `c` that it is one of a speaker's many.
_SPEAKS = f"""
(EXISTS (SELECT FROM clusters k WHERE k.video_id = c.video_id AND k.cluster = ANY(c.clusters)
         AND (k.speaker_id = ANY(%(speaker_ids)s::bigint[]) OR lower(k.cluster) = lower(%(speaker)s)))
 OR c.video_id = ANY(%(mixed_in)s::text[])
    AND EXISTS (SELECT FROM utterance_speakers k WHERE {IN_CHUNK} AND {SPEAKER_IS}))
"""  # noqa: S608 - constants of this module

# Up to about so many chunks it costs less to look at each than to go through an index of all for those among them.
FEW_CHUNKS = 20_000


@dataclass(frozen=True)
class Narrowing:
    """What filters let through.

    Args:
        few: whether that is about `FEW_CHUNKS` chunks at most.
        by_video: whether only some videos are let through.
        by_speaker: whether only chunks are let through in which a speaker is heard.
        parameters: of the conditions.
        left_out: the condition on chunks ``c`` that they are not let through for what is said in them.
    """

    few: bool = False
    by_video: bool = False
    by_speaker: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    left_out: sql.Composable | None = None

    def of_videos(self, alias: str) -> sql.Composable:
        """The condition on the videos of a table's rows."""
        condition = "{}.video_id = ANY(%(video_ids)s::text[])" if self.by_video else "true"
        return sql.SQL(condition).format(sql.Identifier(alias))

    @property
    def join_of_chunks(self) -> sql.Composable:
        """What is joined to chunks ``c``; goes with `of_chunks`."""
        return sql.SQL(_KNOWN if self.by_speaker and self.few else "")

    @property
    def of_chunks(self) -> sql.Composable:
        """The condition on chunks ``c``, to which `join_of_chunks` was joined."""
        if not self.by_speaker:
            return self.of_videos("c")
        return sql.SQL("true" if self.few else f"{{}} AND {_SPEAKS}").format(self.of_videos("c"))


def channel_names(channel: str | None) -> dict[str, str | None]:
    """The parameters of the filter by channel: what was given, and the URL that it stands for."""
    url = channel
    if channel is not None:
        with suppress(BadInputError):
            url = normalise_channel(channel)
    return {"channel": channel, "channel_url": url}


def narrow(
    cursor: Cursor,
    *,
    speaker: str | None,
    channel: str | None,
    video: str | None,
    since: date | None,
    until: date | None,
) -> Narrowing:
    """Look up what filters mean; those that are None let all through."""
    given = {**channel_names(channel), "video": video, "since": since, "until": until}
    conditions = [condition for name, condition in VIDEO_FILTERS.items() if given[name] is not None]
    videos: set[str] | None = None
    if conditions:
        statement = "SELECT v.video_id FROM videos v JOIN channels n USING (channel_id) WHERE {}"
        cursor.execute(sql.SQL(statement).format(sql.SQL(" AND ").join(map(sql.SQL, conditions))), given)
        videos = {row[0] for row in cursor}
    if speaker is not None:
        return _by_speaker(cursor, speaker, videos)
    if videos is None:
        return Narrowing()
    parameters: dict[str, Any] = {"video_ids": _array(videos), "at_most": FEW_CHUNKS + 1}
    cursor.execute(_COUNT, parameters)
    ((n_chunks,),) = cursor.fetchall()
    return Narrowing(few=n_chunks <= FEW_CHUNKS, by_video=True, parameters=parameters)


def _by_speaker(cursor: Cursor, speaker: str, videos: set[str] | None) -> Narrowing:
    parameters: dict[str, Any] = {"speaker": speaker}
    cursor.execute(_SPEAKER_IDS, parameters)
    parameters["speaker_ids"] = [row[0] for row in cursor]
    cursor.execute(_CLUSTERS, parameters)
    clusters = [row for row in cursor if videos is None or row[0] in videos]
    cursor.execute(_MIXED, parameters)
    mixed = {video_id: n for video_id, n in cursor if videos is None or video_id in videos}
    parameters |= {
        "mixed_in": _array(mixed),
        "voices": _array(f"{video_id} {cluster}" for video_id, cluster, _ in clusters),
        "video_ids": _array({video_id for video_id, *_ in clusters} | mixed.keys()),
    }
    # A turn is an utterance, and few chunks have more than some: near enough to choose by.
    few = sum(n_turns for *_, n_turns in clusters) + sum(mixed.values()) <= FEW_CHUNKS
    if few:
        cursor.execute(_CHUNKS, parameters)
        ((videos_of, indexes),) = cursor.fetchall()
        parameters |= {"chunk_videos": videos_of or "{}", "chunk_indexes": indexes or "{}"}
    return Narrowing(few=few, by_video=True, by_speaker=True, parameters=parameters)


def _array(values: Iterable[str]) -> str:
    """Texts in Postgres's own notation of an array: with thousands, psycopg2's takes far longer."""
    quoted = (value.replace("\\", r"\\").replace('"', r"\"") for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"

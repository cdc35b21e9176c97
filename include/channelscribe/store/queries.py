"""What the DAG, the demo and the reports ask the archive, and the record of runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg2.extras import Json

from channelscribe.profiles import STAGES
from channelscribe.store.connection import Connection, errors_in_words

RunState = Literal["running", "success", "failed"]


@dataclass(frozen=True)
class Said:
    """One utterance, with the speaker's name or else the cluster's label."""

    start_s: float
    end_s: float
    speaker: str
    text: str


@dataclass(frozen=True)
class LoadedVideo:
    """A video in the archive and its first utterances."""

    video_id: str
    title: str
    channel: str
    url: str
    audio_s: float
    n_utterances: int
    speakers: tuple[str, ...]
    first_utterances: tuple[Said, ...]


@dataclass(frozen=True)
class StageTime:
    """Time of one stage over some videos; ``processing_s`` includes starting programs and loading models."""

    stage: str
    n_videos: int
    audio_s: float
    processing_s: float

    @property
    def rtfx(self) -> float | None:
        """Audio seconds / processing seconds, as a ratio of sums; None where no time was measured."""
        return self.audio_s / self.processing_s if self.processing_s else None


def loaded_video_ids(connection: Connection, video_ids: Collection[str] | None = None) -> set[str]:
    """Those of the videos that the archive has; all that it has without a list."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        if video_ids is None:
            cursor.execute("SELECT video_id FROM videos")
        else:
            cursor.execute("SELECT video_id FROM videos WHERE video_id = ANY(%s)", (list(video_ids),))
        return {row[0] for row in cursor}


def failing_videos(connection: Connection) -> set[str]:
    """Videos that failed in each of their last three runs, the last of them within a week."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT video_id FROM (
                SELECT video_id, failed_stage, started_at,
                       row_number() OVER (PARTITION BY video_id ORDER BY started_at DESC) AS nth
                FROM run_videos JOIN ingest_runs USING (run_id)
            ) newest
            WHERE nth <= 3 GROUP BY video_id
            HAVING count(failed_stage) = 3 AND max(started_at) > now() - interval '7 days'
            """
        )
        return {row[0] for row in cursor}


def videos_with_first_utterances(
    connection: Connection, video_ids: Collection[str] | None = None, *, n_utterances: int = 5
) -> list[LoadedVideo]:
    """Videos, newest first, each with its speakers in order of appearance and its first utterances."""
    wanted = None if video_ids is None else list(video_ids)
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT v.video_id, v.title, c.title, v.url, v.audio_s
            FROM videos v JOIN channels c USING (channel_id)
            WHERE %(ids)s IS NULL OR v.video_id = ANY(%(ids)s::text[])
            ORDER BY v.published_at DESC NULLS LAST, v.video_id
            """,
            {"ids": wanted},
        )
        videos = cursor.fetchall()
        cursor.execute(
            """
            SELECT u.video_id, u.utterance_index, u.start_s, u.end_s, k.label,
                   CASE WHEN u.utterance_index < %(n)s THEN u.text END
            FROM utterances u JOIN utterance_speakers k USING (video_id, utterance_index)
            WHERE %(ids)s IS NULL OR u.video_id = ANY(%(ids)s::text[])
            ORDER BY u.video_id, u.utterance_index
            """,
            {"ids": wanted, "n": n_utterances},
        )
        said: dict[str, list[tuple[int, Said]]] = {}
        for video_id, index, start_s, end_s, speaker, text in cursor:
            said.setdefault(video_id, []).append((index, Said(start_s, end_s, speaker, text)))
    return [
        LoadedVideo(
            video_id=video_id,
            title=title,
            channel=channel,
            url=url,
            audio_s=audio_s,
            n_utterances=len(said.get(video_id, [])),
            speakers=tuple(dict.fromkeys(utterance.speaker for _, utterance in said.get(video_id, []))),
            first_utterances=tuple(u for index, u in said.get(video_id, []) if index < n_utterances),
        )
        for video_id, title, channel, url, audio_s in videos
    ]


def time_by_stage(connection: Connection, video_ids: Collection[str] | None = None) -> list[StageTime]:
    """What every stage took for the present content of the videos, in the order of work."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, count(*), sum(audio_s), sum(total_s) FROM stage_runs "
            "WHERE %(ids)s IS NULL OR video_id = ANY(%(ids)s::text[]) GROUP BY stage",
            {"ids": None if video_ids is None else list(video_ids)},
        )
        times = {row[0]: StageTime(*row) for row in cursor}
    return [times[stage] for stage in STAGES if stage in times]


def record_ingest_run(
    connection: Connection,
    run_id: str,
    state: RunState,
    *,
    params: Mapping[str, object] | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Note that a run began (``running``) or how it ended; what is not given stays as it was noted before."""
    values = {
        "run_id": run_id,
        "state": state,
        "params": None if params is None else Json(dict(params)),
        "counts": None if counts is None else Json(dict(counts)),
    }
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ingest_runs AS r (run_id, state, params, counts, finished_at)
            VALUES (%(run_id)s, %(state)s, coalesce(%(params)s::jsonb, '{}'), coalesce(%(counts)s::jsonb, '{}'),
                    CASE WHEN %(state)s <> 'running' THEN now() END)
            ON CONFLICT (run_id) DO UPDATE SET
                state = excluded.state,
                params = coalesce(%(params)s::jsonb, r.params),
                counts = coalesce(%(counts)s::jsonb, r.counts),
                finished_at = excluded.finished_at
            """,
            values,
        )

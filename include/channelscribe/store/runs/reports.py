"""Reports of runs, kept in the archive: written once, read by the command, by the pages, and by later reports."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg2.extras import Json, execute_values

from channelscribe.contracts import GpuSample
from channelscribe.errors import BadInputError
from channelscribe.profiles import STAGES
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.queries import RunState
from channelscribe.store.staging import clean
from channelscribe.telemetry.comparison import N_EARLIER, Figures, compare
from channelscribe.telemetry.gpu_use import GpuRun, GpuUse, Range
from channelscribe.telemetry.report import FailedVideo, RunReport
from channelscribe.telemetry.run_times import PARTS, StageTime, VideoTime

_ORDER = (*STAGES, "load")
_TIMES = (
    "n_videos", "audio_s", "container_s", "start_s", "import_s", "load_s", "work_s", "n_texts", "n_tokens",
    "embedding_s",
)  # fmt: skip
_RANGES = ("sm_percent", "vram_percent", "temperature_c", "power_w")
_SECONDS = tuple(f"{part}_s" for part in PARTS)
_RUN = (
    "run_id", "state", "params", "counts", "started_at", "finished_at", "profile", "summary", "elapsed_s", "audio_s",
    "gpu_busy_share", "energy_wh", "skipped", "failed_channels", "failed_discovery",
)  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """One run, as the archive knows it without its details. What is None is of a run without a report (yet)."""

    run_id: str
    state: RunState
    params: Mapping[str, object]
    counts: Mapping[str, int]
    started_at: datetime
    finished_at: datetime | None
    profile: str | None
    summary: str | None
    elapsed_s: float | None
    audio_s: float | None
    gpu_busy_share: float | None
    energy_wh: float | None
    skipped: Mapping[str, int]
    failed_channels: Mapping[str, str]
    failed_discovery: str | None

    @property
    def dag_id(self) -> str:
        """Id of its DAG."""
        return self.run_id.partition("/")[0]

    @property
    def airflow_id(self) -> str:
        """Its id in Airflow."""
        return self.run_id.partition("/")[2]


def run_began_at(connection: Connection, run_id: str) -> datetime | None:
    """When a run chose its videos, the first time; None if it never did."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT started_at FROM ingest_runs WHERE run_id = %s", (run_id,))
        row = cursor.fetchone()
    return row[0] if row else None


def seconds_so_far(connection: Connection, run_id: str, attempt_at: datetime) -> float:
    """Seconds that Airflow had a run at work in the attempts before one; another begins when tasks are cleared later.

    Args:
        connection: to the archive.
        run_id: the run.
        attempt_at: when the present attempt began.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN attempt_at < %s THEN elapsed_s ELSE earlier_s END FROM ingest_runs "
            "WHERE run_id = %s AND elapsed_s IS NOT NULL",
            (attempt_at, run_id),
        )
        row = cursor.fetchone()
    return row[0] if row else 0.0


def save_report(connection: Connection, report: RunReport, attempt_at: datetime) -> None:
    """Keep the report of a run that has ended, in place of an earlier one.

    Args:
        connection: to the archive.
        report: with its ``run_id``, ``started_at`` and ``elapsed_s``.
        attempt_at: when the run's present attempt began.
    """
    earlier_s = seconds_so_far(connection, report.run_id, attempt_at)
    with errors_in_words(), connection, connection.cursor() as cursor:
        _put_run(cursor, report, attempt_at, earlier_s)
        for table in ("run_stages", "run_gpu_samples"):
            cursor.execute(f"DELETE FROM {table} WHERE run_id = %s", (report.run_id,))  # noqa: S608 - a constant
        _put_stages(cursor, report)
        _put_videos(cursor, report)
        execute_values(
            cursor,
            f"INSERT INTO run_gpu_samples (run_id, at_s, span_s, {', '.join(_RANGES)}) VALUES %s",  # noqa: S608
            [
                (report.run_id, sample.at_s, sample.span_s, *(getattr(sample, name) for name in _RANGES))
                for sample in (report.gpu.moments if report.gpu else ())
            ],
        )


def save_failure(connection: Connection, run_id: str, sentence: str) -> None:
    """Note that a run failed before it came to any video."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ingest_runs (run_id, state, summary, finished_at) VALUES (%s, 'failed', %s, now()) "
            "ON CONFLICT (run_id) DO UPDATE SET state = excluded.state, summary = excluded.summary, "
            "finished_at = excluded.finished_at",
            (run_id, clean(sentence)),
        )


def list_runs(connection: Connection, limit: int) -> list[RunRecord]:
    """The newest runs, newest first."""
    return _runs(connection, "TRUE ORDER BY started_at DESC, run_id LIMIT %(limit)s", limit=limit)


def unfinished_runs(connection: Connection) -> list[RunRecord]:
    """The runs that chose videos, and of which nobody has written yet how they ended."""
    return _runs(connection, "state = 'running' ORDER BY started_at, run_id")


def find_run(connection: Connection, name: str | None) -> RunRecord:
    """A run by its id in Airflow, with or without its DAG; the newest with a report without a name.

    Raises:
        BadInputError: there is none, or several.
    """
    if name is None:
        found = _runs(connection, "profile IS NOT NULL ORDER BY started_at DESC, run_id LIMIT 1")
        if not found:
            raise BadInputError("There is no report yet: the first run that ends writes one.")
        return found[0]
    found = _runs(connection, "run_id = %(name)s OR split_part(run_id, '/', 2) = %(name)s", name=name)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInputError(f"{name} is the id of several runs: {', '.join(run.run_id for run in found)}.")
    last = ", ".join(run.run_id for run in list_runs(connection, 5))
    raise BadInputError(f"There is no run {name}. The last ones: {last or 'none at all'}.")


def full_report(connection: Connection, run: RunRecord) -> RunReport | None:
    """The report of a run, compared with those before it; None where none was kept: it is at work still, or too old."""
    for report in read_reports(connection, [run], details=True):
        return replace(report, compared=compare(report.figures, earlier_figures(connection, report)))
    return None


def read_reports(connection: Connection, runs: Sequence[RunRecord], *, details: bool = False) -> list[RunReport]:
    """The reports of runs, without their videos and their moments of the GPU unless with details."""
    ids = [run.run_id for run in runs if run.profile is not None]
    with errors_in_words(), connection, connection.cursor() as cursor:
        stages = _read_stages(cursor, ids)
        videos = _read_videos(cursor, ids) if details else {}
        moments = _read_moments(cursor, ids) if details else {}
    result = []
    for run in runs:
        if run.profile is not None:
            own = videos.get(run.run_id, [])
            result.append(_report(run, stages.get(run.run_id, {}), own, moments.get(run.run_id, ())))
    return result


def earlier_figures(connection: Connection, report: RunReport) -> list[Figures]:
    """The figures of the runs before one that had the same profile and did something, newest first.

    Three times as many as are compared: of a figure, not every run has it.
    """
    runs = _runs(
        connection,
        "profile = %(profile)s AND run_id <> %(run_id)s AND started_at < %(started_at)s AND audio_s > 0 "
        "ORDER BY started_at DESC, run_id LIMIT %(most)s",
        profile=report.profile, run_id=report.run_id, started_at=report.started_at, most=3 * N_EARLIER,
    )  # fmt: skip
    return [one.figures for one in read_reports(connection, runs)]


def _runs(connection: Connection, condition: str, **values: object) -> list[RunRecord]:
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(_RUN)} FROM ingest_runs WHERE {condition}", values)  # noqa: S608 - constants
        return [RunRecord(*row) for row in cursor]


def _put_run(cursor: Cursor, report: RunReport, attempt_at: datetime, earlier_s: float) -> None:
    values = {
        "run_id": report.run_id, "state": "success" if report.ok else "failed", "profile": report.profile,
        "counts": Json(report.counts), "started_at": report.started_at, "summary": clean(report.summary),
        "attempt_at": attempt_at, "earlier_s": earlier_s, "elapsed_s": report.elapsed_s, "audio_s": report.audio_s,
        "gpu_busy_share": report.gpu and report.gpu.busy_share, "energy_wh": report.gpu and report.gpu.energy_wh,
        "skipped": Json(dict(report.skipped)), "failed_discovery": report.failed_discovery,
        "failed_channels": Json({channel: clean(reason) for channel, reason in report.failed_channels.items()}),
    }  # fmt: skip
    changes = [f"{name} = excluded.{name}" for name in ("finished_at", *values) if name not in ("run_id", "started_at")]
    cursor.execute(
        f"INSERT INTO ingest_runs (finished_at, {', '.join(values)}) "  # noqa: S608 - constants
        f"VALUES (now(), {', '.join(f'%({name})s' for name in values)}) "
        f"ON CONFLICT (run_id) DO UPDATE SET {', '.join(changes)}",
        values,
    )


def _put_stages(cursor: Cursor, report: RunReport) -> None:
    rows = []
    for time in report.stage_times:
        use = report.gpu_uses.get(time.stage)
        gpu: tuple[object, ...] = (None,) * 8
        if use:
            ranges = [found and [found.min, found.median, found.max] for found in (getattr(use, n) for n in _RANGES)]
            gpu = (use.n_videos, use.busy_share, *ranges, use.energy_wh, list(use.unavailable))
        rows.append((report.run_id, time.stage, *(getattr(time, name) for name in _TIMES), *gpu))
    columns = ("run_id", "stage", *_TIMES, "n_gpu_videos", "gpu_busy_share", *_RANGES, "energy_wh", "gpu_unavailable")
    execute_values(cursor, f"INSERT INTO run_stages ({', '.join(columns)}) VALUES %s", rows)  # noqa: S608 - constants


def _put_videos(cursor: Cursor, report: RunReport) -> None:
    failed = {video.video_id: video for video in report.failed}
    rows = []
    for place, video in enumerate(report.videos):
        failure = failed.get(video.video_id)
        rows.append(
            (
                report.run_id, video.video_id, place, clean(video.title), video.map_index, video.audio_s,
                video.video_id in report.without_speech, failure and failure.stage, failure and clean(failure.reason),
                *(video.seconds.get(part) for part in PARTS),
            )
        )  # fmt: skip
    columns = (
        "run_id", "video_id", "place", "title", "map_index", "audio_s", "without_speech", "failed_stage", "reason",
        *_SECONDS,
    )  # fmt: skip
    # What a video waited is known to the attempt that ended it, and not to those after it.
    changes = [f"{name} = excluded.{name}" for name in columns[2:] if name != "waiting_s"]
    changes.append("waiting_s = coalesce(excluded.waiting_s, v.waiting_s)")
    execute_values(
        cursor,
        f"INSERT INTO run_videos AS v ({', '.join(columns)}) VALUES %s "  # noqa: S608 - constants
        f"ON CONFLICT (run_id, video_id) DO UPDATE SET {', '.join(changes)}",
        rows,
    )
    cursor.execute(
        "DELETE FROM run_videos WHERE run_id = %s AND video_id <> ALL(%s)",
        (report.run_id, [video.video_id for video in report.videos]),
    )


def _read_stages(cursor: Cursor, ids: Collection[str]) -> dict[str, dict[str, tuple[StageTime, GpuUse | None]]]:
    columns = (*_TIMES, "n_gpu_videos", "gpu_busy_share", *_RANGES, "energy_wh", "gpu_unavailable")
    cursor.execute(
        f"SELECT run_id, stage, {', '.join(columns)} FROM run_stages WHERE run_id = ANY(%s)",  # noqa: S608 - constants
        (list(ids),),
    )
    result: dict[str, dict[str, tuple[StageTime, GpuUse | None]]] = {}
    for run_id, stage, *values in cursor:
        times, (n_videos, busy, *ranges, energy_wh, unavailable) = values[: len(_TIMES)], values[len(_TIMES) :]
        use = None
        if n_videos is not None:
            sm, vram, temperature, power = (Range(*one) if one else None for one in ranges)
            use = GpuUse(n_videos, busy, sm, vram, temperature, power, tuple(unavailable), energy_wh)
        result.setdefault(run_id, {})[stage] = (StageTime(stage, *times), use)
    return result


def _read_videos(cursor: Cursor, ids: Collection[str]) -> dict[str, list[tuple[Any, ...]]]:
    cursor.execute(
        f"SELECT run_id, video_id, title, map_index, audio_s, without_speech, failed_stage, reason, "  # noqa: S608
        f"{', '.join(_SECONDS)} FROM run_videos WHERE run_id = ANY(%s) ORDER BY run_id, place",
        (list(ids),),
    )
    result: dict[str, list[tuple[Any, ...]]] = {}
    for run_id, *values in cursor:
        result.setdefault(run_id, []).append(tuple(values))
    return result


def _read_moments(cursor: Cursor, ids: Collection[str]) -> dict[str, tuple[GpuSample, ...]]:
    cursor.execute(
        f"SELECT run_id, at_s, span_s, {', '.join(_RANGES)} FROM run_gpu_samples "  # noqa: S608 - constants
        "WHERE run_id = ANY(%s) ORDER BY run_id, at_s",
        (list(ids),),
    )
    result: dict[str, tuple[GpuSample, ...]] = {}
    for run_id, at_s, span_s, *values in cursor:
        sample = GpuSample(at_s=at_s, span_s=span_s, **dict(zip(_RANGES, values, strict=True)))
        result[run_id] = (*result.get(run_id, ()), sample)
    return result


def _report(
    run: RunRecord,
    stages: Mapping[str, tuple[StageTime, GpuUse | None]],
    rows: Sequence[tuple[Any, ...]],
    moments: tuple[GpuSample, ...],
) -> RunReport:
    videos, loaded, without_speech, failed = [], [], [], []
    for video_id, title, map_index, audio_s, silent, failed_stage, reason, *seconds in rows:
        known = {part: value for part, value in zip(PARTS, seconds, strict=True) if value is not None}
        videos.append(VideoTime(video_id, title, map_index, audio_s, known))
        if failed_stage is None:
            loaded.append(video_id)
        else:
            failed.append(FailedVideo(video_id, title, failed_stage, reason))
        if silent:
            without_speech.append(video_id)
    in_order = [stages[stage] for stage in _ORDER if stage in stages]
    has_gpu = moments or run.gpu_busy_share is not None or run.energy_wh is not None
    return RunReport(
        n_channels=run.counts.get("channels", 0),
        n_listed=run.counts.get("listed", 0),
        n_waiting=run.counts.get("waiting", 0),
        n_unavailable=run.counts.get("unavailable", 0),
        n_held=run.counts.get("held", 0),
        loaded=tuple(loaded),
        without_speech=tuple(without_speech),
        failed=tuple(failed),
        failed_channels=run.failed_channels,
        failed_discovery=run.failed_discovery,
        stage_times=tuple(time for time, _ in in_order),
        gpu_uses={time.stage: use for time, use in in_order if use},
        nothing=run.summary,
        run_id=run.run_id,
        profile=run.profile,
        started_at=run.started_at,
        elapsed_s=run.elapsed_s,
        audio_s=run.audio_s or 0.0,
        skipped=run.skipped,
        videos=tuple(videos),
        gpu=GpuRun(run.gpu_busy_share, run.energy_wh, moments) if has_gpu else None,
    )

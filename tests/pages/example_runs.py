"""Runs to look at: a week of them on a GPU, one that failed early, and one that is at work."""

import math
from contextlib import closing
from datetime import UTC, datetime, timedelta

from channelscribe.contracts import GpuSample, Status
from channelscribe.store.connection import connect
from channelscribe.store.queries import record_ingest_run
from channelscribe.store.runs.reports import save_failure, save_report
from channelscribe.telemetry.gpu_use import GpuRun, GpuUse, Range
from channelscribe.telemetry.report import FailedVideo, RunReport
from channelscribe.telemetry.run_times import PARTS, StageTime, VideoTime
from channelscribe.workspace import Workspace

BEGAN = datetime(2026, 2, 1, 4, 0, 30, tzinfo=UTC)
VIDEOS = (
    ("advice-from-a-caterpillar", "Advice from a caterpillar", 1450.0),
    ("the-cheshire-cat", "The cheshire cat", 2900.0),
    ("a-mad-tea-party", "A mad tea party", 3600.0),
)
SHARES = (9.0, 14.0, 11.0, 0.5, 1.5, 2.0, 0.4, 2.5, 9.0, 30.0)
_LAST = 9


def fill_runs(dsn: str) -> None:
    """Keep the reports of runs, and what their channels list."""
    with closing(connect(dsn)) as connection:
        for number in range(_LAST + 1):
            save_report(connection, report(number), BEGAN + timedelta(days=number))
        save_failure(
            connection, "reprocess/manual__early", "select_videos failed: The archive has no video of @nobody."
        )
        record_ingest_run(connection, "channel_ingest/manual__now", "running", params={"profile": "bundled"})
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ingest_runs SET started_at = %s WHERE profile IS NULL", (BEGAN + timedelta(days=20),)
            )
            cursor.execute("UPDATE channels SET followed = true")
            cursor.execute(
                "INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability, duration_s) "
                "SELECT 'waits-' || n, 'w' || n, 'https://x.example/' || n, 'Waits ' || n, 'video', 'public', "
                "CASE WHEN n > 2 THEN 1800 END FROM generate_series(1, 12) n"
            )
            cursor.execute(
                "INSERT INTO channel_items (channel_id, video_id, place) "
                "SELECT (SELECT min(channel_id) FROM channels), 'waits-' || n, 100 + n FROM generate_series(1, 12) n"
            )


def run_id(number: int) -> str:
    """The id of one of the runs in the archive."""
    return f"channel_ingest/scheduled__{(BEGAN + timedelta(days=number)):%Y-%m-%dT%H:%M:%S}+00:00"


def report(number: int) -> RunReport:
    """A run of three videos; the last one was slow at `diarize`, and failed at a video and at a channel."""
    is_last = number == _LAST
    slow = 2.5 if is_last else 1 + 0.1 * math.sin(number)
    shares = [share * (slow if part == "diarization" else 1) for part, share in zip(PARTS, SHARES, strict=True)]
    times = tuple(
        VideoTime(video_id, title, index, audio_s, {p: s * audio_s / 1450 for p, s in zip(PARTS, shares, strict=True)})
        for index, (video_id, title, audio_s) in enumerate(VIDEOS)
    )
    bad = VideoTime("broken", "<b>Broken</b> | sound", 3, None, {"download": 4.0, "waiting": 20.0})
    by_part = {part: sum(video.seconds[part] for video in times) for part in PARTS}
    audio_s = sum(video.audio_s or 0 for video in times)
    return RunReport(
        n_channels=2, n_listed=40, n_waiting=12 - number % 4, n_unavailable=3,
        loaded=tuple(video_id for video_id, *_ in VIDEOS), without_speech=(),
        failed=(FailedVideo(bad.video_id, bad.title, "diarize", "The GPU failed: CUDA error."),) if is_last else (),
        failed_channels={"https://x.example/gone": "There is no feed."} if is_last else {},
        stage_times=tuple(_stages(by_part, audio_s)),
        gpu_uses={"diarize": GpuUse(3, 0.71, Range(0, 80, 99), None, Range(41, 66, 71), Range(38, 240, 310), (), 2.5)},
        run_id=run_id(number), profile="gpu", started_at=BEGAN + timedelta(days=number), elapsed_s=420.0 * slow,
        audio_s=audio_s, skipped={"in the archive already": 25, "waits for the next run": 9, "members only": 3},
        videos=(*times, bad) if is_last else times, gpu=_gpu(),
    )  # fmt: skip


def _stages(by_part, audio_s):
    start_s = by_part["start_up"] / 4
    for stage, parts in (
        ("fetch_audio", ("download",)),
        ("diarize", ("diarization",)),
        ("transcribe", ("transcription",)),
        ("identify_speakers", ("speaker_variance", "identification")),
        ("embed_text", ("text_embedding",)),
    ):
        work_s = sum(by_part[part] for part in parts)
        texts = {"n_texts": 900, "n_tokens": 61_000, "embedding_s": 2.6} if stage == "embed_text" else {}
        yield StageTime(stage, 3, audio_s, 0.8, 0.2, 0.4 * start_s, 0.6 * start_s, work_s, **texts)
    yield StageTime("load", 3, audio_s, 0, 0, 0, 0, by_part["loading"])


def _gpu() -> GpuRun:
    moments = tuple(
        GpuSample(
            at_s=20.0 + 2 * n, span_s=2.0, sm_percent=50 + 45 * math.sin(n / 4), vram_percent=20 + n / 6,
            temperature_c=50.0, power_w=150 + 100 * math.sin(n / 4),
        )
        for n in range(120) if not 50 < n < 65
    )  # fmt: skip
    return GpuRun(0.47, 9.1, moments)


def begin(workspace: Workspace, video_id: str, **states: str) -> None:
    """Let stages of a video stand as they are given."""
    for stage, state in states.items():
        code = 75 if state == "failed" else None if state == "running" else 0
        reason = "Out of memory." if state == "failed" else "Done."
        workspace.write_status(
            Status(video_id=video_id, stage=stage, state=state, exit_code=code, reason=reason, at=datetime.now(UTC))
        )

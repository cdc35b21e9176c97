"""Sends a run's metrics as a task's process does: set up like Airflow's task runner, and gone without a goodbye."""

import os
from datetime import UTC, datetime

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from channelscribe.telemetry.gpu_use import GpuRun, GpuUse
from channelscribe.telemetry.report import FailedVideo, RunReport
from channelscribe.telemetry.run_times import StageTime
from channelscribe_airflow.metrics import emit

stats.initialize(factory=get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on"))
emit(
    RunReport(
        n_channels=1, n_listed=9, n_waiting=5, n_unavailable=0, loaded=("a", "b"), without_speech=(),
        failed=(FailedVideo("c", "C", "diarize", "Out of memory."),),
        stage_times=(StageTime("diarize", 2, 7200.0, 0.0, 1.0, 2.0, 3.0, 594.0),),
        gpu_uses={"diarize": GpuUse(2, 0.75, None, None, None, None, ())},
        run_id="channel_ingest/manual__1", started_at=datetime(2026, 3, 2, tzinfo=UTC), elapsed_s=3600.0,
        audio_s=7200.0, gpu=GpuRun(0.5, 100.0, ()),
    )
)  # fmt: skip
os._exit(0)

"""A run's figures as metrics of Airflow's own: to StatsD or by OpenTelemetry, as Airflow is set to, or nowhere.

Before the names stands Airflow's prefix, `airflow.` unless it is set otherwise. The stage is part of the name, as plain
StatsD knows no tags; the DAG is a tag for those that do.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta

from airflow.sdk.observability.stats import Stats
from opentelemetry import metrics as otel

from channelscribe.telemetry.report import RunReport

logger = logging.getLogger(__name__)

PREFIX = "channelscribe"
_FLUSH_TIMEOUT_MS = 5000


def gauges(report: RunReport) -> Iterator[tuple[str, float]]:
    """Names and values of what a run ended with, as far as it is known."""
    run: dict[str, float | None] = {
        "audio_hours": report.audio_s / 3600,
        "rtfx": report.rtfx,
        "audio_hours_per_hour": report.audio_per_hour,
        "loaded": len(report.loaded),
        "failed": len(report.failed),
        "failed_channels": len(report.failed_channels),
        "backlog": report.n_waiting - report.n_held,
        "gpu_busy_share": report.gpu.busy_share if report.gpu else None,
        "energy_wh": report.gpu.energy_wh if report.gpu else None,
    }
    yield from ((f"{PREFIX}.run.{name}", value) for name, value in run.items() if value is not None)
    for time in report.stage_times:
        use = report.gpu_uses.get(time.stage)
        stage: dict[str, float | None] = {
            "rtfx": time.rtfx,
            "texts_per_s": time.texts_per_s,
            "tokens_per_s": time.tokens_per_s,
            "gpu_busy_share": use.busy_share if use else None,
        }
        yield from (
            (f"{PREFIX}.stage.{time.stage}.{name}", value) for name, value in stage.items() if value is not None
        )


def emit(report: RunReport) -> None:
    """Send the figures of a run that has ended. What does not reach its server fails nothing: it is said in the log."""
    tags = {"dag_id": report.run_id.partition("/")[0]}
    try:
        for name, value in gauges(report):
            Stats.gauge(name, value, tags=tags)
        for time in report.stage_times:
            Stats.timing(f"{PREFIX}.stage.{time.stage}.time", timedelta(seconds=time.total_s), tags=tags)
        if report.elapsed_s is not None:
            Stats.timing(f"{PREFIX}.run.time", timedelta(seconds=report.elapsed_s), tags=tags)
        for failed, number in (("videos", len(report.failed)), ("channels", len(report.failed_channels))):
            if number:
                Stats.incr(f"{PREFIX}.failures.{failed}", number, tags=tags)
        # The task's process ends soon, and without what Airflow registers for the end of a process.
        if flush := getattr(otel.get_meter_provider(), "force_flush", None):
            flush(_FLUSH_TIMEOUT_MS)
    except Exception as error:  # noqa: BLE001 - whatever the client of a server raises
        logger.warning("The run's metrics could not be sent: %s", error)

"""The page Pipeline: runs over time, where their time went, what was slow, what failed, what is still to be done."""

from collections.abc import Sequence
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from channelscribe.profiles import STAGES
from channelscribe.store.connection import Connection
from channelscribe.store.runs.overview import backlog, failures, group_failures, slowest_videos
from channelscribe.store.runs.reports import RunRecord, full_report, list_runs, read_reports
from channelscribe.telemetry.report import RunReport
from channelscribe_airflow.pages.airflow_links import for_templates
from channelscribe_airflow.pages.charts import Chart, bars, nice_top
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.gpu_chart import gpu_chart
from channelscribe_airflow.pages.rendering import render

MOST_RUNS = 200

router = APIRouter()


@router.get("/pipeline")
def pipeline(
    request: Request,
    user: GetUserDep,
    connection: Reading,
    runs: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 30,
) -> HTMLResponse:
    """The newest runs together."""
    records = list_runs(connection, runs)
    reports = {report.run_id: report for report in read_reports(connection, records)}
    in_order = [reports[run.run_id] for run in reversed(records) if run.run_id in reports]
    return render(
        request, user, "pipeline.html",
        records=records, reports=reports, charts=_charts(in_order), gpu=_gpu(connection, records),
        slowest=slowest_videos(connection, records), groups=group_failures(failures(connection, records)),
        backlog=backlog(connection), waiting=next((one.n_waiting for one in reversed(in_order)), None),
        number=runs, most=MOST_RUNS, **for_templates(request),
    )  # fmt: skip


def _charts(reports: Sequence[RunReport]) -> list[Chart]:
    worked = [report for report in reports if report.stage_times]
    return [*([_rtfx(worked), _stages(worked)] if worked else []), *([_queue(reports)] if reports else [])]


def _rtfx(reports: Sequence[RunReport]) -> Chart:
    values = [report.rtfx or 0.0 for report in reports]
    return _by_run(
        reports, "RTFx by run", [[(0, value)] for value in values],
        [f"RTFx {value:.1f}" for value in values],
        f"From {min(values):.1f} to {max(values):.1f}, {values[-1]:.1f} in the newest run.",
    )  # fmt: skip


def _stages(reports: Sequence[RunReport]) -> Chart:
    colours = {stage: number for number, stage in enumerate((*STAGES, "load"))}
    pieces = [[(colours[time.stage], time.total_s / 60) for time in report.stage_times] for report in reports]
    texts = [", ".join(f"{time.stage} {time.total_s / 60:.1f}" for time in report.stage_times) for report in reports]
    sums: dict[str, float] = {}
    for report in reports:
        for time in report.stage_times:
            sums[time.stage] = sums.get(time.stage, 0.0) + time.total_s
    total_s = sum(sums.values()) or 1.0
    shares = ", ".join(f"{stage} {100 * seconds / total_s:.0f} %" for stage, seconds in sums.items())
    present = {colours[stage]: stage for stage in colours if stage in sums}
    return _by_run(reports, "Time by stage, minutes", pieces, texts, f"Of all the time: {shares}.", present)


def _queue(reports: Sequence[RunReport]) -> Chart:
    values = [report.n_waiting for report in reports]
    return _by_run(
        reports, "Videos left waiting after each run", [[(1, value)] for value in values],
        [f"{value} waiting" for value in values], f"Up to {max(values)}, {values[-1]} after the newest run.",
    )  # fmt: skip


def _by_run(
    reports: Sequence[RunReport],
    title: str,
    pieces: Sequence[Sequence[tuple[int, float]]],
    texts: Sequence[str],
    summary: str,
    legend: dict[int, str] | None = None,
) -> Chart:
    top = nice_top(max(sum(value for _, value in one) for one in pieces))
    names = [f"{report.started_at:%Y-%m-%d %H:%M}" for report in reports]
    said = [
        f"{name}, {report.run_id.partition('/')[0]}: {text}"
        for name, report, text in zip(names, reports, texts, strict=True)
    ]
    return Chart(
        title,
        summary,
        f"{top:g}",
        names[0],
        names[-1] if len(names) > 1 else "",
        bars(pieces, said, top),
        legend=legend,
    )


def _gpu(connection: Connection, records: Sequence[RunRecord]) -> tuple[RunRecord, Chart] | None:
    """What the GPU did during the newest run that has samples of it."""
    for run in records:
        if run.gpu_busy_share is not None or run.energy_wh is not None:
            report = full_report(connection, run)
            if report and report.gpu and report.gpu.moments:
                return run, gpu_chart(report.gpu)
    return None

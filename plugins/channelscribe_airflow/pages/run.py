"""The page of one run: its report, or, while it is at work, how far its videos are."""

from collections.abc import Mapping

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from channelscribe.errors import BadInputError
from channelscribe.failure_reasons import reason_of
from channelscribe.settings import get_settings
from channelscribe.store.connection import Connection
from channelscribe.store.runs.reports import RunRecord, find_run, full_report
from channelscribe.telemetry.report import RunReport
from channelscribe.telemetry.report_text import range_text
from channelscribe.telemetry.run_times import PARTS, VideoTime
from channelscribe.workspace import Workspace
from channelscribe_airflow.pages.airflow_links import for_templates
from channelscribe_airflow.pages.charts import WIDTH
from channelscribe_airflow.pages.connections import Reading
from channelscribe_airflow.pages.gpu_chart import gpu_chart
from channelscribe_airflow.pages.progress import ORDER, batches_of, progress_of
from channelscribe_airflow.pages.rendering import render

# A run may have a thousand; the slowest ones come first.
MOST_VIDEOS = 100

# Of the style sheet.
_COLOURS = {part: f"v{number}" for number, part in enumerate(PARTS)} | {"start_up": "starts", "waiting": "waiting"}

router = APIRouter()


@router.get("/run")
def run(
    request: Request, user: GetUserDep, connection: Reading, session: SessionDep, dag: str, run: str
) -> HTMLResponse:
    """What a run did, or is doing."""
    record = recorded_run(connection, dag, run)
    report = full_report(connection, record) if record and record.state != "running" else None
    videos = sorted(report.videos if report else (), key=_seconds, reverse=True)
    workspace = Workspace(get_settings().data_dir)
    at_work = [] if report else list(progress_of(workspace, batches_of(session, dag, run)))
    return render(
        request, user, "run.html",
        name=f"{dag}/{run}", record=record, report=report, videos=videos[:MOST_VIDEOS], n_videos=len(videos),
        parts=PARTS, colours=_COLOURS, drawings=_drawings(videos[:MOST_VIDEOS]),
        range_text=range_text, reason_of=reason_of,
        failed_at=_failed_at(report) if report else {}, at_work=at_work, stages=ORDER,
        gpu=gpu_chart(report.gpu) if report and report.gpu and report.gpu.moments else None,
        **for_templates(request),
    )  # fmt: skip


def recorded_run(connection: Connection, dag_id: str, run_id: str) -> RunRecord | None:
    """What the archive has of a run; None where that is nothing."""
    try:
        return find_run(connection, f"{dag_id}/{run_id}")
    except BadInputError:
        return None


def _seconds(video: VideoTime) -> float:
    return sum(video.seconds.values())


def _drawings(videos: list[VideoTime]) -> dict[str, list[tuple[str, str]]]:
    """For each video, the parts of its time one after the other, as names and paths; the longest fills the width."""
    longest_s = max(map(_seconds, videos), default=0.0) or 1.0
    result = {}
    for video in videos:
        left, paths = 0.0, []
        for part in PARTS:
            width = WIDTH * video.seconds.get(part, 0.0) / longest_s
            if width:
                paths.append((part, f"M{left:.1f} 0h{width:.1f}v10h{-width:.1f}z"))
            left += width
        result[video.video_id] = paths
    return result


def _failed_at(report: RunReport) -> Mapping[str, int]:
    """The map index of each failed video."""
    return {video.video_id: video.map_index for video in report.videos}

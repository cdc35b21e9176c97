"""The tasks of `channel_ingest` that are no stage programs, as a program that can be killed.

python steps.py RUN_ID STEP [STEP ...], the steps being poll, select, load and report

What `select` chose lies in a file of the run below the data root, where Airflow has it in an XCom.
"""

import json
import sys
from contextlib import closing
from pathlib import Path

from channelscribe import batches
from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe.store.channels import record_failed_poll
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.ingest_plan import Request, channels_to_poll, choose_videos, poll_into_archive
from channelscribe.store.listed import note_availability
from channelscribe.store.loader import load_video
from channelscribe.store.queries import record_ingest_run
from channelscribe.telemetry.report import run_report
from channelscribe.workspace import Workspace, now, write_atomically

SETTINGS = get_settings()
WORKSPACE, PROFILE = Workspace(SETTINGS.data_dir), get_profile(SETTINGS.profile)


def chosen_file(run_id: str) -> Path:
    return SETTINGS.data_dir / "runs" / f"{run_id}.json"


def chosen(run_id: str) -> list[str]:
    return [video_id for batch in json.loads(chosen_file(run_id).read_text()) for video_id in batch]


def poll(connection, run_id: str) -> None:
    for channel in channels_to_poll(connection, SETTINGS, []):
        poll_into_archive(connection, channel, Request())


def select(connection, run_id: str) -> None:
    record_ingest_run(connection, run_id, "running", params={})
    plan = choose_videos(connection, SETTINGS, channels_to_poll(connection, SETTINGS, []), Request(), 1000)
    for video in plan.chosen:
        WORKSPACE.write_video(video)
    write_atomically(chosen_file(run_id), json.dumps(batches.build(plan.chosen, PROFILE, SETTINGS)))


def load(connection, run_id: str) -> None:
    for video_id in chosen(run_id):
        with closing(connect(archive_dsn(SETTINGS))) as own:
            load_video(own, WORKSPACE, video_id, PROFILE, run_id)


def report(connection, run_id: str) -> None:
    failed = {}
    for video_id in chosen(run_id):
        for stage in STAGES:
            status = WORKSPACE.read_status(video_id, stage)
            if status is None or status.state not in ("done", "present", "empty"):
                failed.setdefault(video_id, stage)
    made = run_report(
        WORKSPACE, PROFILE, chosen(run_id), failed, {}, started_at=now(), n_channels=1, n_listed=len(chosen(run_id))
    )
    record_ingest_run(connection, run_id, "success" if made.ok else "failed", counts=made.counts)
    note_availability(connection, made.unavailable)
    for channel, reason in made.refusals.items():
        record_failed_poll(connection, channel, reason, rate_limited=True)
    if not made.ok:
        sys.exit(made.summary)


def main() -> None:
    run_id, *names = sys.argv[1:]
    with closing(connect(archive_dsn(SETTINGS))) as connection:
        for name in names:
            {"poll": poll, "select": select, "load": load, "report": report}[name](connection, run_id)


if __name__ == "__main__":
    main()

"""A video that failed is retried, by Airflow's REST API and in its UI: that video alone, from that stage on."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from channelscribe.profiles import BUNDLED, STAGES
from channelscribe.stack.environment import USER, read_secrets

pytestmark = [pytest.mark.stages, pytest.mark.timeout(2700)]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
REDONE = [*list(STAGES)[list(STAGES).index("transcribe") :], "load"]


class Failed:
    """The main job's first run, in which one video has no transcript any more, and can't get one."""

    def __init__(self, job: Any, api: Any, folder: Path) -> None:
        self.job, self.api, self._aside, self._kept = job, api, folder / "aside", folder / "kept"
        runs = api._call("GET", "/dags/channel_ingest/dagRuns?order_by=run_after")["dag_runs"]
        self.run_id = next(
            run["dag_run_id"] for run in runs if api.xcom("channel_ingest", run["dag_run_id"], "select_videos")
        )
        self.video_id = job.video_id("beckett")
        batches = api.xcom("channel_ingest", self.run_id, "select_videos")
        self.index = next(index for index, batch in enumerate(batches) if self.video_id in batch)
        self._audio = job.workspace.require(self.video_id, "fetch_audio", BUNDLED).folder
        self._transcript = job.workspace.require(self.video_id, "transcribe", BUNDLED).folder
        shutil.move(self._transcript, self._kept)
        shutil.move(self._audio, self._aside)

    def mend(self) -> None:
        """Take the cause away."""
        if self._aside.exists():
            shutil.move(self._aside, self._audio)

    def restore(self) -> None:
        """Leave what the tests that follow expect, also where there is no new transcript."""
        self.mend()
        if not self._transcript.exists():
            shutil.move(self._kept, self._transcript)

    def clear(self) -> None:
        """Clear the video's transcription with what follows it."""
        task = ["ingest_video.transcribe", self.index]
        self.api._call(
            "POST", "/dags/channel_ingest/clearTaskInstances",
            json={
                "dry_run": False, "dag_run_id": self.run_id, "task_ids": [task], "include_downstream": True,
                "reset_dag_runs": True, "only_failed": False,
            },
        )  # fmt: skip

    def begun(self) -> None:
        """Wait until what was cleared has begun."""
        deadline = time.monotonic() + 60
        while self.api.run_state("channel_ingest", self.run_id) == "failed":
            assert time.monotonic() < deadline, "nothing was cleared"
            time.sleep(0.1)

    def ended(self) -> str:
        """Wait for the run's end; returns its state."""
        deadline = time.monotonic() + 900
        while (state := self.api.run_state("channel_ingest", self.run_id)) not in ("success", "failed"):
            assert time.monotonic() < deadline, f"it is {state}"
            time.sleep(0.3)
        return state

    def tries(self) -> dict[tuple[str, int], int]:
        """How often each mapped task was tried."""
        path = f"/dags/channel_ingest/dagRuns/{quote(self.run_id, safe='')}/taskInstances?limit=100"
        found = self.api._call("GET", path)["task_instances"]
        return {
            (task["task_id"].removeprefix("ingest_video."), task["map_index"]): task["try_number"]
            for task in found
            if task["task_id"].startswith("ingest_video.")
        }


@contextmanager
def failed_video(job: Any, folder: Path) -> Iterator[tuple[Failed, dict[Any, Any], dict[Any, Any]]]:
    """A run with a failed video; its manifests and tries before."""
    with job.api as api:
        failed = Failed(job, api, folder)
        try:
            failed.clear()
            assert failed.ended() == "failed"
            report = job.call("report", failed.run_id)
            assert "| Some words of Samuel Beckett |" in report and "fetch_audio has not been done for" in report
            failed.mend()
            yield failed, job.manifests(), failed.tries()
        finally:
            failed.restore()


def assert_that_alone_was_redone(failed: Failed, manifests: dict[Any, Any], tries: dict[Any, Any]) -> None:
    assert failed.ended() == "success"
    changed = {key for key, manifest in failed.job.manifests().items() if manifests.get(key) != manifest}
    assert changed == {(failed.video_id, "transcribe")}  # its text is the same, so what follows was there
    again = {key for key, number in failed.tries().items() if number != tries[key]}
    assert again == {(stage, failed.index) for stage in REDONE}
    assert "# 3 videos loaded" in failed.job.call("report", failed.run_id)


def test_clearing_one_videos_stage_redoes_just_that(main_job, tmp_path) -> None:
    with failed_video(main_job, tmp_path) as (failed, manifests, tries):
        failed.clear()
        assert_that_alone_was_redone(failed, manifests, tries)


def test_clearing_a_green_stage_does_it_again_and_nothing_else(main_job, tmp_path) -> None:
    with failed_video(main_job, tmp_path) as (failed, _, _):
        failed.clear()
        assert failed.ended() == "success"
        manifests, tries = main_job.manifests(), failed.tries()
        failed.clear()
        assert failed.ended() == "success"
        after = main_job.manifests()
        assert {key for key in after if after[key] != manifests[key]} == {(failed.video_id, "transcribe")}
        again = {key for key, number in failed.tries().items() if number != tries[key]}
        assert again == {(stage, failed.index) for stage in REDONE}


def test_a_failed_video_is_retried_in_airflows_own_ui(main_job, tmp_path) -> None:
    if CHROMIUM is None and os.environ.get("CHANNELSCRIBE_TEST_BROWSER") != "required":
        pytest.skip("there is no Chromium: `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    url = f"http://127.0.0.1:{main_job.environment['CHANNELSCRIBE_PORT']}"
    with failed_video(main_job, tmp_path) as (failed, manifests, tries), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--no-proxy-server"], timeout=120_000
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        task = f"/dags/channel_ingest/runs/{quote(failed.run_id, safe='')}/tasks/ingest_video.transcribe/mapped"
        page.set_default_timeout(120_000)
        page.goto(f"{url}/auth/login?next={quote(url, safe='')}")
        page.fill("input[name=username]", USER)
        page.fill("input[name=password]", read_secrets(main_job.home).password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda address: "/auth/" not in address)
        page.goto(f"{url}{task}/{failed.index}")
        page.get_by_role("heading", name="ingest_video.transcribe [Some words of Samuel Beckett]").wait_for()
        page.get_by_role("button", name="Clear").first.click()
        dialog = page.locator("[role=dialog][aria-modal=true]")
        dialog.get_by_text("Affected Tasks: 6").wait_for()
        dialog.get_by_role("button", name="Confirm").click()
        failed.begun()
        assert_that_alone_was_redone(failed, manifests, tries)
        browser.close()

"""The pages about runs: what they show, and what they link to."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from channelscribe.stack.environment import airflow_environment
from channelscribe.workspace import Workspace

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
runs = SimpleNamespace(**runpy.run_path(str(HERE / "example_runs.py")))
LAST = runs.run_id(9).partition("/")[2]
AT_WORK = "manual__now"
PATHS = [
    "/pipeline",
    f"/run?dag=channel_ingest&run={quote(LAST)}",
    f"/task?dag=channel_ingest&run={quote(LAST)}&task=x",
]


@pytest.fixture(scope="module")
def with_runs(live):
    """The live Airflow, with runs in the archive."""
    runs.fill_runs(live.archive_dsn)
    return live


@pytest.fixture(scope="module")
def with_dags(with_runs):
    """... and with the DAGs in Airflow, and a run of one of them that chose two batches, and that nobody works on."""
    variables = airflow_environment(
        with_runs.settings, "", parse_dsn(make_dsn(with_runs.archive_dsn, dbname="airflow"))
    )
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    client = with_runs.client("admin")
    run = {"dag_run_id": AT_WORK, "logical_date": None, "conf": {}}
    client.post(with_runs.url + "/api/v2/dags/channel_ingest/dagRuns", json=run).raise_for_status()
    chosen = {"key": "return_value", "value": [["the-cheshire-cat"], ["looking-glass", "not-there"]]}
    path = f"/api/v2/dags/channel_ingest/dagRuns/{AT_WORK}/taskInstances/select_videos/xcomEntries"
    client.post(with_runs.url + path, json=chosen).raise_for_status()
    return with_runs


@pytest.fixture
def new_video(live):
    """Function that puts a video into the workspace alone, as far as some stages; returns its folder's workspace."""
    example = SimpleNamespace(**runpy.run_path(str(HERE / "example_archive.py")))

    def put(name: str, stages: list[str]) -> Workspace:
        workspace = Workspace(live.data_root)
        script = example.scene(name, "Alice: I'll pretend there is a way.\nAlice: Let's pretend the glass is soft.", 6)
        example.write_script(workspace, script, stages=stages)
        return workspace

    return put


@pytest.mark.parametrize("path", PATHS)
def test_everybody_who_logged_in_reads_and_nobody_else(with_runs, path: str) -> None:
    for role in ("viewer", "user", "op", "admin"):
        assert with_runs.client(role).get(path).status_code == 200
    assert with_runs.client(None).get(path, headers={"Accept": "*/*"}).status_code == 401


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_pipeline_shows_runs_times_failures_and_what_is_to_be_done(with_runs) -> None:
    html = with_runs.client("viewer").get("/pipeline").text
    text = text_of(html)
    assert html.count("<figure") == 4
    assert 'aria-label="RTFx by run. From 20.3 to 29.5, 20.3 in the newest run."' in html
    assert "Of all the time: fetch_audio 22 %, diarize 35 %" in text
    assert "<title>2026-02-10 04:00, channel_ingest: RTFx 20.3</title>" in html
    assert "Busy 47 %, 95 % at most." in text
    assert "2026-02-10 04:00 channel_ingest failed 3 1 11 2.2 0:17:30 20.3 7.6 47 % Tasks" in text
    assert "select_videos" in text and "The archive has no video of @nobody." in text
    assert "the driver or the GPU reported a fault" in text
    assert "12 5.0 and 2 of unknown length" in text
    assert "<b>Broken" not in html and "&lt;b&gt;Broken&lt;/b&gt;" in html


def test_each_thing_links_to_its_task_and_log(with_runs) -> None:
    links = re.findall(r'href="([^"]+)" target="_top"', with_runs.client("viewer").get("/pipeline").text)
    run = f"/dags/channel_ingest/runs/{quote(LAST, safe='')}"
    assert run in links
    assert f"{run}/tasks/ingest_video.diarize/mapped/3" in links  # what failed
    assert f"{run}/tasks/ingest_video.diarize/mapped/2" in links  # what was slow
    assert f"{run}/tasks/poll_channels/mapped" in links
    assert "/dags/reprocess/runs/manual__early/tasks/select_videos" in links


def test_the_page_of_a_run_is_its_report(with_runs) -> None:
    html = with_runs.client("viewer").get(PATHS[1]).text
    text = text_of(html)
    assert "diarize RTFx 38.7, 56 % below the median of the last 9 (87.2)." in text
    assert "embed_text: 900 texts, 346 texts/s, 23 462 tokens/s." in text
    assert "members only 3" in text
    assert "0 / 80 / 99" in text
    assert f'href="/dags/channel_ingest/runs/{quote(LAST, safe="")}/tasks/ingest_video.load/mapped/1"' in html


def test_a_run_without_a_report_says_why(with_runs) -> None:
    client = with_runs.client("viewer")
    assert "select_videos failed: The archive has no video" in client.get("/run?dag=reprocess&run=manual__early").text
    assert "There is no report of this run" in client.get("/run?dag=maintenance&run=<x>").text
    assert client.get("/run?dag=x").status_code == 400
    assert client.get("/pipeline?runs=0").status_code == 400


def test_a_run_at_work_shows_how_far_its_videos_are(with_dags, new_video) -> None:
    runs.begin(new_video("looking-glass", ["fetch_audio"]), "looking-glass", fetch_audio="done", diarize="running")
    text = text_of(with_dags.client("viewer").get(f"/run?dag=channel_ingest&run={AT_WORK}").text)
    assert "The report is written when the run has ended." in text
    assert "Looking glass done at work" in text
    assert "not-there" not in text


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (["fetch_audio"], "Nothing is known yet of what is said in it."),
        (["fetch_audio", "diarize"], "Not transcribed yet: when somebody speaks. 0:01 SPEAKER_00"),
        (
            ["fetch_audio", "diarize", "transcribe", "identify_speakers"],
            "not in the archive yet. 0:01 SPEAKER_00 I'll pretend there is a way.",
        ),
    ],
)
def test_the_page_of_a_task_shows_its_videos_transcript_so_far(with_dags, new_video, stages, said) -> None:
    workspace = new_video("looking-glass", stages)
    runs.begin(workspace, "looking-glass", diarize="failed")
    client = with_dags.client("viewer")
    path = f"/task?dag=channel_ingest&run={AT_WORK}&task=ingest_video.diarize&index="
    text = text_of(client.get(path + "1").text.replace("&#39;", "'"))
    assert said in text and "diarize: Out of memory." in text
    assert "Cheshire Puss" not in text
    text = text_of(client.get(path + "0").text)
    assert "As it is in the archive." in text and "Cheshire Puss" in text
    everything = client.get(path + quote("{MAP_INDEX}")).text
    assert "Cheshire Puss" in everything and "Looking glass" in everything
    assert "chose no videos for this index" in client.get(path + "7").text


def test_an_ended_runs_batches_are_those_of_its_report(with_runs) -> None:
    text = text_of(with_runs.client("viewer").get(PATHS[2] + "&index=2").text)
    assert "A mad tea party" in text and "Cheshire Puss" not in text


def test_the_report_and_the_transcript_are_tabs_of_airflows_own_pages(with_dags, open_page) -> None:
    page = open_page("/pipeline")
    page.goto(f"{with_dags.url}/dags/channel_ingest/runs/{AT_WORK}")
    page.get_by_role("link", name="Report", exact=True).click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="How far its videos are").wait_for()
    # A link to Airflow's own page is followed by Airflow itself, not within the frame.
    frame.get_by_role("link", name=re.compile("diarize of Looking glass")).click()
    page.wait_for_url("**/tasks/ingest_video.diarize/mapped/1")
    page.goto(f"{with_dags.url}/dags/channel_ingest/runs/{AT_WORK}/tasks/select_videos")
    page.get_by_role("link", name="Transcript").click()
    page.frame_locator("iframe").get_by_role("heading", name="The videos of this run").wait_for()


def test_the_trigger_form_refuses_a_bad_value_and_takes_a_good_one(with_dags, open_page, browser) -> None:
    token = with_dags.client("admin").cookies["_token"]
    context = browser.new_context(viewport={"width": 1300, "height": 1500})
    context.add_cookies([{"name": "_token", "value": token, "url": with_dags.url}])
    page = context.new_page()  # without the check of `open_page`: the browser reports a refused request as an error
    page.goto(f"{with_dags.url}/dags/channel_ingest")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.locator("[role=dialog][aria-modal=true]")
    form.get_by_text("New videos taken of each channel.").wait_for()
    assert form.locator("#element_since").get_attribute("type") == "date"
    assert form.get_by_role("spinbutton").get_attribute("aria-valuemin") == "1"
    assert form.get_by_text("Which engine and model does each stage.").is_visible()
    form.locator("#element_channels").fill("a channel")
    form.get_by_test_id("trigger-dag-submit").click()
    form.get_by_text("Invalid input for param channels").wait_for()
    form.locator("#element_channels").fill("https://example.org/feed.xml\n@handle")
    form.locator("#element_since").fill("2026-01-31")
    with page.expect_response("**/dagRuns") as answer:
        form.get_by_test_id("trigger-dag-submit").click()
    taken = answer.value.json()["conf"]
    assert taken["channels"] == ["https://example.org/feed.xml", "@handle"]
    assert (taken["since"], taken["limit"], taken["newest_first"]) == ("2026-01-31", None, None)
    page.wait_for_url("**/dags/channel_ingest/runs/*")
    context.close()


def test_a_dags_page_is_a_runbook(with_dags, open_page) -> None:
    page = open_page("/pipeline")
    page.goto(f"{with_dags.url}/dags/channel_ingest")
    page.get_by_role("button", name="Dag Docs").click()
    page.get_by_role("heading", name="What to press").wait_for()
    page.get_by_role("cell", name="was killed by signal 9 (SIGKILL)").wait_for()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    with_runs, open_page, path, mode, width
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(path, color_scheme=mode, viewport={"width": width, "height": 800}, bypass_csp=True)
    found = [
        (violation["id"], violation["impact"], violation["nodes"][0]["html"])
        for violation in Axe().run(page).response["violations"]
    ]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

"""Take the pictures of docs/ui.md anew: of a running Airflow over the tests' example archive, in Debian's Chromium.

.channelscribe/venv/airflow/bin/python scripts/screenshots.py
"""

import runpy
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
TESTS = ROOT / "tests" / "pages"
EXAMPLE_RUNS = runpy.run_path(str(TESTS / "example_runs.py"))


@dataclass(frozen=True)
class Picture:
    """A page, within Airflow's own or, on a narrow screen, by itself."""

    name: str
    path: str
    mode: str = "light"
    narrow: bool = False
    opened: str = ""
    route: str = "archive"


RUN = "/run?" + urlencode(dict(zip(("dag", "run"), EXAMPLE_RUNS["run_id"](9).split("/", 1), strict=True)))
PICTURES = (
    Picture("archive", "/?q=same+thing"),
    Picture("transcript", "/videos/a-mad-tea-party"),
    Picture("naming", "/videos/a-mad-tea-party", opened="Name Speaker 1"),
    Picture("transcript-dark", "/videos/a-mad-tea-party?t=41", mode="dark"),
    Picture("transcript-narrow", "/videos/a-mad-tea-party?t=41", narrow=True),
    Picture("speakers", "/speakers", route="speakers"),
    Picture("duplicates", "/speakers/duplicates", route="speakers"),
    Picture("pipeline", "/pipeline", route="pipeline"),
    Picture("report", RUN, route="pipeline"),
)


def main() -> None:
    """Start Airflow, and take each picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium: `apt-get install chromium`.")
    live_airflow = runpy.run_path(str(TESTS / "live_airflow.py"))
    example_archive = runpy.run_path(str(TESTS / "example_archive.py"))
    with live_airflow["running"]() as live, sync_playwright() as playwright:
        example_archive["fill"](live.archive_dsn, live.data_root)
        EXAMPLE_RUNS["fill_runs"](live.archive_dsn)
        token = live.client("admin").cookies["_token"]
        options = ["--no-sandbox", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        for picture in PICTURES:
            take(browser, live, token, picture)
        browser.close()


def take(browser: Any, live: Any, token: str, picture: Picture) -> None:
    """Take one picture."""
    size = {"width": 390, "height": 780} if picture.narrow else {"width": 1180, "height": 780}
    context = browser.new_context(viewport=size, color_scheme=picture.mode)
    context.add_cookies([{"name": "_token", "value": token, "url": live.url}])
    context.add_init_script(f"localStorage.setItem('theme', '{picture.mode}')")
    page = context.new_page()
    if picture.narrow:
        page.goto(live.pages + picture.path)
        shown = page
    else:
        page.goto(f"{live.url}/plugin/channelscribe-{picture.route}")
        page.frame_locator("iframe").locator("h1").wait_for()
        shown = page.frames[-1]
        shown.goto(live.pages + picture.path)
    if picture.opened:
        shown.get_by_label(picture.opened).click()
    shown.locator("h1").wait_for()
    page.wait_for_timeout(1500)  # until the player knows the length of what it plays
    page.screenshot(path=IMAGES / f"{picture.name}.png")
    context.close()


if __name__ == "__main__":
    main()

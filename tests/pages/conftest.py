"""A running Airflow over a filled archive, and a browser."""

import os
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from channelscribe.store.connection import connect
from channelscribe.store.speakers.edits import last_edit, undo
from channelscribe.store.speakers.labels import lock_voices

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "plugins"))
collect_ignore_glob = [] if find_spec("airflow") else ["test_*.py"]
if find_spec("airflow"):
    live_airflow = SimpleNamespace(**runpy.run_path(str(HERE / "live_airflow.py")))
    example_archive = SimpleNamespace(**runpy.run_path(str(HERE / "example_archive.py")))

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def live() -> Iterator[Any]:
    """Airflow with the pages, over the example archive, which tests may change."""
    with live_airflow.running() as result:
        example_archive.fill(result.archive_dsn, result.data_root)
        yield result


@pytest.fixture
def edits_taken_back(live: Any) -> Iterator[None]:
    """What a test says of speakers is gone after it, also where it failed before its end."""

    def newest(connection: Any) -> int:
        last = last_edit(connection)
        return last.edit_id if last else 0

    with closing(connect(live.archive_dsn)) as connection:
        before = newest(connection)
    yield
    with closing(connect(live.archive_dsn)) as connection:
        while (edit_id := newest(connection)) > before:
            undo(connection, edit_id)


@pytest.fixture
def archive_rows(live: Any) -> Callable[..., list[tuple[Any, ...]]]:
    """Function that asks the archive that the pages show."""

    def rows(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(connect(live.archive_dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    return rows


@pytest.fixture
def form() -> Callable[..., dict[str, str]]:
    """Function that gives the hidden fields of a page's form."""
    return live_airflow.form


@pytest.fixture
def add_scene(live: Any) -> Iterator[Callable[..., None]]:
    """Function that adds a video of a name and lines, with what else is said of it; it is gone after the test."""
    added = []

    def add(name: str, text: str, *, sound: bool = True, **video: object) -> None:
        script = example_archive.scene(name, text, 6)
        script.video = {**script.video, **video}
        added.append(name)
        example_archive.load(live.archive_dsn, live.data_root, script, sound=sound)

    yield add
    with closing(connect(live.archive_dsn)) as connection, connection, connection.cursor() as cursor:
        # Voices may be identified in the background, after an edit.
        lock_voices(cursor, exclusive=True)
        cursor.execute("DELETE FROM videos WHERE video_id = ANY(%s)", (added,))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        reason = "there is no Chromium: `apt-get install chromium`"
        if os.environ.get("CHANNELSCRIBE_TEST_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its own sandbox, which needs rights that a container's root lacks. Sound without a device.
        options = ["--no-sandbox", "--mute-audio", "--autoplay-policy=no-user-gesture-required", "--no-proxy-server"]
        result = playwright.chromium.launch(executable_path=CHROMIUM, args=options, timeout=120_000)
        yield result
        result.close()


@pytest.fixture
def open_page(live: Any, browser: Any) -> Iterator[Callable[..., Any]]:
    """Function that opens a page of somebody who logged in, in a window of its own.

    Errors in its console, and requests to any other server, fail the test.
    """
    contexts, errors = [], []
    # Airflow's own UI makes a worker of a blob.
    allowed = (live.url, f"blob:{live.url}", "https://www.youtube-nocookie.com")

    def open_(path: str = "/", role: str | None = "admin", **options: Any) -> Any:
        context = browser.new_context(**options)
        context.set_default_timeout(120_000)
        contexts.append(context)
        if role:
            token = live.client(role).cookies["_token"]
            context.add_cookies([{"name": "_token", "value": token, "url": live.url}])
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: request.url.startswith(allowed) or errors.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(live.pages + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []

"""How long the pages in Airflow's UI take on a large archive.

    python benchmarks/pages.py --utterances 100000

Run by the Python of Airflow's environment. Starts an Airflow (Postgres, the API server) as the pages' tests do, with
the text model's embedder from the stages' environment, fills the archive with made videos (see made_archive.py), and
asks for each page `--repeats` times, over one connection, as a browser does. Times are those of the whole answer.
Prints a table, and writes benchmarks/results/pages.json; with --json FILE only that file.
"""

import argparse
import json
import os
import runpy
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import machine
import psycopg2
from made_archive import MadeArchive

from channelscribe.profiles import BUNDLED
from channelscribe.stack.processes import spawn
from channelscribe.store import bulk
from channelscribe.store.connection import connect
from channelscribe.store.speakers.discovered import identify_all

HERE = Path(__file__).parent
PACKAGES = ("channelscribe", "apache-airflow-core", "fastapi", "jinja2", "psycopg2-binary")
EMBEDDER_START_S = 120


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "pages.json")
    options = parser.parse_args()
    live_airflow = runpy.run_path(str(HERE.parent / "tests" / "pages" / "live_airflow.py"))
    made = MadeArchive(options.utterances)
    with live_airflow["running"]() as live:
        with closing(connect(live.archive_dsn)) as connection:
            filled = bulk.fill(connection, made.videos(), BUNDLED)
            started = time.perf_counter()
            identify_all(connection)
            identified_s = time.perf_counter() - started
        _start_embedder(live)
        client = live.client("viewer")
        _wait_for_embedder(client)
        pages = {name: _measure(client, path, options.repeats) for name, path in _pages(live.archive_dsn, made).items()}
    result = {
        "machine": machine.describe(PACKAGES),
        "n_videos": filled.n_videos,
        "n_utterances": filled.n_utterances,
        "identify_all_s": round(identified_s, 2),
        "pages": pages,
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(result)


def _pages(dsn: str, made: MadeArchive) -> dict[str, str]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT video_id FROM utterances GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1")
        (longest,) = cursor.fetchone()
        cursor.execute(
            "SELECT name FROM speakers JOIN clusters USING (speaker_id) GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        )
        (host,) = cursor.fetchone()
    rare, frequent = made.words[5_000], made.words[70]
    return {
        "Archive: newest videos": "/",
        "Archive: last page of videos": f"/?page={made.n_videos // 20}",
        "Search: a rare word": f"/?q={rare}",
        "Search: a frequent word": f"/?q={frequent}",
        "Search: three words": f"/?q={frequent}+{made.words[700]}+or+{rare}",
        "Search: a frequent word by one speaker": f"/?q={frequent}&speaker={host}",
        "Search: a frequent word in one channel, since a day": f"/?q={frequent}&channel=Channel+0&since=2024-01-01",
        "Search: a frequent word, 100 places": f"/?q={frequent}&n=100",
        "Transcript of the longest video": f"/videos/{longest}",
        "Transcript, at a second": f"/videos/{longest}?t=600",
        "Export as JSON": f"/videos/{longest}/export/json",
        "Speakers": "/speakers",
        "One speaker, in most videos": f"/speaker?name={host}",
        "Possible duplicates": "/speakers/duplicates",
    }


def _measure(client: httpx.Client, path: str, repeats: int) -> dict[str, Any]:
    times, answer = [], None
    for _ in range(repeats + 1):
        started = time.perf_counter()
        answer = client.get(path).raise_for_status()
        times.append(time.perf_counter() - started)
    assert answer is not None and "words only" not in answer.text, path  # noqa: S101 - else something else is measured
    times = sorted(times[1:])
    return {
        "path": path,
        "median_ms": round(1000 * statistics.median(times)),
        "p95_ms": round(1000 * times[min(len(times) - 1, int(0.95 * len(times)))]),
        "kib": round(len(answer.content) / 1024),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _start_embedder(live: Any) -> None:
    command = [str(live.settings.stages_interpreter), "-m", "channelscribe.models.embedder_server"]
    command += ["--idle-s", "3600", "--folder", str(live.settings.embedder_socket.parent)]
    spawn(command, dict(os.environ), live.home, live.home / "embedder.log")


def _wait_for_embedder(client: httpx.Client) -> None:
    deadline = time.monotonic() + EMBEDDER_START_S
    while "words only" in client.get("/?q=anything").raise_for_status().text:
        if time.monotonic() > deadline:
            raise SystemExit("The embedder does not start: is the stages' environment set up?")
        time.sleep(1)


def _print(result: dict[str, Any]) -> None:
    print("| page | median | 95th percentile | size |\n| --- | --- | --- | --- |")
    for name, page in result["pages"].items():
        print(f"| {name} | {page['median_ms']} ms | {page['p95_ms']} ms | {page['kib']} KiB |")
    print(json.dumps({key: value for key, value in result.items() if key != "pages"}, indent=1))


if __name__ == "__main__":
    main()

"""How the archive does at size: loading, building indexes, search with and without filters, a day's load, size on disk.

    python benchmarks/archive_scale.py --utterances 10000 100000 1000000

Run by the Python of Airflow's environment. Makes archives of made videos (see made_archive.py) on an embedded Postgres
of its own, below --data, which must have room for 12 GB for each million utterances. Every step goes through the
product's own functions. Writes benchmarks/results/archive-scale.json and its section of docs/performance.md; with
--json FILE only that file.

Recall is of the ten nearest by meaning, against all vectors compared one by one in numpy.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

# Before numpy: on a shared machine its threads wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import machine
import numpy as np
import numpy.typing as npt
import page
import psycopg2
from made_archive import FIRST_DAY, GUEST_VIDEOS, N_DAYS, N_TOPICS, Known, MadeArchive, write_artifacts

from channelscribe.contracts import EnrollmentClip, EnrollmentRow, EnrollmentVoices
from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import BUNDLED
from channelscribe.stack.postgres import EmbeddedPostgres
from channelscribe.store.artifacts import VideoRecord
from channelscribe.store.backup import backup, restore
from channelscribe.store.bulk import BATCH_VIDEOS, fill, finished_records
from channelscribe.store.connection import Connection, connect
from channelscribe.store.loader import load_video
from channelscribe.store.migrate import upgrade
from channelscribe.store.search.hybrid import search
from channelscribe.store.speakers.enrollments import enroll
from channelscribe.store.speakers.labels import relabel
from channelscribe.workspace import Workspace

PACKAGES = ("channelscribe", "psycopg2-binary", "pgvector", "numpy")
TEXT = BUNDLED.stages["embed_text"]
VOICE = BUNDLED.stages["identify_speakers"]
N_RARE, DAILY_VIDEOS, RECALL_AT = 50, 30, 10
# To fill from artifacts takes more room than the archive, a backup and its restore as long as all else together.
REMADE_AT_MOST = 100_000
# A word that no made text has, so that only the meaning finds anything.
UNSAID = "zzyzx"

Filter = dict[str, Any]


def main() -> int:
    """Measure, print and write."""
    options = _options()
    result: dict[str, Any] = {
        "command": "benchmarks/archive_scale.py --utterances " + " ".join(map(str, options.utterances)),
        "machine": machine.describe(PACKAGES),
        "archives": [],
    }
    with tempfile.TemporaryDirectory(prefix="channelscribe-scale-", dir=options.data) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres", Path(folder) / "postgres.log")
        server.start()
        try:
            for n_utterances in options.utterances:
                result["archives"].append(_measure(server, Path(folder), MadeArchive(n_utterances), options.queries))
                sys.stdout.write(json.dumps(result["archives"][-1], indent=1) + "\n")
                sys.stdout.flush()
        finally:
            server.stop()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    else:
        page.write_scale(result)
    return 0


def _measure(server: EmbeddedPostgres, folder: Path, made: MadeArchive, n_queries: int) -> dict[str, Any]:
    name = f"made_{made.n_utterances}"
    dsn = _new_database(server, name)
    known = Known()
    with closing(connect(dsn)) as connection:
        costs = _Costs(connection)
        filled = fill(connection, costs.watching(known.watching(made.videos())), BUNDLED)
        result: dict[str, Any] = {
            "asked_utterances": made.n_utterances,
            "n_chunks": len(known.vectors),
            "fill": {
                **asdict(filled),
                # A batch is in the archive before the next one is made.
                "rows_s": filled.rows_s - costs.making_s,
                **costs.per_utterance(),
                "load_average": _load(),
            },
        }
        result["naming_s"] = _seconds(_name_speakers, connection, made)
        result["bytes"] = _sizes(connection)
        result["searches"] = {**_searches(connection, made, known, n_queries), "load_average": _load()}
        if made.n_utterances <= REMADE_AT_MOST:
            result["refill"] = _refill(server, folder, made)
            result["restore"] = _restore(server, folder, dsn, filled.n_utterances)
        result["daily"] = {**_daily(connection, folder, made), "load_average": _load()}
    return result


class _Costs:
    """What the making of the videos takes, and what processors do for the rows of a fill, here and in the server."""

    def __init__(self, connection: Connection) -> None:
        self._server, self._before = connection.info.backend_pid, (0.0, 0.0)
        self._making_ms, self._passed, self._copied = 0.0, 0, 0
        self._spent = (0.0, 0.0)
        self.making_s = 0.0

    def watching(self, records: Iterator[VideoRecord]) -> Iterator[VideoRecord]:
        """The same records."""
        self._before = _cpu_ms(), _cpu_ms(self._server)
        for number in count():
            if number % BATCH_VIDEOS == 0:
                # All batches before this one are copied.
                self._spent = _cpu_ms() - self._before[0] - self._making_ms, _cpu_ms(self._server) - self._before[1]
                self._copied = self._passed
            started, began = _cpu_ms(), time.perf_counter()
            record = next(records, None)
            self._making_ms += _cpu_ms() - started
            self.making_s += time.perf_counter() - began
            if record is None:
                return
            self._passed += len(record.analysis.utterances)
            yield record

    def per_utterance(self) -> dict[str, float]:
        """Microseconds, once there was more than a batch."""
        if not self._copied:
            return {}
        client, server = (round(spent_ms * 1000 / self._copied, 1) for spent_ms in self._spent)
        return {"client_cpu_us": client, "server_cpu_us": server}


def _cpu_ms(pid: int | str = "self") -> float:
    """How long a process was on a processor: what a machine that does nothing else would take."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6


def _load() -> float:
    """Processes that ran or wanted to, on average over five minutes."""
    return round(os.getloadavg()[1], 1)


def _seconds(step: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    step(*arguments)
    return round(time.perf_counter() - started, 1)


def _new_database(server: EmbeddedPostgres, name: str) -> str:
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    dsn = server.dsn(name)
    upgrade(dsn)
    return dsn


def _name_speakers(connection: Connection, made: MadeArchive) -> None:
    """Enroll the hosts, the announcer and some guests, and have the archive relabelled."""
    rare = [f"Guest {number}" for number in _rare_guests(made)]
    for name in (*(f"Host {number}" for number in range(made.n_channels)), *rare, "Announcer"):
        clip = EnrollmentClip(source=name, sha256=name, audio_s=60.0, speech_s=60.0, snr_db=None, refused=None)
        row = EnrollmentRow(clip_index=0, start_s=0.0, end_s=60.0)
        found = EnrollmentVoices(model=VOICE.model, revision=VOICE.revision, clips=(clip,), rows=(row,))
        enroll(connection, name, found, made.voice(name)[None])
    relabel(connection, (VOICE.model, VOICE.revision))


def _rare_guests(made: MadeArchive) -> list[int]:
    return sorted({number // GUEST_VIDEOS for number in np.linspace(0, made.n_videos - 1, N_RARE).astype(int).tolist()})


def _sizes(connection: Connection) -> dict[str, int]:
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace AND pg_table_size(oid) > 1000000 ORDER BY 2 DESC"
        )
        rows = cursor.fetchall()
        sizes = {name: size for table, own, indexes in rows for name, size in
                 ((table, own), (f"{table}, indexes", indexes))}  # fmt: skip
        cursor.execute("SELECT pg_database_size(current_database())")
        return {"all": int(cursor.fetchone()[0]), **sizes}  # type: ignore[index]


def _filters(made: MadeArchive, random: np.random.Generator) -> dict[str, Filter]:
    """One filter of each kind; those of rare things are drawn."""
    last = (FIRST_DAY + timedelta(days=N_DAYS)).date()
    guests = _rare_guests(made)
    return {
        "none": {},
        "frequent speaker": {"speaker": "Host 0"},
        "rare speaker": {"speaker": f"Guest {guests[int(random.integers(len(guests)))]}"},
        "speaker of little in many": {"speaker": "Announcer"},
        "large channel": {"channel": "Channel 0"},
        "small channel": {"channel": f"Channel {made.n_channels - 1}"},
        "last half": {"since": last - timedelta(days=N_DAYS // 2)},
        "last 30 days": {"since": last - timedelta(days=30)},
        "one video": {"video": f"made{int(random.integers(made.n_videos)):07d}"},
    }


def _searches(connection: Connection, made: MadeArchive, known: Known, n_queries: int) -> dict[str, Any]:
    random = np.random.default_rng([made.seed, 6])
    vectors = made.draw_text_vectors(random, random.integers(N_TOPICS, size=n_queries))
    similarity = known.vectors @ vectors.T
    words = known.draw_queries(random, n_queries)
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(n_queries):
        asked = {"words": (words[number], None), "meaning": (UNSAID, vectors[number])}
        asked["both"] = (words[number], vectors[number])
        for name, narrowed in _filters(made, random).items():
            kept = found.setdefault(name, defaultdict(list))
            for kind, query in asked.items():
                before, started = _search_cpu_ms(connection), time.perf_counter()
                hits = search(connection, *query, (TEXT.model, TEXT.revision), **narrowed)
                kept[f"{kind}_ms"].append((time.perf_counter() - started) * 1000)
                kept[f"{kind}_cpu_ms"].append(_search_cpu_ms(connection) - before)
                if kind == "meaning":
                    allowed = known.allowed(made, narrowed)
                    best = _best(similarity[:, number], allowed)
                    places = {known.place(hit.video_id, hit.end_s) for hit in hits}
                    kept["recall"].append(len(best & places) / len(best) if best else 1.0)
                    kept["chunks"].append(len(allowed))
    return {"queries": n_queries, "filters": {name: _summary(kept) for name, kept in found.items()}}


def _best(similarity: npt.NDArray[np.float32], allowed: npt.NDArray[np.intp]) -> set[int]:
    own = -similarity[allowed]
    if len(own) > RECALL_AT:
        allowed = allowed[np.argpartition(own, RECALL_AT)[:RECALL_AT]]
    return set(allowed.tolist())


def _search_cpu_ms(connection: Connection) -> float:
    return _cpu_ms() + _cpu_ms(connection.info.backend_pid)


def _summary(kept: dict[str, list[float]]) -> dict[str, Any]:
    times = {
        f"{name.removesuffix('_ms')}_p{rank}_ms": round(float(np.percentile(values, rank)), 1)
        for name, values in kept.items()
        if name.endswith("_ms")
        for rank in (50, 95)
    }
    recall = {"recall": round(float(np.mean(kept["recall"])), 4), "worst_recall": min(kept["recall"])}
    return {"chunks": int(np.median(kept["chunks"])), **recall, **times}


def _refill(server: EmbeddedPostgres, folder: Path, made: MadeArchive) -> dict[str, float]:
    """Fill an archive from artifacts, as `channelscribe refill` does."""
    workspace = Workspace(folder / f"all-artifacts-{made.n_utterances}")
    for record in made.videos():
        write_artifacts(workspace, record)
    name = f"refilled_{made.n_utterances}"
    with closing(connect(_new_database(server, name))) as connection:
        filled = fill(connection, finished_records(workspace, BUNDLED, _no_refusal), BUNDLED)
    shutil.rmtree(workspace.data_root)
    return {"rows_s": filled.rows_s, "indexes_s": filled.indexes_s, "load_average": _load()}


def _no_refusal(video_id: str, error: ChannelscribeError) -> None:
    raise AssertionError(f"{video_id}: {error}")


def _restore(server: EmbeddedPostgres, folder: Path, dsn: str, n_utterances: int) -> dict[str, float]:
    """Back the archive up, and bring it back in another database."""
    path = folder / "archive.backup"
    name = f"restored_{n_utterances}"
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        result = {
            "backup_s": _seconds(backup, dsn, path),
            "bytes": path.stat().st_size,
            "restore_s": _seconds(restore, server.dsn(name), path),
            "load_average": _load(),
        }
        path.unlink()
        connection.cursor().execute(f"DROP DATABASE {name}")
    return result


def _daily(connection: Connection, folder: Path, made: MadeArchive) -> dict[str, Any]:
    """Load a day's new videos from their artifacts, one by one as the DAG does."""
    workspace = Workspace(folder / f"artifacts-{made.n_utterances}")
    records = list(made.videos(made.n_videos, made.n_videos + DAILY_VIDEOS))
    for record in records:
        write_artifacts(workspace, record)
    seconds = []
    for record in records:
        started = time.perf_counter()
        load_video(connection, workspace, record.video.video_id, BUNDLED)
        seconds.append(time.perf_counter() - started)
    n_utterances = sum(len(record.analysis.utterances) for record in records)
    return {
        "videos": DAILY_VIDEOS,
        "n_utterances": n_utterances,
        "utterances_per_s": round(n_utterances / sum(seconds), 1),
        "video_p50_s": round(float(np.median(seconds)), 3),
        "video_max_s": round(max(seconds), 3),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, nargs="+", default=[10_000], help="sizes of the archives")
    parser.add_argument("--queries", type=int, default=60, help="queries of each kind and filter")
    parser.add_argument("--data", type=Path, help="folder for the databases; the system's temporary one")
    parser.add_argument("--json", type=Path, help="write the results there, and not into the page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Stages that are truly slow: the message comes while they are at work, with the right cause, once."""

import io
import json
import os
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException

from channelscribe.alerts.budgets import Usual
from channelscribe.alerts.slow_stage import downloaded_bytes
from channelscribe.contracts import Audio, Diarization, Manifest, Turn, Video
from channelscribe.profiles import BUNDLED, STAGES
from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.runs.alerts import recent_alerts
from channelscribe.workspace import MANIFEST, Workspace, describe_outputs, digest_of, fingerprint, now
from channelscribe_airflow import alerting, stage_watch
from channelscribe_airflow.process_operator import ProcessStageOperator
from channelscribe_airflow.stage_watch import WatchedCall, watched

pytestmark = [pytest.mark.airflow, pytest.mark.alone, pytest.mark.timeout(1200)]

CONTEXT = {
    "ti": SimpleNamespace(
        map_index=0, run_id="manual__1+00:00", dag_id="channel_ingest", task_id="ingest_video.transcribe",
        try_number=1, max_tries=0,
    )
}  # fmt: skip
BUDGET_S = 4.0


class Feed:
    """A server that hands a recording out a few bytes at a time."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.send_header("Content-Length", str(10_000_000))
                self.end_headers()
                with suppress(OSError):
                    while not feed.closing.wait(0.1):
                        self.wfile.write(bytes(2048))  # 20 KiB/s

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/talk.wav"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def feed() -> Iterator[Feed]:
    result = Feed()
    yield result
    result.closing.set()
    result.server.shutdown()
    result.server.server_close()


@pytest.fixture
def told(archive_dsn, workspace, webhook, monkeypatch):
    """Settings by which a stage is slow after a few seconds, and the webhook is told."""
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_TARGETS", "hook")
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_SLOW_FACTOR", "1")
    monkeypatch.setenv("CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "generic", "password": webhook.url}))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://ui.example.org/")
    monkeypatch.setattr("channelscribe.alerts.budgets.LEAST_S", BUDGET_S)
    get_settings.cache_clear()
    return webhook


def add_video(workspace: Workspace, video_id: str, url: str = "http://x/", duration_s: float = 20.0) -> None:
    workspace.write_video(
        Video(
            video_id=video_id, source_id=video_id, url=url, title=f"About {video_id}", channel_url="http://x",
            channel_title="X", duration_s=duration_s,
        )
    )  # fmt: skip


class Running:
    """A stage's task in a thread of its own, stopped at the end of its block."""

    def __init__(self, **arguments) -> None:
        self.task = ProcessStageOperator(**{"task_id": "t", "video_ids": ["slow"], "profile": "bundled", **arguments})
        self.error: AirflowException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.task.execute(CONTEXT)
        except AirflowException as error:
            self.error = error

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.task.on_kill()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def tell_when(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Function that lets a watch look, once the budget is over, when what the test is about has come to be.

    How far a program is after some seconds depends on the machine.
    """
    tell = stage_watch._tell

    def set_condition(condition: Callable[[], object]) -> None:
        def tell_later(*call: object) -> None:
            deadline = time.monotonic() + 300
            while not condition() and time.monotonic() < deadline:
                time.sleep(0.1)
            tell(*call)

        monkeypatch.setattr(stage_watch, "_tell", tell_later)

    return set_condition


def alerts(archive_dsn: str):
    with closing(connect(archive_dsn)) as connection:
        return recent_alerts(connection, 10)


def test_a_throttled_feed_is_told_of_while_it_downloads_once(workspace, told, feed, tell_when, archive_dsn) -> None:
    add_video(workspace, "slow", feed.url, duration_s=10)
    tell_when(lambda: any(downloaded_bytes(workspace, ["slow"], BUNDLED).values()))
    with Running(stage="fetch_audio") as running:
        told.wait(timeout_s=400)
        assert running.thread.is_alive(), "it was told only afterwards"
    assert isinstance(running.error, AirflowException)
    (message,) = told.messages
    assert message["title"] == "Channelscribe: fetch_audio is slow: About slow"
    assert "fetch_audio has been at work on About slow for" in message["message"]
    assert "10 s of audio at 1.8 s a minute (the profile's figure, as there are none), times 1" in message["message"]
    cause = message["message"].partition("Likely cause: ")[2].partition("\n")[0]
    assert cause.startswith("The download is slow: ") and "KiB/s over" in cause
    assert "It is stopped after 4 h 00 min." in message["message"]
    assert "http://ui.example.org/dags/channel_ingest/runs/manual__1%2B00%3A00/tasks/" in message["message"]

    (one,) = alerts(archive_dsn)
    assert one.alert.run_id == "channel_ingest/manual__1+00:00"
    assert one.ended_at is not None, "the attempt is over"

    # The retry of the same stage is as slow, and no news.
    with Running(stage="fetch_audio"):
        told.wait(lambda: len(alerts(archive_dsn)) == 2, timeout_s=400)
        alerting.deliver()
        assert len(told.messages) == 1


def test_runs_of_two_dags_with_one_id_are_told_of_each(workspace, told, archive_dsn, monkeypatch) -> None:
    monkeypatch.setattr("channelscribe.alerts.budgets.LEAST_S", 0.1)
    monkeypatch.setattr("channelscribe.alerts.slow_stage.audio_seconds", lambda *_: 0.0)
    for n_told, dag_id in enumerate(("channel_ingest", "backfill"), start=1):
        ti = SimpleNamespace(map_index=0, run_id="scheduled__1", dag_id=dag_id, task_id="ingest_video.diarize")
        with watched(WatchedCall("diarize", ["v1"], "bundled", timedelta(hours=1), ti)):
            told.wait(lambda n_told=n_told: len(told.messages) >= n_told)
    assert [one.alert.subject for one in alerts(archive_dsn)] == [
        "backfill/scheduled__1 diarize 0", "channel_ingest/scheduled__1 diarize 0",
    ]  # fmt: skip
    assert "/dags/backfill/runs/scheduled__1/tasks/" in told.messages[1]["message"]
    assert all(one.ended_at for one in alerts(archive_dsn)), "the stages are done"


def test_the_rate_of_a_download_is_that_of_the_last_seconds(workspace, told, set_status, monkeypatch) -> None:
    """Not since the call began: there were other videos, and waits for a turn at the site."""
    began = iter([now() - timedelta(hours=1)])
    monkeypatch.setattr("channelscribe_airflow.stage_watch.now", lambda: next(began, None) or now())
    usual = {"fetch_audio": Usual(1.0, 1.0, n_videos=5, bytes_per_s=1000.0)}
    monkeypatch.setattr("channelscribe_airflow.stage_watch.learned_times", lambda _: usual)
    partial = workspace.partial_download("v1", BUNDLED.stages["fetch_audio"])
    partial.mkdir(parents=True)
    (partial / "source.mp3.part").write_bytes(bytes(1_005_000))
    # Of which so many were there five seconds ago.
    monkeypatch.setattr("channelscribe_airflow.stage_watch.downloaded_bytes", lambda *_: {"v1": 1_000_000})
    monkeypatch.setattr("channelscribe_airflow.stage_watch.LOOK_S", 0.01)
    set_status("v1", "fetch_audio", "running")
    ti = SimpleNamespace(map_index=0, run_id="manual__1", dag_id="channel_ingest", task_id="ingest_video.fetch_audio")
    with watched(WatchedCall("fetch_audio", ["v1"], "bundled", timedelta(hours=4), ti)):
        told.wait()
    assert (
        "The download is large: it comes at 1.0 KiB/s over 5 s, about as fast as usual." in told.messages[0]["message"]
    )


def test_a_stage_that_is_as_fast_as_usual_is_not_told_of(workspace, told, behave, archive_dsn) -> None:
    behave(code=0, state="done", reason="Done.")
    ProcessStageOperator(task_id="t", stage="diarize", video_ids=["v1"], profile="bundled").execute(CONTEXT)
    time.sleep(BUDGET_S + 1)
    assert told.messages == [] and alerts(archive_dsn) == []


def test_a_target_that_is_down_delays_nothing_and_is_not_told_later_of_what_is_over(
    workspace, told, behave, set_status, archive_dsn, monkeypatch
) -> None:
    add_video(workspace, "slow")
    set_status("slow", "fetch_audio", "done")
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "generic", "password": "json://127.0.0.1:1/"}))
    behave(lines=["working"], pause=14, code=0, state="done", reason="Done.")
    started = time.monotonic()
    ProcessStageOperator(task_id="t", stage="diarize", video_ids=["slow"], profile="bundled").execute(CONTEXT)
    assert time.monotonic() - started < 14 + 60
    (one,) = alerts(archive_dsn)
    assert one.alert.title == "diarize is slow: About slow" and one.told == {} and one.ended_at

    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "generic", "password": told.url}))
    alerting.check_and_deliver(SimpleNamespace(get_dr_count=lambda **_: 1))
    assert "diarize is slow: About slow" not in told.titles


def test_without_an_archive_the_stage_does_its_work(workspace, behave, set_status, monkeypatch, caplog) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", "host=127.0.0.1 port=1 dbname=archive")
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_SLOW_FACTOR", "1")
    monkeypatch.setattr("channelscribe.alerts.budgets.LEAST_S", 0.5)
    monkeypatch.setattr("channelscribe.alerts.slow_stage.audio_seconds", lambda *_: 0.0)
    get_settings.cache_clear()
    set_status("v1", "diarize", "done")
    behave(lines=["working"], pause=8, code=0, state="done", reason="Done.")
    ProcessStageOperator(task_id="t", stage="transcribe", video_ids=["v1"], profile="bundled").execute(CONTEXT)
    assert "Alerts could not be recorded: TryAgainError" in caplog.text


# --- a real stage, on a core that it hardly gets ---------------------------------------------------------------------


def write_artifact(workspace: Workspace, stage: str, files: dict[str, bytes]) -> None:
    """An artifact as the stage would have written it."""
    inputs = {name: workspace.current("slow", name, BUNDLED) for name in STAGES[stage].inputs}
    digests = {name: artifact.manifest.digest for name, artifact in inputs.items() if artifact}
    spec, name = BUNDLED.stages[stage], fingerprint(stage, BUNDLED.stages[stage], digests)
    with workspace.new_artifact("slow", stage, name) as folder:
        for file_name, content in files.items():
            (folder / file_name).write_bytes(content)
        outputs = describe_outputs(folder)
        manifest = Manifest(
            channelscribe_version="0", stage=stage, stage_version=1, profile="bundled", video_id="slow",
            fingerprint=name, digest=digest_of(outputs), engine=spec.engine, model=spec.model, revision=spec.revision,
            parameters=dict(spec.parameters), inputs=digests, outputs=outputs, empty=False, device_requested="cpu",
            device_used="cpu", audio_s=1.0, processing_s={}, peak_memory_bytes=1, metrics={}, finished_at=now(),
        )  # fmt: skip
        (folder / MANIFEST).write_text(manifest.model_dump_json())


def many_times(recording: Path, n: int) -> tuple[bytes, Audio]:
    """A recording over and over again, so that there is work for minutes, and what it holds."""
    result = io.BytesIO()
    with wave.open(str(recording)) as source, wave.open(result, "wb") as target:
        target.setparams(source.getparams())
        target.writeframes(source.readframes(source.getnframes()) * n)
        audio = Audio(
            file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=source.getframerate(),
            n_channels=source.getnchannels(), duration_s=n * source.getnframes() / source.getframerate(),
        )  # fmt: skip
    return result.getvalue(), audio


@pytest.fixture
def limited_stages(stages_python, workspace, tmp_path, monkeypatch) -> Iterator[None]:
    """The stages' interpreter on cores that others keep busy: all of them, as ONNX Runtime's threads choose their own.

    Each in a session of its own, as the stage is: Linux may share a core by sessions first, and together they would
    have no more of it than the stage.
    """
    wrapper = tmp_path / "limited-python"
    wrapper.write_text(f'#!/bin/sh\nexec nice -n 5 {stages_python} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(wrapper))
    rivals = [
        subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"], start_new_session=True)
        for core in os.sched_getaffinity(0)
        for _ in range(3)
    ]
    yield
    for rival in rivals:
        rival.kill()
        rival.wait()


def test_a_stage_that_hardly_gets_a_core_is_told_of_while_it_works(
    workspace, told, limited_stages, reading, set_status, tell_when, archive_dsn
) -> None:
    def hardly_gets_it() -> bool:
        progress = workspace.read_progress("slow", "transcribe")
        return progress is not None and (progress.cpu_wait_s or 0) > max(1, progress.cpu_s)

    get_settings.cache_clear()
    tell_when(hardly_gets_it)
    sound, audio = many_times(reading, 30)
    audio_s = audio.duration_s
    add_video(workspace, "slow", duration_s=audio_s)
    write_artifact(workspace, "fetch_audio", {"audio.wav": sound, "audio.json": audio.model_dump_json().encode()})
    turns = tuple(
        Turn(start_s=second, end_s=min(second + 10.0, audio_s), cluster="SPEAKER_00")
        for second in range(0, int(audio_s), 10)
    )
    diarization = Diarization(turns=turns, exclusive_turns=turns, audio_s=audio_s)
    write_artifact(workspace, "diarize", {"diarization.json": diarization.model_dump_json().encode()})
    for stage in ("fetch_audio", "diarize"):
        set_status("slow", stage, "done")
    with Running(stage="transcribe") as running:
        told.wait(timeout_s=400)
        assert running.thread.is_alive(), "it was told only afterwards"
    (message,) = told.messages
    assert message["title"] == "Channelscribe: transcribe is slow: About slow"
    cause = message["message"].partition("Likely cause: ")[2].partition("\n")[0]
    assert cause.startswith("The processor is short: for each second of computing it waits ")
    assert [one.alert.kind for one in alerts(archive_dsn)] == ["stage_slow"]

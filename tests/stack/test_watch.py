"""A run seen through the API's own answers, served by a small server on loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

httpx = pytest.importorskip("httpx", reason="the client runs in Airflow's environment")

from channelscribe.contracts import Status, Video  # noqa: E402
from channelscribe.errors import BadInputError, TryAgainError  # noqa: E402
from channelscribe.stack.airflow_api import AirflowApi  # noqa: E402
from channelscribe.stack.ports import free_port  # noqa: E402
from channelscribe.stack.watch import VIDEO_TASKS, RunView, watch  # noqa: E402
from channelscribe.workspace import Workspace, now  # noqa: E402

RUN = "/api/v2/dags/d/dagRuns/manual__1%2B00%3A00"


def task(task_id: str, state: str | None, map_index: int = -1, try_number: int = 1):
    return {"task_id": task_id, "map_index": map_index, "state": state, "try_number": try_number, "duration": 2.5}


class Airflow(ThreadingHTTPServer):
    """Answers like the API: a table of answers by path, or a list of them that are given one after the other."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, object] = {}
        self.logins = 0
        self.valid = ""
        self.requests: list[tuple[str, object]] = []


class Handler(BaseHTTPRequestHandler):
    server: Airflow

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.path, body))
        if self.path == "/auth/token":
            self.server.logins += 1
            self.server.valid = f"Bearer token-{self.server.logins}"
            return self.send(201, {"access_token": f"token-{self.server.logins}"})
        if self.headers.get("Authorization") != self.server.valid:
            return self.send(401, {"detail": "Not authenticated"})
        answer = self.server.answers.get(self.path)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return self.send(404, {"detail": "not found"}) if answer is None else self.send(200, answer)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815

    def send(self, code: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow():
    with Airflow() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def api(airflow):
    with AirflowApi(f"http://127.0.0.1:{airflow.server_port}", "admin", "secret") as client:
        yield client


@pytest.fixture
def workspace(tmp_path):
    result = Workspace(tmp_path)
    for name in ("a", "b"):
        video = Video(
            video_id=f"feed-{name}", source_id=name, url="http://x/", title=f"Title {name}", channel_url="http://x/",
            channel_title="X",
        )  # fmt: skip
        result.write_video(video)
    return result


def page(*tasks):
    return {"task_instances": list(tasks), "total_entries": len(tasks)}


def test_an_expired_token_is_renewed(api, airflow):
    airflow.answers[RUN] = {"state": "running"}
    assert api.run_state("d", "manual__1+00:00") == "running"
    airflow.valid = "Bearer another"
    assert api.run_state("d", "manual__1+00:00") == "running"
    assert airflow.logins == 2


def test_a_run_of_many_tasks_is_read_page_by_page(api, airflow):
    tasks = [task("ingest_video.load", "success", index) for index in range(250)]
    for offset in (0, 100, 200):
        airflow.answers[f"{RUN}/taskInstances?limit=100&offset={offset}"] = {
            "task_instances": tasks[offset : offset + 100],
            "total_entries": 250,
        }
    assert [state.map_index for state in api.tasks("d", "manual__1+00:00")] == list(range(250))


def test_what_airflow_refuses_is_one_line(api, airflow):
    with pytest.raises(BadInputError, match="Airflow refuses this: not found"):
        api.run_state("d", "nothing")


def test_an_airflow_that_is_down_says_so():
    with AirflowApi(f"http://127.0.0.1:{free_port()}", "admin", "secret") as api:
        assert api.unhealthy() == ["api-server"]
        with pytest.raises(TryAgainError, match="make status"):
            api.run_state("d", "r")


def prepare(airflow, *pages, batches=(("feed-a",), ("feed-b",))):
    airflow.answers |= {
        RUN: [*({"state": "running"} for _ in pages[:-1]), {"state": "failed"}],
        f"{RUN}/taskInstances?limit=100&offset=0": list(pages),
        f"{RUN}/taskInstances/select_videos/xcomEntries/return_value?map_index=-1&deserialize=false&stringify=false": {
            "value": batches
        },
    }


def test_every_change_is_one_line_with_the_title_and_the_reason(api, airflow, workspace, capsys):
    workspace.write_status(
        Status(video_id="feed-b", stage="diarize", state="failed", exit_code=65, reason="No audio in it.", at=now())
    )
    chosen = task("select_videos", "success")
    prepare(
        airflow,
        page(task("select_videos", "running"), task("ingest_video.load", None)),
        page(chosen, task("ingest_video.fetch_audio", "running", 0), task("ingest_video.fetch_audio", "queued", 1)),
        page(
            chosen,
            task("ingest_video.fetch_audio", "success", 0),
            task("ingest_video.diarize", "failed", 1),
            task("ingest_video.transcribe", "upstream_failed", 1),
            task("report_run", "failed"),
        ),
    )
    view = RunView(api, workspace, "d", "manual__1+00:00")
    result = watch(view, Console(), lambda: None)
    lines = [line.split(" s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "select_videos running",
        "select_videos done in 2.5 s",
        "Title a: fetch_audio running",
        "report_run failed",
        "Title a: fetch_audio done in 2.5 s",
        "Title b: diarize failed: No audio in it.",
    ]
    assert result.state == "failed"
    assert result.video_ids == ("feed-a", "feed-b")
    assert [(f.what, f.task, f.reason) for f in result.failures] == [("Title b", "diarize", "No audio in it.")]


def test_a_batch_names_its_videos_and_those_that_failed(api, airflow, workspace, capsys):
    for name, state, reason in (("a", "done", "Done."), ("b", "failed", "No audio in it.")):
        workspace.write_status(
            Status(video_id=f"feed-{name}", stage="diarize", state=state, exit_code=65, reason=reason, at=now())
        )
    prepare(
        airflow,
        page(task("select_videos", "success"), task("ingest_video.diarize", "failed", 0)),
        batches=[["feed-a", "feed-b"]],
    )
    result = watch(RunView(api, workspace, "d", "manual__1+00:00"), Console(), lambda: None)
    assert "2 videos: Title a; Title b: diarize failed: No audio in it." in capsys.readouterr().out
    assert result.video_ids == ("feed-a", "feed-b")
    assert [(f.what, f.task, f.reason) for f in result.failures] == [("Title b", "diarize", "No audio in it.")]


def test_a_terminal_gets_a_row_for_every_batch(api, airflow, workspace, capsys):
    prepare(airflow, page(task("select_videos", "success"), task("ingest_video.fetch_audio", "running", 0)))
    view = RunView(api, workspace, "d", "manual__1+00:00")
    watch(view, Console(force_terminal=True, width=140), lambda: None)
    shown = capsys.readouterr().out
    assert "Title a" in shown
    assert "Title b" in shown
    assert all(name in shown for name in VIDEO_TASKS)


def test_a_channel_that_could_not_be_polled_is_named_with_the_reason(api, airflow, workspace):
    prepare(airflow, page(task("poll_channels", "failed", 0)))
    xcoms = f"{RUN}/taskInstances"
    query = "deserialize=false&stringify=false"
    airflow.answers |= {
        f"{xcoms}/poll_channels/xcomEntries/failure?map_index=0&{query}": {"value": "No network."},
        f"{xcoms}/choose_channels/xcomEntries/return_value?map_index=-1&{query}": {"value": ["https://x.example/"]},
    }
    view = RunView(api, workspace, "d", "manual__1+00:00")
    result = watch(view, Console(), lambda: None)
    assert [(f.what, f.reason) for f in result.failures] == [("https://x.example/", "No network.")]


def test_why_something_is_tried_again_is_said_at_once(api, airflow, workspace, capsys):
    prepare(airflow, page(task("poll_channels", "up_for_retry", 0)))
    path = f"{RUN}/taskInstances/poll_channels/xcomEntries/failure?map_index=0&deserialize=false&stringify=false"
    airflow.answers[path] = {"value": "No network."}
    watch(RunView(api, workspace, "d", "manual__1+00:00"), Console(), lambda: None)
    assert "poll_channels waits to try again: No network." in capsys.readouterr().out


def test_watching_ends_when_the_stack_dies(api, airflow, workspace):
    prepare(airflow, page(), page())

    def dead() -> None:
        raise TryAgainError("scheduler ended")

    with pytest.raises(TryAgainError, match="scheduler ended"):
        watch(RunView(api, workspace, "d", "manual__1+00:00"), Console(), dead)

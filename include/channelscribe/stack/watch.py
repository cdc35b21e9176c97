"""Live progress of a run: a row for every batch of videos, with the state of its stages."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from channelscribe import batches
from channelscribe.profiles import STAGES
from channelscribe.stack.airflow_api import FINISHED, AirflowApi, TaskState
from channelscribe.workspace import Workspace

POLL_S = 0.7
VIDEO_TASKS = (*STAGES, "load")
GROUP = "ingest_video."
# The key under which a task outside the group leaves why it failed.
_FAILURE = "failure"
_WORDS = {
    "running": ("running", "yellow"),
    "success": ("done", "green"),
    "skipped": ("nothing to do", "green"),
    "failed": ("failed", "bold red"),
    "upstream_failed": ("not reached", "dim"),
    "up_for_retry": ("waits to try again", "magenta"),
}
_TROUBLED = ("failed", "up_for_retry")
_SEE_LOG = "It ended before it could say why: see the log of its task."
_SILENT = ("upstream_failed", "queued", "scheduled", "restarting", "deferred", "removed", None)


@dataclass(frozen=True)
class Failure:
    """What failed, where and why."""

    what: str
    task: str
    reason: str


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        run_id: the run.
        state: ``success`` or ``failed``.
        video_ids: the videos that it took on.
        failures: the videos and channels that failed.
    """

    run_id: str
    state: str
    video_ids: tuple[str, ...]
    failures: tuple[Failure, ...] = field(default_factory=tuple)


class RunView:
    """A run as its API and the workspace show it.

    Args:
        api: Airflow's API.
        workspace: where the titles and the reasons are.
        dag_id: the DAG.
        run_id: the run.
    """

    def __init__(self, api: AirflowApi, workspace: Workspace, dag_id: str, run_id: str) -> None:
        self.api = api
        self.workspace = workspace
        self.dag_id = dag_id
        self.run_id = run_id
        self.state = "queued"
        self.batches: tuple[tuple[str, ...], ...] = ()
        self.tasks: Mapping[tuple[str, int], TaskState] = {}
        # Looked up once: a title doesn't change during a run.
        self.title = cache(lambda video_ids: batches.title(workspace, video_ids))

    def refresh(self) -> None:
        """Ask for the present state. The run's is asked for first: once it has ended, so have its tasks."""
        self.state = self.api.run_state(self.dag_id, self.run_id)
        self.tasks = {(task.task_id, task.map_index): task for task in self.api.tasks(self.dag_id, self.run_id)}
        selected = self.tasks.get(("select_videos", -1))
        if not self.batches and selected and selected.state == "success":
            self.batches = tuple(tuple(batch) for batch in self._xcom("select_videos") or ())

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The videos that the run took on."""
        return tuple(video_id for batch in self.batches for video_id in batch)

    def batch_task(self, index: int, name: str) -> TaskState | None:
        """One task of one batch, None as long as Airflow hasn't made it."""
        return self.tasks.get((GROUP + name, index))

    def result(self) -> RunResult:
        """How the run ended."""
        return RunResult(self.run_id, self.state, self.video_ids, tuple(self._failures()))

    def subject(self, task: TaskState) -> str:
        """What a task works on, for people: the titles of its videos, a channel, or the run itself."""
        if task.task_id.startswith(GROUP):
            return self.title(self.batches[task.map_index])
        channels = self._xcom("choose_channels") if task.task_id == "poll_channels" else None
        return str(channels[task.map_index]) if channels else "the run"

    def reason(self, task: TaskState) -> str:
        """Why a task failed: for its videos the stage's own sentences."""
        name = task.task_id.removeprefix(GROUP)
        if name == task.task_id:
            return str(self._xcom(name, _FAILURE, task.map_index) or _SEE_LOG)
        return " ".join(reason for _, reason in self._failed_videos(task)) or _SEE_LOG

    def _xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.api.xcom(self.dag_id, self.run_id, task_id, key, map_index)

    def _failures(self) -> Iterator[Failure]:
        for task in self.tasks.values():
            if task.state == "failed" and task.task_id != "report_run":
                name = task.task_id.removeprefix(GROUP)
                failed = list(self._failed_videos(task)) if name != task.task_id else []
                for video_id, reason in failed:
                    yield Failure(self.title((video_id,)), name, reason)
                if not failed:
                    yield Failure(self.subject(task), name, self.reason(task))

    def _failed_videos(self, task: TaskState) -> Iterator[tuple[str, str]]:
        """The videos of a stage's task that failed, with the reasons."""
        name = task.task_id.removeprefix(GROUP)
        for video_id in self.batches[task.map_index]:
            status = self.workspace.read_status(video_id, name)
            if status and status.state == "failed":
                yield video_id, status.reason


def watch(view: RunView, console: Console, still_alive: Callable[[], None]) -> RunResult:
    """Show a run's progress until it ends: a live table on a terminal, otherwise a line per change.

    Args:
        view: the run.
        console: where to.
        still_alive: called again and again; raises if the stack has died.
    """
    with _display(view, console) as show:
        while True:
            still_alive()
            view.refresh()
            show()
            if view.state in FINISHED:
                return view.result()
            time.sleep(POLL_S)


@contextmanager
def _display(view: RunView, console: Console) -> Iterator[Callable[[], None]]:
    if not console.is_terminal:
        lines = _Lines(view, console)
        yield lines.show
        return
    started = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield lambda: live.update(_table(view, time.monotonic() - started), refresh=True)


class _Lines:
    """Prints every change of state once."""

    def __init__(self, view: RunView, console: Console) -> None:
        self.view = view
        self.console = console
        self.shown: dict[tuple[str, int], tuple[str | None, int]] = {}
        self.started = time.monotonic()

    def show(self) -> None:
        for (task_id, map_index), task in sorted(self.view.tasks.items(), key=_order):
            state = (task.state, task.try_number)
            if task.state in _SILENT or self.shown.get((task_id, map_index)) == state:
                continue
            self.shown[task_id, map_index] = state
            if task_id.startswith(GROUP) and (map_index < 0 or map_index >= len(self.view.batches)):
                continue
            self.console.print(self._line(task), highlight=False, markup=False, soft_wrap=True)

    def _line(self, task: TaskState) -> str:
        word = _WORDS.get(task.state or "", (task.state or "",))[0]
        took = f" in {task.duration_s:.1f} s" if task.state == "success" and task.duration_s else ""
        name = task.task_id.removeprefix(GROUP)
        what = name if name == task.task_id else f"{self.view.subject(task)}: {name}"
        reason = f": {self.view.reason(task)}" if task.state in _TROUBLED and name != "report_run" else ""
        return f"{time.monotonic() - self.started:6.1f} s  {what} {word}{took}{reason}"


def _order(item: tuple[tuple[str, int], TaskState]) -> tuple[int, int]:
    (task_id, map_index), _ = item
    name = task_id.removeprefix(GROUP)
    return map_index, VIDEO_TASKS.index(name) if name in VIDEO_TASKS else -1


def _table(view: RunView, elapsed_s: float) -> Group:
    head = Text(f"{view.run_id}  {view.state}  {elapsed_s:.0f} s", style="bold")
    steps = Text("  ")
    for name in ("choose_channels", "pin_image", "poll_channels", "select_videos", "report_run"):
        states = [task.state for (task_id, _), task in view.tasks.items() if task_id == name]
        if states or name != "pin_image":  # there is one with containers only
            steps.append(f"{name} ").append_text(_mark(_worst(states))).append("   ")
    troubles = [
        Text(f"{view.subject(task)} ({task.task_id.removeprefix(GROUP)}): {view.reason(task)}", style="magenta")
        for task in view.tasks.values()
        if task.state == "up_for_retry"
    ]
    if not view.batches:
        return Group(head, steps, *troubles)
    table = Table("video", *VIDEO_TASKS, box=None, pad_edge=False, header_style="dim")
    for index, batch in enumerate(view.batches):
        cells = []
        for name in VIDEO_TASKS:
            task = view.batch_task(index, name)
            cell = _mark(task.state if task else None)
            if task and task.duration_s and task.state == "success":
                cell.append(f" {task.duration_s:.1f} s", style="dim")
            cells.append(cell)
        table.add_row(Text(view.title(batch), overflow="ellipsis", no_wrap=True), *cells)
    return Group(head, steps, table, *troubles)


def _mark(state: str | None) -> Text:
    word, style = _WORDS.get(state or "", ("waits" if state else "·", "dim"))
    return Text(word, style=style)


def _worst(states: list[str | None]) -> str | None:
    for state in ("failed", "up_for_retry", "running", "success", "skipped"):
        if state in states:
            return state
    return states[0] if states else None

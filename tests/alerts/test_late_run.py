"""What is said of a run past its deadline, from the workspace that its stages leave behind."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from channelscribe.alerts.budgets import Usual
from channelscribe.alerts.late_run import LateRun, Pool, bytes_there, late_run_alert
from channelscribe.contracts import Progress, Status, Video
from channelscribe.profiles import BUNDLED, STAGES
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace, now, write_atomically

DONE = dict.fromkeys((*STAGES, "load"), "success")


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


def add(workspace: Workspace, video_id: str, **minutes_ago: tuple[str, float]) -> None:
    """A video whose stages have such states, since so many minutes."""
    workspace.write_video(
        Video(
            video_id=video_id, source_id="x", url="http://x", title=f"About {video_id}", channel_url="http://x",
            channel_title="X", duration_s=600,
        )
    )  # fmt: skip
    for stage, (state, minutes) in minutes_ago.items():
        at = now() - timedelta(minutes=minutes)
        workspace.write_status(Status(video_id=video_id, stage=stage, state=state, exit_code=None, reason=".", at=at))


def late(states: list[dict[str, str]], ids: list[str]) -> LateRun:
    return LateRun(
        run_id="manual__1",
        has_started=True,
        since=now() - timedelta(minutes=30),
        batches=[[video_id] for video_id in ids],
        states={(stage, index): state for index, batch in enumerate(states) for stage, state in batch.items()},
        link="http://ui/run",
        link_of=lambda stage, index: f"http://ui/{stage}/{index}",
    )


def vram(slots: int, taken: dict[str, int]) -> Pool:
    return Pool("vram_gib", slots, {"diarize": 2}, taken)


def alert_of(run: LateRun, workspace: Workspace, learned: dict[str, Usual] | None = None, pools: Sequence[Pool] = ()):
    settings = Settings(data_root=workspace.data_root, alert_run_minutes=20)
    seen = bytes_there(run, workspace, BUNDLED)
    return late_run_alert(run, workspace, BUNDLED, settings, learned or {}, pools=pools, seen=seen)


def test_nothing_is_said_once_all_is_done(workspace) -> None:
    add(workspace, "a")
    add(workspace, "b")
    failed = {"fetch_audio": "failed", **dict.fromkeys((*list(STAGES)[1:], "load"), "skipped")}
    assert alert_of(late([DONE, failed], ["a", "b"]), workspace) is None


def test_it_names_what_is_at_work_and_what_waits_for_how_long_against_before(workspace) -> None:
    add(workspace, "a")
    add(workspace, "b", fetch_audio=("done", 20), diarize=("running", 12))
    add(workspace, "c", fetch_audio=("done", 8))
    run = late(
        [DONE, {"fetch_audio": "success", "diarize": "running"}, {"fetch_audio": "success", "diarize": "scheduled"}],
        ["a", "b", "c"],
    )
    alert = alert_of(run, workspace, {"diarize": Usual(3.0, 10.0, 5)}, [vram(3, {"diarize": 2})])
    assert alert.title == "A run is late: 2 of 3 batches are not done after 30 min"
    assert alert.subject == alert.run_id == "manual__1"
    first, at_work, waiting, cause = alert.lines
    assert first.endswith("expected were 20 min. 1 of 3 batches are done.")
    assert at_work == ("About b: diarize is at work for 12 min; before, as much audio took 40 s. http://ui/diarize/1")
    assert waiting == "About c: waits for diarize, for 8 min now. http://ui/diarize/2"
    assert cause == (
        "Likely cause: The pool vram_gib is full: 2 of 3 slots are taken by diarize (2); 1 wait for 2 or more."
    )
    assert alert.link == "http://ui/run"


def test_what_another_dag_holds_is_a_cause_and_of_either_pool(workspace) -> None:
    add(workspace, "a", fetch_audio=("done", 20))
    add(workspace, "b")
    run = late([{"fetch_audio": "success", "diarize": "scheduled"}, {"fetch_audio": "scheduled"}], ["a", "b"])
    downloads = Pool("downloads", 2, {"fetch_audio": 1}, {"fetch_audio of backfill": 2})
    alert = alert_of(run, workspace, pools=[downloads, vram(4, {"diarize of reprocess": 4})])
    assert [line for line in alert.lines if line.startswith("Likely cause")] == [
        "Likely cause: The pool downloads is full: 2 of 2 slots are taken by fetch_audio of backfill (2); 1 wait for 1 "
        "or more.",
        "Likely cause: The pool vram_gib is full: 4 of 4 slots are taken by diarize of reprocess (4); 1 wait for 2 or "
        "more.",
    ]
    with_room = alert_of(run, workspace, pools=[replace(downloads, taken={"fetch_audio of backfill": 1})])
    assert with_room.lines[-1] == "No cause is to be seen: there may just be much to do."


def test_polls_that_wait_for_a_full_pool_are_told_of(workspace) -> None:
    run = replace(late([], []), batches=None, states={("poll_channels", 0): "scheduled"})
    alert = alert_of(run, workspace, pools=[Pool("downloads", 2, {"poll_channels": 1}, {"fetch_audio of backfill": 2})])
    assert alert.lines[-1].startswith("Likely cause: The pool downloads is full: 2 of 2 slots are taken by fetch_audio")


def test_the_cause_is_what_the_stage_says_of_itself(workspace) -> None:
    add(workspace, "a", fetch_audio=("done", 20), diarize=("running", 12))
    progress = Progress(
        part="segment", at=now(), elapsed_s=700, work_s=690, start_up_s=10, device_requested="cuda",
        device_used="cuda", cpu_s=600, cpu_wait_s=1, gpu_busy_share=0.01, gpu_span_s=60,
    )  # fmt: skip
    write_atomically(workspace.progress_file("a", "diarize"), progress.model_dump_json())
    alert = alert_of(late([{"fetch_audio": "success", "diarize": "running"}], ["a"]), workspace)
    causes = [line for line in alert.lines if line.startswith("Likely cause")]
    assert causes == [
        "Likely cause: It runs on cuda, and not on cpu as the profile asks for.",
        "Likely cause: The GPU is idle: 1% busy over the last 1 min, in the part 'segment'.",
    ]


def test_a_slow_download_is_told_by_what_came_while_it_was_looked_at(workspace) -> None:
    add(workspace, "a", fetch_audio=("running", 12))
    folder = workspace.partial_download("a", BUNDLED.stages["fetch_audio"])
    folder.mkdir(parents=True)
    (folder / "source.mp3.part").write_bytes(b"x" * 10_000)  # all of it long ago
    alert = alert_of(late([{"fetch_audio": "running"}], ["a"]), workspace)
    assert alert.lines[-1] == "Likely cause: The download is slow: 0.0 KiB/s over 5 s."


def test_without_a_cause_it_says_so_and_many_lines_are_cut(workspace) -> None:
    ids = [f"v{number}" for number in range(40)]
    for video_id in ids:
        add(workspace, video_id)
    alert = alert_of(late([{}] * 40, ids), workspace)
    assert len(alert.lines) == 1 + 12 + 1 + 1
    assert alert.lines[-2] == "... and 28 more."
    assert alert.lines[-1] == "No cause is to be seen: there may just be much to do."


@pytest.mark.parametrize(
    ("has_started", "title", "why"),
    [
        (True, "A run is late: it has not chosen its videos after 30 min", "still being polled"),
        (False, "A run is late: it has not started after 30 min", "another is still going before it"),
    ],
)
def test_a_run_that_has_not_come_to_its_videos_is_told_of(workspace, has_started, title, why) -> None:
    run = replace(late([], []), batches=None, has_started=has_started)
    alert = alert_of(run, workspace)
    assert alert.title == title
    assert why in alert.lines[1]


def test_a_run_without_anything_new_is_not_late(workspace) -> None:
    assert alert_of(late([], []), workspace) is None

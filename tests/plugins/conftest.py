"""A stage program of the tests' own in the place of the stages' interpreter, and a workspace with three videos."""

import json
import runpy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from channelscribe.contracts import Status, Video
from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now

runpy.run_path(str(Path(__file__).parents[1] / "dags" / "airflow_environment.py"))

collect_ignore_glob = [] if find_spec("airflow") else ["test_*.py"]

PROGRAM = Path(__file__).parent / "stage_program.py"


def record_video(workspace: Workspace, video_id: str, title: str) -> None:
    """Record a video whose audio was fetched."""
    workspace.write_video(
        Video(
            video_id=video_id,
            source_id=video_id,
            url="http://x/",
            title=title,
            channel_url="http://x",
            channel_title="X",
        )
    )
    write_status(workspace, video_id, "fetch_audio", "done")


def write_status(workspace: Workspace, video_id: str, stage: str, state: str, reason: str = "Because.") -> None:
    code = 65 if state == "failed" else 0
    assert stage in (*STAGES, "load")
    workspace.write_status(Status(video_id=video_id, stage=stage, state=state, exit_code=code, reason=reason, at=now()))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(interpreter))
    get_settings.cache_clear()
    workspace = Workspace(get_settings().data_dir)
    for number, video_id in enumerate(("v1", "v2", "v3"), start=1):
        record_video(workspace, video_id, f"Title {number}")
    yield workspace
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def stages_python() -> Path:
    """The stages' own interpreter, as it was set before a test changed that."""
    interpreter = get_settings().stages_interpreter
    if not interpreter.exists():
        pytest.skip("the stages' environment is not there")
    return interpreter


@pytest.fixture
def reading(stages_python: Path) -> Path:
    """A real recording, of the stages' environment."""
    (found,) = stages_python.parents[1].glob("lib/python*/site-packages/moonshine_voice/assets/two_cities.wav")
    return found


@pytest.fixture
def set_status(workspace: Workspace) -> Callable[[str, str, str], None]:
    """Record how a stage stands for a video: its id, the stage, the state."""
    return lambda video_id, stage, state: write_status(workspace, video_id, stage, state)


@pytest.fixture
def behave(workspace: Workspace) -> Callable[..., None]:
    """Say what the stage program is to do."""

    def set_behaviour(**behaviour: object) -> None:
        (workspace.data_root / "behaviour.json").write_text(json.dumps(behaviour))

    return set_behaviour


@pytest.fixture
def add_video(workspace: Workspace) -> Callable[[str, str], None]:
    """Record one more video, by id and title."""
    return lambda video_id, title: record_video(workspace, video_id, title)


@pytest.fixture
def script(workspace: Workspace, docker_engine) -> Callable[[str], None]:
    """Say what the image's program is to do."""
    return lambda text: docker_engine.behave(workspace.data_root, text)


@pytest.fixture(
    params=[
        (64, "failed", "AirflowFailException"),
        (65, "failed", "AirflowFailException"),
        (70, "failed", "AirflowException"),
        (75, "failed", "AirflowException"),
        (78, "failed", "AirflowFailException"),
        (99, "empty", "AirflowSkipException"),
    ],
    ids=lambda ending: str(ending[0]),
)
def ending(request: pytest.FixtureRequest) -> tuple[int, str, type[Exception]]:
    """An exit code, the state that a stage records with it, and what the task is to raise."""
    from airflow.sdk import exceptions

    code, state, name = request.param
    return code, state, getattr(exceptions, name)

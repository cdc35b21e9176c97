"""A stage program of the tests' own in the place of the stages' interpreter, and a workspace with one video."""

import json
import runpy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from channelscribe.contracts import Video
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

runpy.run_path(str(Path(__file__).parents[1] / "dags" / "airflow_environment.py"))

collect_ignore_glob = [] if find_spec("airflow") else ["test_*.py"]

PROGRAM = Path(__file__).parent / "stage_program.py"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(interpreter))
    get_settings.cache_clear()
    workspace = Workspace(get_settings().data_dir)
    workspace.write_video(
        Video(video_id="v1", source_id="1", url="http://x/1", title="One", channel_url="http://x", channel_title="X")
    )
    yield workspace
    get_settings.cache_clear()


@pytest.fixture
def behave(workspace: Workspace) -> Callable[..., None]:
    """Say what the stage program is to do."""

    def set_behaviour(**behaviour: object) -> None:
        (workspace.data_root / "behaviour.json").write_text(json.dumps(behaviour))

    return set_behaviour

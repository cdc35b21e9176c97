"""The DAGs as Airflow parses them, in an Airflow of the tests' own, and whole runs of them."""

import json
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from channelscribe.contracts import ListedVideo, Video
from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings

runpy.run_path(str(Path(__file__).with_name("airflow_environment.py")))

collect_ignore_glob = [] if find_spec("airflow") else ["test_*.py"]

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings of the tests' own: whatever the machine's .env file says."""
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "https://example.org/feed.xml")
    for name in ("SCHEDULE", "LIMIT", "PROFILE", "DATA_ROOT", "RUNTIME", "BATCH_MINUTES"):
        monkeypatch.setenv(f"CHANNELSCRIBE_{name}", "")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def airflow_database():
    from airflow.models import Pool
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        for name in ("downloads", "vram_gib"):
            Pool.create_or_update_pool(name, 4, "", include_deferred=False, session=session)


@pytest.fixture
def load_dags(settings):
    """Parse dags/ anew, with the settings as they are now."""

    def load():
        from airflow.dag_processing.dagbag import DagBag

        get_settings.cache_clear()
        return DagBag(dag_folder=str(DAGS))

    return load


@pytest.fixture
def dag(load_dags):
    return load_dags().dags["channel_ingest"]


class Channels:
    """The channels that the runs poll, and what they list."""

    def __init__(self):
        self.listings = {}

    def list_channel(self, channel, known_ids, check_names=None):
        listing = self.listings[channel]
        if isinstance(listing, Exception):
            raise listing
        videos = [
            Video(
                video_id=video_id,
                source_id=video_id,
                url=f"http://127.0.0.1/{video_id}",
                title=f"About {video_id}",
                channel_url=channel,
                channel_title="X",
            )
            for video_id in listing
        ]
        return [ListedVideo(video=video) for video in videos], True


@pytest.fixture
def channels(monkeypatch):
    result = Channels()
    monkeypatch.setattr("channelscribe.channels.polling.list_channel", result.list_channel)
    return result


class Ended:
    """How a run ended."""

    def __init__(self, dag_run, log):
        self.state = dag_run.state
        self.log = log
        tasks = dag_run.get_task_instances()
        self.tasks = {(task.task_id.removeprefix("ingest_video."), task.map_index): task.state for task in tasks}
        self.labels = {(task.task_id, task.map_index): task.rendered_map_index for task in tasks}

    def of_video(self, index):
        return [self.tasks.get((stage, index)) for stage in (*STAGES, "load")]


@pytest.fixture
def stage_programs(tmp_path, monkeypatch):
    """A small program in the place of the stages, which ends as a run's `codes` say."""
    interpreter = tmp_path / "python"
    program = Path(__file__).with_name("stage_program.py")
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {program} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(interpreter))
    monkeypatch.setattr("channelscribe_airflow.process_operator._STAGES_OF_AIRFLOWS_ENVIRONMENT", ())


@pytest.fixture
def run_dag(airflow_database, load_dags, capsys, caplog):
    """Run a DAG; returns how it ended, with its log."""

    def run(dag_id, codes=None, **conf):
        dag = load_dags().dags[dag_id]
        get_settings().data_dir.mkdir(parents=True, exist_ok=True)
        (get_settings().data_dir / "codes.json").write_text(json.dumps(codes or {}))
        for task in dag.tasks:
            task.retries = 0
        dag.deadline = None  # dag.test() of Airflow 3.3 fails at a run that succeeds with one
        caplog.clear()
        dag_run = dag.test(run_conf=conf)
        return Ended(dag_run, caplog.text + capsys.readouterr().out)

    return run

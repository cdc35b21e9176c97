"""The maintenance against a real engine and a real workspace."""

import os
from types import SimpleNamespace

import pytest

from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe_airflow import maintenance

pytestmark = pytest.mark.airflow

RUN = "manual__1+00:00"


class Airflow:
    """Answers for the states of tasks, as Airflow's own task instance does: by task id and index."""

    def __init__(self, **states):
        self.states = states

    def get_task_states(self, *, dag_id, run_ids, task_ids):
        assert (dag_id, run_ids) == ("d", [RUN])
        return {RUN: {name: state for name, state in self.states.items() if name.startswith(task_ids[0])}}


@pytest.fixture
def orphan(engine, image, workspace):
    """Starts containers as the operator labels them; whatever is left is removed in the end."""
    started = []

    def start(map_index, task_id="diarize"):
        ti = SimpleNamespace(dag_id="d", run_id=RUN, task_id=task_id, map_index=map_index, try_number=1)
        config = engine.create_host_config(network_mode="none")
        container = engine.create_container(
            image=image, command=["sleep", "600"], labels=containers.labels(ti), host_config=config
        )["Id"]
        started.append(container)
        engine.start(container)
        return container

    yield start
    for container in started:
        containers.remove(engine, container)


def left(engine):
    return set(containers.of_installation(engine, get_settings().data_dir))


@pytest.mark.parametrize("state", ["failed", "success", "up_for_retry", "skipped"])
def test_a_container_whose_task_has_ended_is_removed_and_one_at_work_stays(engine, orphan, state):
    ended, at_work = orphan(0), orphan(1)
    assert maintenance.reap_containers(Airflow(diarize_0=state, diarize_1="running")) == 1
    assert left(engine) == {at_work}
    assert ended not in left(engine)


def test_a_container_of_a_run_that_airflow_forgot_is_removed(engine, orphan):
    orphan(0)
    assert maintenance.reap_containers(Airflow()) == 1
    assert left(engine) == set()


def test_a_task_without_an_index_is_known(engine, orphan):
    container = orphan(-1)
    assert maintenance.reap_containers(Airflow(diarize="running")) == 0
    assert left(engine) == {container}


def test_containers_of_another_installation_are_left_alone(engine, orphan, tmp_path, monkeypatch):
    container = orphan(0)
    mine = get_settings().data_dir
    monkeypatch.setenv("CHANNELSCRIBE_DATA_ROOT", str(tmp_path / "other"))
    get_settings.cache_clear()
    assert maintenance.reap_containers(Airflow()) == 0
    assert set(containers.of_installation(engine, mine)) == {container}


def test_what_a_killed_attempt_left_goes_once_it_is_old(workspace):
    leftover = workspace.stage_dir("v1", "diarize") / ".new-abc-123"
    leftover.mkdir(parents=True)
    assert maintenance.remove_unused_artifacts() == 0
    os.utime(leftover, (0, 0))
    assert maintenance.remove_unused_artifacts() == 1
    assert not leftover.exists()

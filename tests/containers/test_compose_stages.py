"""The stages' containers, which compose knows nothing of, when the stack is stopped, replaced or left as it is."""

import subprocess
import sys
import uuid

import pytest

# As the scheduler of docker/compose.yaml to scripts/compose.py, but without what it schedules with.
SERVICES = """
services:
  scheduler:
    image: {image}
    command: [sleep, "600"]
    network_mode: none
    stop_grace_period: 1s
    environment: {{LIMIT: "${{CHANNELSCRIBE_LIMIT:-}}"}}
"""


class Stack:
    """A small compose project behind scripts/compose.py, and the stages' containers of its data root."""

    def __init__(self, engine, image, compose, home, monkeypatch):
        self.engine, self.image, self.compose, self.home = engine, image, compose, home
        self.monkeypatch = monkeypatch
        self.made = []

    def make(self, action):
        self.monkeypatch.setattr(sys, "argv", ["compose.py", action])
        self.compose.main()

    def start_stage(self, data_root=None):
        labels = {"channelscribe.data_root": str(data_root or self.home / "data")}
        container = self.engine.create_container(self.image, ["sleep", "600"], labels=labels)["Id"]
        self.made.append(container)
        self.engine.start(container)
        return container

    def at_work(self):
        running = {container["Id"] for container in self.engine.containers()}
        return [container for container in self.made if container in running]


@pytest.fixture
def stack(engine, small_image, script, require, tmp_path, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_IMAGE", small_image)
    monkeypatch.setenv("CHANNELSCRIBE_AIRFLOW_IMAGE", small_image)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", f"channelscribe-test-{uuid.uuid4().hex[:8]}")
    for name in ("DATA_ROOT", "MODELS_ROOT", "LIMIT"):
        monkeypatch.delenv(f"CHANNELSCRIBE_{name}", raising=False)
    compose = script("compose")
    try:
        compose.compose_command(compose.docker())
    except SystemExit:
        require("compose is not installed")
    (tmp_path / "compose.yaml").write_text(SERVICES.format(image=small_image))
    monkeypatch.setattr(compose, "COMPOSE_FILE", tmp_path / "compose.yaml")
    monkeypatch.setattr(compose, "unhealthy", lambda variables: [])
    monkeypatch.setattr(compose, "follow_channels", lambda call: None)  # needs the real image
    result = Stack(engine, small_image, compose, tmp_path / "home", monkeypatch)
    yield result
    if (tmp_path / "home").exists():
        result.make("clean")
    for container in result.at_work():
        engine.remove_container(container, force=True)


def test_stages_go_with_the_scheduler_that_started_them_and_not_before(stack, monkeypatch):
    stack.make("up")
    stage, foreign = stack.start_stage(), stack.start_stage("/somebody/else")
    stack.make("up")
    assert stack.at_work() == [stage, foreign]

    monkeypatch.setenv("CHANNELSCRIBE_LIMIT", "3")
    stack.make("up")
    assert stack.at_work() == [foreign]

    of_the_new_one = stack.start_stage()
    stack.make("up")
    assert stack.at_work() == [foreign, of_the_new_one]
    stack.make("down")
    assert stack.at_work() == [foreign]


@pytest.mark.parametrize("action", ["down", "clean"])
def test_stages_that_have_ended_are_removed_too(stack, action):
    stack.make("up")
    stage = stack.start_stage()
    stack.engine.kill(stage)
    stack.make(action)
    assert stage not in {container["Id"] for container in stack.engine.containers(all=True)}


def test_a_container_that_its_task_removes_meanwhile_is_no_failure(stack, monkeypatch):
    stack.make("up")
    stage, _ = stack.start_stage(), stack.start_stage()
    run = subprocess.run

    def removed_just_before(call, **options):
        if call[1:2] == ["rm"]:
            stack.engine.remove_container(stage, force=True)
        return run(call, **options)

    monkeypatch.setattr(subprocess, "run", removed_just_before)
    stack.make("down")
    assert stack.at_work() == []

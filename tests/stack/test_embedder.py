"""The embedder as a part of the stack, with a small program in its place; the real one: tests/models."""

import sys
import time

import pytest

from channelscribe.settings import Settings
from channelscribe.stack.embedded import EMBEDDER, Record, Stack
from channelscribe.stack.processes import is_alive, stop_processes

RECORD = Record({}, port=1, demo_port=2, owner=None, owner_created=None)


@pytest.fixture
def stack(tmp_path):
    """A stack that was started, whose stages' Python runs what `program` says."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path / "program.py"}" "$@"\n')
    python.chmod(0o755)
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    settings = Settings(_env_file=None, home=home, stages_python=python, embedder_idle_s=7)
    result = Stack(settings)
    result._write_record(RECORD)
    yield result
    stop_processes(home, grace_s=0)


def program(stack: Stack, code: str) -> None:
    (stack.home.parent / "program.py").write_text(code)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_is_started_once_and_stopped_with_the_stack(stack):
    program(stack, "import sys, time; print(sys.argv[1:], flush=True); time.sleep(300)")
    stack.start_embedder(pytest.fail)
    pid = stack.record.pids[EMBEDDER]
    folder = str(stack.home / "run" / "embedder")
    expected = ["-m", "channelscribe.models.embedder_server", "--idle-s", "7.0"]
    wait_for(lambda: stack.last_words(EMBEDDER) == str([*expected, "--folder", folder]))
    stack.start_embedder(pytest.fail)
    assert stack.record.pids == {EMBEDDER: pid}
    assert (stack.dead(), stack.missing()) == ([], [])
    stop_processes(stack.home)
    assert not is_alive(pid, stack.home)


def test_the_stack_does_without_it_and_the_next_start_brings_it_back(stack):
    program(stack, "print('no model')")
    stack.start_embedder(pytest.fail)
    wait_for(lambda: stack.last_words(EMBEDDER) == "no model" and stack.dead() == [EMBEDDER])
    assert stack.missing() == []
    program(stack, "import time; print('here', flush=True); time.sleep(300)")
    stack.start_embedder(pytest.fail)
    wait_for(lambda: stack.last_words(EMBEDDER) == "here")
    assert stack.dead() == []


def test_one_that_cannot_be_started_is_said_and_stops_nothing(stack):
    stack.settings.stages_interpreter.unlink()
    said = []
    stack.start_embedder(said.append)
    assert stack.record == RECORD
    (sentence,) = said
    assert "Searches will be slow" in sentence and "No such file" in sentence


def test_nothing_is_started_for_a_stack_that_is_down(stack):
    stack._record_file.unlink()
    stack.start_embedder(pytest.fail)
    assert stack.record is None

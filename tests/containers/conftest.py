"""Fixtures for the images, the compose file and the proxy of the engine's socket."""

import importlib
import sys
import uuid
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def small_image(engine, docker_engine):
    """An image of a few megabytes with a shell."""
    name = f"channelscribe-test-{uuid.uuid4().hex[:8]}"
    yield docker_engine.import_program(engine, name)
    engine.remove_image(f"{name}:test", force=True)


@pytest.fixture(scope="session")
def require(docker_engine):
    """Skips a test, or fails it where an engine is required."""
    return docker_engine.unavailable


@pytest.fixture
def script(monkeypatch):
    """Imports a script by its name, with those that it imports itself."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(SCRIPTS)):
            del sys.modules[name]

"""Programs in containers: over a stand-in of the engine, and over a real one."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA
from channelscribe.settings import get_settings

docker = pytest.importorskip("docker", reason="docker-py is in Airflow's environment")

from channelscribe.stack import container_programs, containers  # noqa: E402
from channelscribe.stack.container_programs import ContainerPrograms  # noqa: E402
from channelscribe.store.speakers.enrolling import embed_clips  # noqa: E402

PROGRAM = Path(__file__).parents[1] / "voice_programs.py"
SPEC = BUNDLED.stages["identify_speakers"]
IMAGE = "sha256:" + "a" * 64


class FakeEngine:
    """Runs a container's command by a program of the tests' own, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.made: list[dict] = []
        self.there: set[str] = set()
        self.ends: dict[str, object] = {}
        self.command = [sys.executable, str(PROGRAM)]
        # Talks to nobody before its first call.
        self.create_host_config = docker.APIClient("unix:///nowhere.sock", version="1.41").create_host_config

    def create_container(self, **asked):
        self.made.append(asked)
        self.there.add("one")
        return {"Id": "one"}

    def start(self, container_id: str) -> None:
        command = [*self.command, *self.made[-1]["command"][1:]]
        self.done = subprocess.run(command, capture_output=True, check=False)

    def wait(self, container_id: str, timeout: float) -> dict:
        if error := self.ends.get("error"):
            raise error
        return {"StatusCode": self.done.returncode}

    def inspect_container(self, container_id: str) -> dict:
        return {"State": {"OOMKilled": self.ends.get("oom", False)}}

    def logs(self, container_id: str, *, stdout: bool, tail: int) -> bytes:
        return self.done.stderr

    def containers(self, **asked) -> list[dict]:
        return [{"Id": name, "Labels": {}} for name in self.there]

    def remove_container(self, container_id: str, **asked) -> None:
        self.there.remove(container_id)


@pytest.fixture
def task() -> SimpleNamespace:
    return SimpleNamespace(
        dag_id="enroll_speakers", run_id="manual__1", task_id="enroll_voice", map_index=-1, try_number=1
    )


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", "/nowhere/python")
    get_settings.cache_clear()
    root = get_settings().data_dir
    root.mkdir()
    yield root
    get_settings.cache_clear()


@pytest.fixture
def fake(data_root, monkeypatch) -> FakeEngine:
    client = FakeEngine()

    @contextmanager
    def connect(timeout_s: int):
        yield client

    monkeypatch.setattr(container_programs, "docker_client", connect)
    monkeypatch.setattr(container_programs, "image_id", lambda name: IMAGE)
    return client


@pytest.fixture
def clip(data_root) -> Path:
    path = data_root / "enrollments" / "ada.wav"
    path.parent.mkdir()
    path.write_text("voice 3")
    return path


def test_the_voices_come_back_from_a_container_and_nothing_is_left(fake, task, clip, data_root):
    fake.there.add("of an attempt that was killed")
    found, embeddings = embed_clips([clip], "bundled", None, ContainerPrograms(task))
    assert [record.source for record in found.clips] == [str(clip)]
    assert np.array_equal(embeddings, np.eye(192, dtype=np.float32)[3:4])
    assert fake.there == set()
    assert [path.name for path in data_root.iterdir()] == ["enrollments"]


def test_the_container_may_do_what_a_stages_may_and_no_more(fake, task, clip, data_root):
    embed_clips([clip], "bundled", None, ContainerPrograms(task))
    (asked,) = fake.made
    assert (asked["image"], asked["labels"]) == (IMAGE, containers.labels(task))
    assert asked["command"][:3] == ["python", "-m", "channelscribe.stages.enroll_voice"]
    assert not asked["user"].startswith("0:")
    host = asked["host_config"]
    assert (host["NetworkMode"], host["CapDrop"], host["ReadonlyRootfs"]) == ("none", ["ALL"], True)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == SPEC.ram_gib * 2**30
    assert [(mount["Target"], mount["ReadOnly"]) for mount in host["Mounts"]] == [(str(data_root), False)]
    assert "DeviceRequests" not in host


def test_a_gpu_profile_gets_the_first_gpu(fake, task, data_root, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_GPUS", "GPU-aaaa,1")
    get_settings.cache_clear()
    fake.command = [sys.executable, "-c", ""]
    ContainerPrograms(task).run("m", [], BUNDLED_CUDA.stages["identify_speakers"], failed="It failed", timeout_s=9)
    (request,) = fake.made[0]["host_config"]["DeviceRequests"]
    assert (request["DeviceIDs"], request["Count"]) == (["GPU-aaaa"], 0)
    assert {"gpu", "utility"} <= set(request["Capabilities"][0])


@pytest.mark.parametrize(
    ("code", "error"), [(65, BadInputError), (75, TryAgainError), (78, MisconfiguredError), (1, MisconfiguredError)]
)
def test_a_program_that_fails_is_its_own_last_line(fake, task, data_root, code, error):
    fake.command = [sys.executable, "-c", f"import sys; sys.stderr.write('more\\nno model here\\n'); sys.exit({code})"]
    with pytest.raises(error, match=r"^It failed: no model here$"):
        ContainerPrograms(task).run("m", [], SPEC, failed="It failed", timeout_s=9)
    assert fake.there == set()


@pytest.mark.parametrize(
    ("ends", "timeout_s", "error", "reason"),
    [
        ({"error": docker.errors.NotFound("gone")}, 9, TryAgainError, "was removed before its end"),
        ({"oom": True}, 9, TryAgainError, f"ran out of its {SPEC.ram_gib} GiB of memory"),
        ({"error": container_programs.RequestException("Read timed out.")}, 0, TryAgainError, "It failed within 0 s"),
        (
            {"error": docker.errors.APIError("no", SimpleNamespace(status_code=400, reason="", url=""), "bad")},
            9, MisconfiguredError, "The Docker engine refused: bad",
        ),
    ],
)  # fmt: skip
def test_what_the_engine_says_is_one_sentence(fake, task, data_root, ends, timeout_s, error, reason):
    fake.command = [sys.executable, "-c", ""]
    fake.ends = ends
    with pytest.raises(error, match=reason):
        ContainerPrograms(task).run("m", [], SPEC, failed="It failed", timeout_s=timeout_s)
    assert fake.there == set()


def test_an_engine_that_is_down_is_tried_again(task, clip, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(TryAgainError, match=r"No Docker engine answers at unix:///nowhere\.sock"):
        embed_clips([clip], "bundled", None, ContainerPrograms(task))


class TestRealEngine:
    """Over an engine, with a small image whose program does what a test says."""

    @pytest.fixture
    def script(self, docker_engine, image, data_root, monkeypatch):
        monkeypatch.setenv("CHANNELSCRIBE_STAGES_IMAGE", image)
        get_settings.cache_clear()
        return lambda text: docker_engine.behave(data_root, text)

    def test_a_result_comes_back_in_a_file(self, engine, script, task, data_root):
        script("id -u >$out/user; env >$out/env; ls /sys/class/net >$out/net")
        programs = ContainerPrograms(task)
        with programs.results() as folder:
            programs.run("m", ["--out", str(folder)], SPEC, failed="It failed", timeout_s=60)
            facts = {path.name: path.read_text() for path in folder.iterdir()}
        assert facts["user"] != "0\n"
        assert facts["net"].split() == ["lo"]
        assert "AIRFLOW" not in facts["env"]
        assert not folder.exists()
        assert containers.of_task(engine, task) == []

    def test_the_reason_of_a_failure_comes_back(self, engine, script, task, data_root):
        script("echo for people; echo not for the reason >&2; echo no clip is good >&2; exit 65")
        programs = ContainerPrograms(task)
        with programs.results() as folder, pytest.raises(BadInputError, match=r"^It failed: no clip is good$"):
            programs.run("m", ["--out", str(folder)], SPEC, failed="It failed", timeout_s=60)
        assert containers.of_task(engine, task) == []

    def test_a_program_that_hangs_is_removed(self, engine, script, task, data_root):
        script("sleep 600")
        programs = ContainerPrograms(task)
        with programs.results() as folder, pytest.raises(TryAgainError, match="It failed within 3 s"):
            programs.run("m", ["--out", str(folder)], SPEC, failed="It failed", timeout_s=3)
        assert containers.of_task(engine, task) == []

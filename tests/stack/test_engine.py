"""What is asked of a real Docker engine before a run, and what is said where the answer is bad."""

import os

import pytest

pytest.importorskip("docker", reason="docker-py is in Airflow's environment")

from channelscribe import doctor
from channelscribe.code_digest import code_digest
from channelscribe.errors import MisconfiguredError, TryAgainError
from channelscribe.settings import Settings
from channelscribe.stack.embedded import Stack
from channelscribe.stack.engine import Gpu, StaleImageError, gpus, image_id, resolve_runtime


@pytest.fixture
def labelled(engine, docker_engine):
    """Makes an image that says what code it was built of."""
    name = f"channelscribe-labelled-{os.getpid()}"
    yield lambda code: (f"{name}:test", docker_engine.import_program(engine, name, channelscribe_code=code))
    engine.remove_image(f"{name}:test", force=True)


@pytest.fixture
def settings(tmp_path):
    return lambda **values: Settings(_env_file=None, home=tmp_path, **values)


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def runtime(settings):
    said = []
    return Stack(settings)._runtime(said.append), said


def test_an_image_is_known_by_a_digest_of_its_content(labelled):
    name, expected = labelled(code_digest())
    assert image_id(name) == expected
    assert expected.startswith("sha256:") and len(expected) == 71


def test_an_image_that_is_missing_says_how_to_build_it(engine):
    with pytest.raises(MisconfiguredError, match=r"no image no/such:1: build it by `make images`"):
        image_id("no/such:1")


def test_an_image_of_other_code_is_refused(labelled):
    name, _ = labelled("0" * 16)
    with pytest.raises(StaleImageError, match=r"was built of other code than this: build it anew by `make images`"):
        image_id(name)


def test_an_engine_that_is_down_is_named(no_engine):
    with pytest.raises(
        TryAgainError, match=r"No Docker engine answers at unix:///nowhere/docker\.sock \(.*No such file"
    ):
        image_id("any:1")


def test_auto_takes_containers_where_engine_and_image_are_there(labelled, settings):
    name, _ = labelled(code_digest())
    assert resolve_runtime(settings(stages_image=name)) == "docker"
    assert runtime(settings(stages_image=name)) == ("docker", [f"Stages run in containers of {name}."])
    assert resolve_runtime(settings(stages_image=name, runtime="process")) == "process"
    assert runtime(settings(stages_image=name, runtime="process")) == ("process", [])


def test_auto_takes_processes_where_the_image_is_missing(engine, settings):
    assert runtime(settings(stages_image="no/such:1")) == ("process", [])


def test_auto_says_why_an_image_of_other_code_is_not_used(labelled, settings):
    name, _ = labelled("0" * 16)
    taken, (said,) = runtime(settings(stages_image=name))
    assert taken == "process"
    assert "built of other code" in said and "child processes" in said


def test_auto_takes_processes_without_an_engine(no_engine, settings):
    assert runtime(settings()) == ("process", [])


def test_what_is_asked_for_and_cannot_be_had_is_refused(no_engine, settings):
    with pytest.raises(TryAgainError, match="No Docker engine answers"):
        runtime(settings(runtime="docker"))


def test_the_doctor_says_what_runs_the_stages(labelled, settings):
    name, found = labelled(code_digest())
    assert doctor.check_runtime(settings(runtime="process")).detail == "stages run as child processes"
    check = doctor.check_runtime(settings(stages_image=name))
    assert (check.state, check.detail) == ("ok", f"stages run in containers of {name} ({found[:19]})")
    check = doctor.check_runtime(settings(runtime="docker", stages_image="no/such:1"))
    assert check.state == "failed"
    assert check.remedy.startswith("Build it by `make images`")


def test_the_doctor_says_that_an_engine_is_down(no_engine, settings):
    check = doctor.check_runtime(settings(runtime="docker"))
    assert check.state == "failed"
    assert check.remedy.startswith("Start it")


def test_the_doctor_looks_for_gpus_only_where_the_profile_asks_for_them(settings, monkeypatch, tmp_path):
    assert doctor.check_gpu(settings()).detail == "the profile bundled needs none"
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.check_gpu(settings(profile="bundled-cuda"))
    assert check.state == "failed"
    assert "see what `nvidia-smi` says" in check.remedy.lower()


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Function that has nvidia-smi print these lines."""

    def make(*lines: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return make


def test_the_gpus_of_the_settings_have_to_be_there(settings, nvidia_smi):
    nvidia_smi("0, GPU-aaaa, 7.5, NVIDIA Thing", "1, GPU-bbbb, [N/A], NVIDIA Other, of two parts")
    thing, other = Gpu("NVIDIA Thing", (7, 5)), Gpu("NVIDIA Other, of two parts", None)
    assert gpus() == {"0": thing, "GPU-aaaa": thing, "1": other, "GPU-bbbb": other}
    taken = {"profile": "bundled-cuda", "runtime": "process"}
    check = doctor.check_gpu(settings(gpus="GPU-bbbb,0", **taken))
    assert (check.state, check.detail) == ("ok", "NVIDIA Other, of two parts, NVIDIA Thing")
    check = doctor.check_gpu(settings(gpus="7", **taken))
    assert (check.state, check.detail) == ("failed", "There is no GPU 7")


@pytest.mark.parametrize(("capability", "state"), [("6.1", "failed"), ("7.0", "failed"), ("7.5", "ok"), ("12.0", "ok")])
def test_a_gpu_that_torch_has_no_code_for_is_named(settings, nvidia_smi, capability, state):
    nvidia_smi(f"0, GPU-aaaa, {capability}, NVIDIA Thing", "1, GPU-bbbb, 5.2, one that is not used")
    check = doctor.check_gpu(settings(profile="bundled-cuda", runtime="process"))
    assert check.state == state
    if state == "failed":
        assert check.detail == f"NVIDIA Thing has compute capability {capability}"
        assert check.remedy.startswith("Torch has code for 7.5 (Turing) or newer")


def test_the_doctor_looks_at_the_pool(settings, monkeypatch, tmp_path):
    assert doctor.check_pool(settings()).detail == "vram_gib has 4 slots, a stage of bundled takes up to 2"
    small = tmp_path / "airflow_settings.yaml"
    small.write_text("airflow:\n  pools:\n    - {pool_name: vram_gib, pool_slot: 1}\n")
    monkeypatch.setattr("channelscribe.pools.SETTINGS_FILE", small)
    check = doctor.check_pool(settings())
    assert check.state == "failed"
    assert "needs 2 GiB of the device, but the pool vram_gib has 1" in check.detail

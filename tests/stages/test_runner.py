import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

from channelscribe.contracts import Video
from channelscribe.errors import BadInputError, ExitCode, MisconfiguredError, RateLimitedError, TryAgainError
from channelscribe.profiles import BUNDLED, Profile
from channelscribe.stages import engines, runner
from channelscribe.stages.runner import Job, Outcome, Run, Stage, main, parser
from channelscribe.workspace import Workspace


class Fetch(Stage):
    """Writes a line; does otherwise where the video's title says so."""

    name = "fetch_audio"

    def __init__(self) -> None:
        self.done: list[str] = []

    def process(self, job: Job, engine: Any) -> Outcome:
        self.done.append(job.video.video_id)
        (job.out / "audio.txt").write_text(job.video.title)
        with job.clock.part("work"):
            match job.video.title:
                case "bad":
                    raise BadInputError("It is bad.")
                case "later":
                    raise TryAgainError("Later.")
                case "patience":
                    raise RateLimitedError("Not now.")
                case "memory":
                    raise MemoryError
                case "disk":
                    raise OSError(28, "No space left on device")
                case "bug":
                    raise ZeroDivisionError("division by zero")
                case "device memory":
                    raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA")
                case "broken device":
                    error = type("AcceleratorError", (RuntimeError,), {})
                    raise error("CUDA error: an illegal memory access was encountered\nFor debugging consider ...")
                case text if text.startswith(("CUDA", "cuBLAS", "cuDNN")):
                    raise RuntimeError(text)
        return Outcome(audio_s=2.5, summary="Done well.", empty=job.video.title == "empty", metrics={"lines": 1.0})


class Diarize(Stage):
    """Copies its input."""

    name = "diarize"

    def process(self, job: Job, engine: Any) -> Outcome:
        text = (job.inputs["fetch_audio"].folder / "audio.txt").read_text()
        (job.out / "turns.txt").write_text(f"{text} on {engine.device}")
        return Outcome(audio_s=2.5, summary="Copied.")


class FakeEngine:
    def __init__(self, device: str) -> None:
        self.device = device


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def engine_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = ModuleType("engine_of_the_tests")
    module.loads = []  # type: ignore[attr-defined]

    def load(spec: object, device: str) -> FakeEngine:
        module.loads.append(device)
        return FakeEngine("cpu")

    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for user in (engines, runner):
        monkeypatch.setattr(user, "ENGINES", {"pyannote": module.__name__})
    yield module


def record(workspace: Workspace, video_id: str, title: str = "good") -> str:
    workspace.write_video(
        Video(
            video_id=video_id,
            source_id=video_id,
            url="https://example.org/" + video_id,
            title=title,
            channel_url="https://example.org/",
            channel_title="Site",
        )
    )
    return video_id


def files(workspace: Workspace, video_id: str, stage: str = "fetch_audio") -> list[str]:
    folder = workspace.stage_dir(video_id, stage)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_artifact_is_whole_and_says_how_it_was_made(workspace: Workspace) -> None:
    record(workspace, "a")
    assert Run(Fetch(), BUNDLED, workspace)(["a"]) is ExitCode.DONE
    artifact = workspace.require("a", "fetch_audio", BUNDLED)
    manifest = artifact.manifest
    assert set(manifest.outputs) == {"audio.txt"}
    assert (manifest.stage, manifest.profile, manifest.engine) == ("fetch_audio", "bundled", "yt-dlp")
    assert manifest.audio_s == 2.5
    assert manifest.metrics == {"lines": 1.0}
    assert {"start", "work", "total"} <= set(manifest.processing_s)
    assert manifest.processing_s["total"] >= manifest.processing_s["work"]
    assert manifest.peak_memory_bytes > 1_000_000
    status = workspace.read_status("a", "fetch_audio")
    assert status is not None
    assert (status.state, status.exit_code, status.reason) == ("done", 0, "Done well.")


def test_second_run_does_nothing_and_force_does_it_again(workspace: Workspace) -> None:
    record(workspace, "a")
    stage = Fetch()
    assert Run(stage, BUNDLED, workspace)(["a"]) is ExitCode.DONE
    assert Run(stage, BUNDLED, workspace)(["a"]) is ExitCode.DONE
    assert stage.done == ["a"]
    status = workspace.read_status("a", "fetch_audio")
    assert status is not None
    assert status.state == "present"
    assert Run(stage, BUNDLED, workspace, force=True)(["a"]) is ExitCode.DONE
    assert stage.done == ["a", "a"]
    status = workspace.read_status("a", "fetch_audio")
    assert status is not None and not status.again


def test_what_was_to_be_done_again_and_failed_says_so(workspace: Workspace) -> None:
    record(workspace, "a", "later")
    for force in (True, False):
        Run(Fetch(), BUNDLED, workspace, force=force)(["a"])
        status = workspace.read_status("a", "fetch_audio")
        assert status is not None and status.state == "failed" and status.again is force


@pytest.mark.parametrize(
    ("title", "code", "reason"),
    [
        ("bad", ExitCode.BAD_INPUT, "It is bad."),
        ("later", ExitCode.TRY_AGAIN, "Later."),
        ("memory", ExitCode.TRY_AGAIN, "Out of memory"),
        ("disk", ExitCode.TRY_AGAIN, "No space left on device"),
        ("device memory", ExitCode.TRY_AGAIN, "The device is out of memory: lower vram_gib in airflow_settings.yaml"),
        ("CUDA failed with error out of memory", ExitCode.TRY_AGAIN, "The device is out of memory"),
        ("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", ExitCode.TRY_AGAIN, "The device is out of memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", ExitCode.TRY_AGAIN, "of memory"),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", ExitCode.INTERNAL_ERROR, "Internal error"),
        ("bug", ExitCode.INTERNAL_ERROR, "Internal error: ZeroDivisionError: division by zero"),
    ],
)
def test_failure_has_its_code_and_sentence_and_fails_nobody_else(
    workspace: Workspace, title: str, code: ExitCode, reason: str
) -> None:
    ids = [record(workspace, "a"), record(workspace, "b", title), record(workspace, "c")]
    assert Run(Fetch(), BUNDLED, workspace)(ids) is code
    assert workspace.find("a", "fetch_audio", workspace.require("a", "fetch_audio", BUNDLED).folder.name)
    assert workspace.require("c", "fetch_audio", BUNDLED)
    assert files(workspace, "b") == ["status.json"]
    assert not list(workspace.stage_dir("b", "fetch_audio").glob(".new-*"))
    status = workspace.read_status("b", "fetch_audio")
    assert status is not None
    assert (status.state, status.exit_code) == ("failed", int(code))
    assert reason in status.reason


@pytest.mark.parametrize(
    ("title", "fault"),
    [
        ("broken device", "CUDA error: an illegal memory access was encountered"),
        *[
            (text, text)
            for text in (
                "CUDA failed with error an illegal memory access was encountered",
                "CUDA failed with error unspecified launch failure",
                "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
                "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            )
        ],
    ],
)
def test_a_failed_gpu_ends_the_call_and_leaves_the_others_unbegun(workspace: Workspace, title: str, fault: str) -> None:
    titles = {"a": "good", "b": title, "c": "good", "d": "bad"}
    ids = [record(workspace, video_id, title) for video_id, title in titles.items()]
    stage = Fetch()
    assert Run(stage, BUNDLED, workspace)(ids) is ExitCode.TRY_AGAIN
    assert stage.done == ["a", "b"]
    assert workspace.require("a", "fetch_audio", BUNDLED)
    status = workspace.read_status("b", "fetch_audio")
    assert status is not None
    assert (status.state, status.exit_code) == ("failed", 75)
    assert status.reason == f"The GPU failed: {fault}."
    assert [workspace.read_status(video_id, "fetch_audio") for video_id in ("c", "d")] == [None, None]
    record(workspace, "b")
    assert Run(stage, BUNDLED, workspace)(ids[1:3]) is ExitCode.DONE


def test_code_of_a_batch_is_the_one_that_a_retry_may_heal(workspace: Workspace) -> None:
    ids = [record(workspace, name, name) for name in ("bad", "later", "bug")]
    assert Run(Fetch(), BUNDLED, workspace)(ids) is ExitCode.TRY_AGAIN
    assert Run(Fetch(), BUNDLED, workspace)(["bad", "bug"]) is ExitCode.INTERNAL_ERROR


def test_nothing_to_do_is_a_success_of_its_own(workspace: Workspace) -> None:
    ids = [record(workspace, "a", "empty"), record(workspace, "b")]
    assert Run(Fetch(), BUNDLED, workspace)(["a"]) is ExitCode.NOTHING_TO_DO
    assert Run(Fetch(), BUNDLED, workspace)(["a"]) is ExitCode.NOTHING_TO_DO
    assert workspace.require("a", "fetch_audio", BUNDLED).manifest.empty
    assert Run(Fetch(), BUNDLED, workspace)(ids) is ExitCode.DONE


@pytest.mark.parametrize("video_id", ["nobody", "../a", "..", "x" * 300])
def test_unknown_video_fails_alone_and_gets_no_folder(workspace: Workspace, video_id: str) -> None:
    record(workspace, "a")
    assert Run(Fetch(), BUNDLED, workspace)([video_id, "a"]) is ExitCode.BAD_INPUT
    assert workspace.require("a", "fetch_audio", BUNDLED)
    assert [path.name for path in (workspace.data_root / "videos").iterdir()] == ["a"]


def test_unreadable_video_fails_alone(workspace: Workspace) -> None:
    record(workspace, "a")
    (workspace.data_root / "videos" / "loop").symlink_to("loop")
    code = Run(Fetch(), BUNDLED, workspace)(["loop", "a"])
    assert code in (ExitCode.TRY_AGAIN, ExitCode.BAD_INPUT)
    assert workspace.require("a", "fetch_audio", BUNDLED)


def test_stage_before_must_be_there(workspace: Workspace, engine_module: Any) -> None:
    record(workspace, "a")
    assert Run(Diarize(), BUNDLED, workspace)(["a"]) is ExitCode.MISCONFIGURED
    status = workspace.read_status("a", "diarize")
    assert status is not None
    assert "fetch_audio has not been done for a: run it first" in status.reason
    assert engine_module.loads == []


def test_engine_is_loaded_once_for_a_batch_and_only_if_needed(workspace: Workspace, engine_module: Any) -> None:
    ids = [record(workspace, "a"), record(workspace, "b")]
    Run(Fetch(), BUNDLED, workspace)(ids)
    assert Run(Diarize(), BUNDLED, workspace)(ids) is ExitCode.DONE
    assert engine_module.loads == ["cpu"]
    first, second = (workspace.require(video, "diarize", BUNDLED).manifest for video in ids)
    assert {"start", "import", "load"} <= set(first.processing_s)
    assert not {"start", "import", "load"} & set(second.processing_s)
    assert (first.device_requested, first.device_used) == ("cpu", "cpu")
    assert Run(Diarize(), BUNDLED, workspace)(ids) is ExitCode.DONE
    assert engine_module.loads == ["cpu"]


@pytest.mark.parametrize("used", ["cuda", "cpu and cuda", "no device"])
def test_another_device_than_asked_for_is_an_error(
    workspace: Workspace, engine_module: Any, monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    monkeypatch.setattr(engine_module, "load", lambda spec, device: FakeEngine(used))
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace)(["a"])
    assert Run(Diarize(), BUNDLED, workspace, "cpu")(["a"]) is ExitCode.MISCONFIGURED
    status = workspace.read_status("a", "diarize")
    assert status is not None
    assert f"was asked to run on cpu but is on {used}: check" in status.reason
    assert files(workspace, "a", "diarize") == ["status.json"]


def test_a_gpu_that_is_not_there_is_noticed_before_the_engine_is_imported(
    workspace: Workspace, engine_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(model: str) -> None:
        raise MisconfiguredError(f"{model} finds no GPU.")

    monkeypatch.setattr(engines, "require_gpu", no_gpu)
    ids = [record(workspace, "a"), record(workspace, "b")]
    Run(Fetch(), BUNDLED, workspace)(ids)
    assert Run(Diarize(), BUNDLED, workspace, "cuda")(ids) is ExitCode.MISCONFIGURED
    assert engine_module.loads == []
    for video_id in ids:
        status = workspace.read_status(video_id, "diarize")
        assert status is not None
        assert status.reason == "segmentation-3.0+campplus finds no GPU."


def test_devices_are_logged(workspace: Workspace, engine_module: Any, caplog: pytest.LogCaptureFixture) -> None:
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace)(["a"])
    with caplog.at_level("INFO"):
        Run(Diarize(), BUNDLED, workspace)(["a"])
    assert "segmentation-3.0+campplus: asked for cpu, all its parameters are on cpu." in caplog.messages


def test_garbage_is_collected_again_once_the_engine_is_loaded(workspace: Workspace, engine_module: Any) -> None:
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace)(["a"])
    Run(Diarize(), BUNDLED, workspace)(["a"])
    assert gc.isenabled()
    gc.unfreeze()


def test_manifest_names_the_image_and_why_there_are_no_samples(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_IMAGE", "sha256:abc")
    monkeypatch.setenv("CHANNELSCRIBE_STARTED_AT", "1000000")
    ids = [record(workspace, "a"), record(workspace, "b")]
    Run(Fetch(), BUNDLED, workspace)(ids)
    first, second = (workspace.require(video_id, "fetch_audio", BUNDLED).manifest for video_id in ids)
    assert (first.image, first.gpu_samples, first.gpu_unavailable) == ("sha256:abc", None, "the stage runs on the CPU")
    assert first.processing_s["container"] > 0
    assert "container" not in second.processing_s
    monkeypatch.delenv("CHANNELSCRIBE_IMAGE")
    Run(Fetch(), BUNDLED, workspace, force=True)(["a"])
    assert workspace.require("a", "fetch_audio", BUNDLED).manifest.image is None


def test_manifests_of_an_older_version_stay_valid(workspace: Workspace) -> None:
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace)(["a"])
    path = workspace.require("a", "fetch_audio", BUNDLED).folder / "manifest.json"
    content = json.loads(path.read_text())
    for name in ("image", "gpu_unavailable"):
        del content[name]
    path.write_text(json.dumps(content))
    assert workspace.require("a", "fetch_audio", BUNDLED).manifest.gpu_samples is None


def test_stage_without_a_model_asks_for_no_device(workspace: Workspace) -> None:
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace, "cuda")(["a"])
    manifest = workspace.require("a", "fetch_audio", BUNDLED).manifest
    assert (manifest.device_requested, manifest.device_used) == ("cpu", "cpu")


def test_engine_that_is_not_installed_says_what_to_do(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (engines, runner):
        monkeypatch.setattr(user, "ENGINES", {"pyannote": "there_is_no_such_module"})
    record(workspace, "a")
    Run(Fetch(), BUNDLED, workspace)(["a"])
    assert Run(Diarize(), BUNDLED, workspace)(["a"]) is ExitCode.MISCONFIGURED
    status = workspace.read_status("a", "diarize")
    assert status is not None
    assert "make setup" in status.reason


def with_parameters(stage: str, **parameters: Any) -> Profile:
    stages = dict(BUNDLED.stages)
    stages[stage] = replace(stages[stage], parameters=parameters)
    return replace(BUNDLED, stages=MappingProxyType(stages))


def test_other_parameters_make_another_artifact_beside_the_first(workspace: Workspace) -> None:
    record(workspace, "a")
    stage = Fetch()
    Run(stage, BUNDLED, workspace)(["a"])
    other = with_parameters("fetch_audio", quality=2)
    assert workspace.current("a", "fetch_audio", other) is None
    Run(stage, other, workspace)(["a"])
    assert stage.done == ["a", "a"]
    folders = {workspace.require("a", "fetch_audio", profile).folder for profile in (BUNDLED, other)}
    assert len(folders) == 2


class Transcribe(Stage):
    """Writes the parameters that it goes by."""

    name = "transcribe"

    def process(self, job: Job, engine: Any) -> Outcome:
        (job.out / "parameters.txt").write_text(str(dict(job.spec.parameters)))
        return Outcome(audio_s=2.5, summary="Written.")


def test_the_language_of_a_channel_is_part_of_what_transcribe_makes(workspace: Workspace, engine_module: Any) -> None:
    video_id = record(workspace, "a")
    for stage in (Fetch(), Diarize(), Transcribe()):
        assert Run(stage, BUNDLED, workspace)([video_id]) == ExitCode.DONE
    detected = workspace.require(video_id, "transcribe", BUNDLED)
    assert "language" not in detected.manifest.parameters

    workspace.write_video(workspace.read_video(video_id).model_copy(update={"language": "de"}))
    for stage in ("fetch_audio", "diarize"):
        assert workspace.current(video_id, stage, BUNDLED) is not None
    assert workspace.current(video_id, "transcribe", BUNDLED) is None
    assert Run(Transcribe(), BUNDLED, workspace)([video_id]) == ExitCode.DONE
    told = workspace.require(video_id, "transcribe", BUNDLED)
    assert told.manifest.parameters["language"] == "de"
    assert "'language': 'de'" in (told.folder / "parameters.txt").read_text()

    # As before it was told, the first result holds.
    workspace.write_video(workspace.read_video(video_id).model_copy(update={"language": None}))
    assert workspace.require(video_id, "transcribe", BUNDLED).folder == detected.folder


def test_a_site_that_asks_for_patience_is_named_in_the_status(workspace: Workspace) -> None:
    assert Run(Fetch(), BUNDLED, workspace)([record(workspace, "a", "patience")]) == ExitCode.TRY_AGAIN
    status = workspace.read_status("a", "fetch_audio")
    assert status is not None and (status.rate_limited, status.reason) == (True, "Not now.")


def test_later_stage_is_redone_only_if_its_input_changed(workspace: Workspace, engine_module: Any) -> None:
    record(workspace, "a")
    for title, is_valid in (("good", True), ("better", False)):
        Run(Fetch(), BUNDLED, workspace)(["a"])
        Run(Diarize(), BUNDLED, workspace)(["a"])
        record(workspace, "a", title)
        Run(Fetch(), BUNDLED, workspace, force=True)(["a"])
        assert (workspace.current("a", "diarize", BUNDLED) is not None) is is_valid


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_damaged_artifact_is_made_again(workspace: Workspace, damage: str) -> None:
    record(workspace, "a")
    stage = Fetch()
    Run(stage, BUNDLED, workspace)(["a"])
    file = workspace.require("a", "fetch_audio", BUNDLED).folder / "audio.txt"
    if damage == "missing":
        file.unlink()
    else:
        file.write_text("g")
    assert Run(stage, BUNDLED, workspace)(["a"]) is ExitCode.DONE
    assert stage.done == ["a", "a"]
    assert file.read_text() == "good"
    assert len(files(workspace, "a")) == 3  # the file, the manifest, the status


SLOW_STAGE = """
    import sys, time
    from channelscribe.stages.runner import Stage, main

    class Slow(Stage):
        name = "fetch_audio"

        def process(self, job, engine):
            (job.out / "audio.txt").write_text("half")
            time.sleep(600)

    main(Slow(), sys.argv[1:])
"""


def test_killed_run_leaves_no_artifact_and_the_next_one_cleans_up(workspace: Workspace, tmp_path: Path) -> None:
    record(workspace, "a")
    program = tmp_path / "slow.py"
    program.write_text(textwrap.dedent(SLOW_STAGE))
    command = [sys.executable, str(program), "a", "--data-root", str(tmp_path), "--profile", "bundled"]
    folder = workspace.stage_dir("a", "fetch_audio")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob(".new-*/audio.txt")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert list(folder.glob(".new-*"))
    assert workspace.current("a", "fetch_audio", BUNDLED) is None
    assert Run(Fetch(), BUNDLED, workspace)(["a"]) is ExitCode.DONE
    assert not list(folder.glob(".new-*"))
    assert workspace.require("a", "fetch_audio", BUNDLED)


@pytest.mark.parametrize(
    "arguments",
    [[], ["a"], ["a", "--data-root", "x"], ["a", "--data-root", "x", "--profile", "bundled", "--device", "tpu"]],
)
def test_wrong_command_line_is_64(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(Fetch(), arguments)
    assert end.value.code == 64
    assert "usage: python -m channelscribe.stages.fetch_audio" in capsys.readouterr().err


def test_unknown_profile_is_78(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(Fetch(), ["a", "--data-root", str(tmp_path), "--profile", "nope"])
    assert end.value.code == 78


def test_help_names_the_exit_codes() -> None:
    text = " ".join(parser("fetch_audio").format_help().split())
    for code in ExitCode:
        assert str(int(code)) in text


def test_misconfiguration_counts_more_than_bad_input(workspace: Workspace) -> None:
    class Broken(Fetch):
        def process(self, job: Job, engine: Any) -> Outcome:
            raise (MisconfiguredError if job.video.video_id == "a" else BadInputError)("No.")

    ids = [record(workspace, "a"), record(workspace, "b")]
    assert Run(Broken(), BUNDLED, workspace)(ids) is ExitCode.MISCONFIGURED

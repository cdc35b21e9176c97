import re
import subprocess
import sys

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED
from channelscribe.stages import self_check
from channelscribe.stages.self_check import check_profile
from channelscribe.telemetry.nvml import NoGpuError, open_gpu


def has_gpu() -> bool:
    try:
        with open_gpu():
            return True
    except NoGpuError:
        return False


@pytest.mark.airflow
def test_airflows_environment_is_refused_in_one_sentence() -> None:
    with pytest.raises(MisconfiguredError, match=r"needs the stages' environment, and .* has no torch"):
        check_profile(BUNDLED, None, print)


@pytest.mark.stages
def test_all_models_work() -> None:
    lines: list[str] = []
    assert check_profile(BUNDLED, "cpu", lines.append) == []
    assert [line.partition(":")[0] for line in lines] == ["diarize", "transcribe", "identify_speakers", "embed_text"]
    assert all(" on cpu: import " in line for line in lines)
    assert "pyannote.audio 4.0.7" in lines[0]


@pytest.mark.stages
@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_a_sentence_per_stage() -> None:
    faults = check_profile(BUNDLED, "cuda", print)
    assert len(faults) == 4
    assert all(" was asked to run on cuda, but no NVIDIA driver" in fault for fault in faults)


@pytest.mark.stages
@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
@pytest.mark.parametrize("stage", ["diarize", "transcribe", "identify_speakers", "embed_text"])
def test_a_stage_without_its_gpu_ends_before_torch_is_imported(stage: str) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from channelscribe.stages import engines\n"
        "from channelscribe.profiles import BUNDLED_CUDA\n"
        "from channelscribe.stages.clock import Clock\n"
        f"engines.load_engine(BUNDLED_CUDA.stages['{stage}'], 'cuda', Clock())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    refusal = r"channelscribe\.errors\.MisconfiguredError: .+ was asked to run on cuda, but no NVIDIA"
    assert re.match(refusal, done.stderr.strip().splitlines()[-1])


@pytest.mark.stages
@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "diarize: killed by SIGILL: does the processor"),
        ("raise SystemExit('It is broken.')", "diarize: It is broken."),
        ("raise SystemExit(3)", "diarize: exit code 3"),
        ("1 / 0", "diarize: ZeroDivisionError: division by zero"),
    ],
)
def test_a_check_that_dies_fails_alone_with_a_sentence(monkeypatch, program: str, sentence: str) -> None:
    real = subprocess.run

    def run(command, **arguments):
        if command[3] == "diarize":
            return real([sys.executable, "-c", program], **arguments)
        return subprocess.CompletedProcess(command, 0, stdout=f"{command[3]}: fine\n", stderr="")

    monkeypatch.setattr(self_check.subprocess, "run", run)
    lines: list[str] = []
    (fault,) = check_profile(BUNDLED, None, lines.append)
    assert fault.startswith(sentence)
    assert len(lines) == 3

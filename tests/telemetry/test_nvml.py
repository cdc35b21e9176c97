"""NVML through NVIDIA's own binding: with no driver, and with a library of the tests in the driver's place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.telemetry.nvml import MIN_COMPUTE_CAPABILITY, NoGpuError, open_gpu, require_gpu

PROGRAM = """
from channelscribe.telemetry.nvml import NoGpuError, open_gpu
try:
    with open_gpu() as gpu:
        print(gpu.name, *gpu.read())
except NoGpuError as error:
    print("none:", error)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a library that answers as the driver does."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is in the stages' environment")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).parent / "nvml_driver.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def ask(driver: Path, visible: str | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment["LD_LIBRARY_PATH"] = str(driver)
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    return subprocess.check_output([sys.executable, "-c", PROGRAM], env=environment, text=True, timeout=60).strip()


@pytest.mark.stages
@pytest.mark.parametrize("visible", [None, "0", "0,1", "GPU-aaaa-1", "GPU-aaaa"])
def test_a_gpu_says_what_it_does(driver: Path, visible: str | None) -> None:
    assert ask(driver, visible) == "First 83.0 25.0 61.0 412.5"


@pytest.mark.stages
@pytest.mark.parametrize("visible", ["1", "1,0", "GPU-bbbb-2", " GPU-b"])
def test_what_a_gpu_does_not_support_is_none_and_the_visible_gpu_is_the_one(driver: Path, visible: str) -> None:
    assert ask(driver, visible) == "Second None 25.0 61.0 None"


@pytest.mark.stages
@pytest.mark.parametrize(
    ("visible", "reason"),
    [
        ("2", "CUDA_VISIBLE_DEVICES asks for GPU 2, and the last one here is 1"),
        ("GPU-cccc", "CUDA_VISIBLE_DEVICES asks for GPU-cccc, and no GPU here has this UUID"),
        ("", "CUDA_VISIBLE_DEVICES= hides every GPU"),
        ("-1", "CUDA_VISIBLE_DEVICES=-1 hides every GPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_named(driver: Path, visible: str, reason: str) -> None:
    assert ask(driver, visible) == f"none: {reason}"


def has_driver() -> bool:
    try:
        with open_gpu():
            return True
    except NoGpuError as error:
        return "no NVIDIA driver" not in str(error)


@pytest.mark.stages
@pytest.mark.skipif(has_driver(), reason="this machine has NVIDIA's driver")
def test_without_a_driver_the_sentence_says_so_each_time() -> None:
    for _ in range(2):  # NVML answers otherwise to who asks after a failed start
        with pytest.raises(MisconfiguredError, match=r"tiny was asked to run on cuda, but no NVIDIA driver .* profile"):
            require_gpu("tiny")


def test_without_the_binding_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    require_gpu("tiny")
    with pytest.raises(NoGpuError, match="nvidia-ml-py is not installed"), open_gpu():
        pass


@pytest.mark.stages
def test_the_oldest_gpu_is_the_oldest_that_torch_has_code_for() -> None:
    torch = pytest.importorskip("torch", reason="torch is in the stages' environment")
    # Of the build, with or without a GPU: `sm_75 sm_80 ...`, the last digit being the minor version.
    flags = torch._C._cuda_getArchFlags()
    if flags is None:
        pytest.skip("torch was built without CUDA")
    numbers = [flag.removeprefix("sm_") for flag in flags.split() if flag.startswith("sm_")]
    assert min((int(number[:-1]), int(number[-1])) for number in numbers) == MIN_COMPUTE_CAPABILITY

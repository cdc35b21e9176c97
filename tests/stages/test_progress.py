"""What a stage says of itself while it works."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from channelscribe.contracts import GpuSample, Progress
from channelscribe.stages.clock import Clock
from channelscribe.stages.progress import ProgressWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stage" / "progress.json"


def read(path: Path, wanted=lambda progress: True) -> Progress:
    """The first that is as wanted."""
    deadline = time.monotonic() + 20
    while True:
        if path.is_file():
            progress = Progress.model_validate(json.loads(path.read_text()))
            if wanted(progress):
                return progress
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sample(at_s: float, sm_percent: float | None) -> GpuSample:
    return GpuSample(at_s=at_s, span_s=10.0, sm_percent=sm_percent, vram_percent=1.0, temperature_c=40.0, power_w=50.0)


def test_it_tells_the_start_and_then_the_parts_of_the_work_and_is_gone_afterwards(path: Path) -> None:
    start_up, clock = Clock(), Clock()
    start_up.seconds |= {"container": 3.0, "start": 1.0}
    with ProgressWriter(path, start_up, "cuda", 0.05) as writer:
        first = read(path)
        assert (first.part, first.device_requested, first.device_used) == ("start", "cuda", None)
        assert first.start_up_s > 3.0 and first.work_s == 0
        start_up.seconds |= {"import": 5.0}
        writer.work_begins("cuda", clock, SimpleNamespace(so_far=()))
        with clock.part("segment"):
            then = read(path, lambda progress: progress.part == "segment")
        assert (then.device_used, then.start_up_s) == ("cuda", 9.0)
        assert 0 < then.work_s < then.elapsed_s
        assert (then.gpu_busy_share, then.gpu_span_s) == (None, 0.0)
        read(path, lambda progress: progress.part == "work")
    assert not path.exists()


def test_the_gpu_is_that_of_the_last_minute(path: Path) -> None:
    busy = [sample(at_s, 100.0) for at_s in range(10, 200, 10)]
    idle = [sample(at_s, 1.0) for at_s in range(200, 260, 10)]
    gpu = SimpleNamespace(so_far=(*busy, *idle, sample(260, None)))
    with ProgressWriter(path, Clock(), "cuda", 0.05) as writer:
        writer.work_begins("cuda", Clock(), gpu)
        progress = read(path, lambda progress: progress.gpu_busy_share is not None)
    assert (progress.gpu_busy_share, progress.gpu_span_s) == (0.01, 50.0)


def test_computing_is_told_from_sleeping(path: Path) -> None:
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(10_000))

    with ProgressWriter(path, Clock(), "cpu", 0.05):
        asleep = read(path, lambda progress: progress.elapsed_s > 0.5)
        worker = threading.Thread(target=compute)
        worker.start()
        awake = read(path, lambda progress: progress.cpu_s > asleep.cpu_s + 0.3)
        done.set()
        worker.join()
    assert asleep.cpu_s < 0.5 * asleep.elapsed_s
    assert awake.cpu_wait_s is not None


def test_a_folder_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ProgressWriter(tmp_path / "file" / "progress.json", Clock(), "cpu", 0.02):
        time.sleep(0.1)

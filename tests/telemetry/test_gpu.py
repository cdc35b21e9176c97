# ruff: noqa: N802 - the names of NVML
import logging
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest

from channelscribe.contracts import GpuSample
from channelscribe.telemetry import gpu
from channelscribe.telemetry.gpu import GpuSampler, SampleLog, describe, merge


def sample(at_s: float, sm: float | None = 50.0, vram: float | None = 10.0, span_s: float = 1.0) -> GpuSample:
    return GpuSample(at_s=at_s, span_s=span_s, sm_percent=sm, vram_percent=vram, temperature_c=None, power_w=100.0)


class Driver(ModuleType):
    """In the place of nvidia-ml-py and the driver, neither of which Airflow's environment has."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.opened = self.closed = 0
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.closed += 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"handle {index}"

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "Card"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        self.gate.wait()
        if self.fault:
            raise self.fault
        return SimpleNamespace(gpu=80)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        if self.fault:
            raise self.fault
        return SimpleNamespace(total=400, used=100)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        raise self.NVMLError("Not Supported")

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        raise self.NVMLError("Not Supported")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    module = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return module


def test_means_and_maxima_survive_a_merge() -> None:
    first, second = sample(3.0, sm=90.0, vram=None, span_s=3.0), sample(4.0, sm=10.0, vram=20.0)
    merged = merge([first, second])
    assert (merged.at_s, merged.span_s) == (4.0, 4.0)
    assert merged.sm_percent == pytest.approx((3 * 90 + 10) / 4)
    assert merged.vram_percent == 20.0
    assert merged.temperature_c is None
    assert merge([sample(1.0, sm=None), sample(2.0, sm=40.0)]).sm_percent == 40.0


@pytest.mark.parametrize("n_samples", [599, 600, 601, 602, 1200, 1201, 5000])
def test_samples_are_bounded_and_lose_no_time(n_samples: int) -> None:
    log = SampleLog()
    for index in range(n_samples):
        log.add(sample(index + 1.0, sm=float(index % 2) * 100, vram=float(index == 1234)))
        assert len(log.samples) <= 601
    samples = log.samples
    assert sum(one.span_s for one in samples) == pytest.approx(n_samples)
    assert [one.at_s for one in samples] == sorted(one.at_s for one in samples)
    assert samples[-1].at_s == n_samples
    assert merge(samples).sm_percent == pytest.approx(50, abs=0.5)
    assert max(one.vram_percent or 0.0 for one in samples) == float(n_samples > 1234)
    # All but the one that is still being filled stand for the same time.
    assert len({one.span_s for one in samples[:-1]}) == 1


def test_a_gpu_is_sampled_while_the_stage_works(driver: Driver) -> None:
    with GpuSampler("cuda", interval_s=0.05) as sampler:
        time.sleep(0.4)
    assert sampler.unavailable is None
    assert sampler.samples is not None and len(sampler.samples) >= 3
    last = sampler.samples[-1]
    assert (last.sm_percent, last.vram_percent, last.temperature_c, last.power_w) == (80.0, 25.0, None, None)
    assert (driver.opened, driver.closed) == (1, 1)
    assert not [thread for thread in threading.enumerate() if thread.name == "gpu-sampler"]


def test_work_shorter_than_a_sample_has_one(driver: Driver) -> None:
    with GpuSampler("cuda", interval_s=30) as sampler:
        pass
    assert sampler.samples is not None and len(sampler.samples) == 1


def test_a_line_in_the_log_from_time_to_time(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "LOG_INTERVAL_S", 0.1)
    started = time.monotonic()
    with caplog.at_level(logging.INFO), GpuSampler("cuda", interval_s=0.02):
        time.sleep(0.5)
    lines = [record.getMessage() for record in caplog.records if record.name == gpu.__name__]
    assert 2 <= len(lines) <= (time.monotonic() - started) / 0.1
    assert set(lines) == {"Card: SM 80 %, VRAM 25 %."}


def test_figures_that_are_not_known_are_left_out() -> None:
    assert describe(sample(1.0)) == "SM 50 %, VRAM 10 %, 100 W"
    assert describe(sample(1.0, sm=None, vram=None)) == "100 W"


def test_the_cpu_is_not_sampled(driver: Driver) -> None:
    with GpuSampler("cpu") as sampler:
        pass
    assert (sampler.samples, sampler.unavailable) == (None, "the stage runs on the CPU")
    assert driver.opened == 0


def test_no_library_is_a_reason_and_no_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with GpuSampler("cuda") as sampler:
        pass
    assert (sampler.samples, sampler.unavailable) == (None, "nvidia-ml-py is not installed")


@pytest.mark.stages
def test_no_driver_is_a_reason_and_no_zeros() -> None:
    from channelscribe.telemetry.nvml import NoGpuError, open_gpu

    try:
        with open_gpu():
            pytest.skip("this machine has a GPU")
    except NoGpuError:
        pass
    with GpuSampler("cuda", interval_s=0.01) as sampler:
        time.sleep(0.1)
    assert sampler.samples is None
    assert sampler.unavailable is not None and "driver" in sampler.unavailable


def test_a_gpu_that_answers_nothing_is_unavailable(driver: Driver) -> None:
    driver.fault = driver.NVMLError("GPU is lost")
    with GpuSampler("cuda", interval_s=0.01) as sampler:
        time.sleep(0.05)
    assert (sampler.samples, sampler.unavailable) == (None, "Card answers no question")


def test_a_fault_in_the_thread_is_only_a_reason(driver: Driver) -> None:
    driver.fault = ZeroDivisionError("division by zero")
    with GpuSampler("cuda", interval_s=0.01) as sampler:
        time.sleep(0.05)
    assert (sampler.samples, sampler.unavailable) == (None, "ZeroDivisionError: division by zero")
    assert driver.closed == 1


def test_a_driver_that_hangs_does_not_hold_the_stage(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_PATIENCE_S", 0.1)
    driver.gate.clear()
    try:
        with GpuSampler("cuda", interval_s=0.01) as sampler:  # would not end
            time.sleep(0.05)
        assert (sampler.samples, sampler.unavailable) == (None, "the GPU did not answer in time")
    finally:
        driver.gate.set()
        for thread in threading.enumerate():
            if thread.name == "gpu-sampler":
                thread.join(10)


def test_the_stages_own_error_comes_through(driver: Driver) -> None:
    with pytest.raises(KeyError), GpuSampler("cuda", interval_s=0.01):
        raise KeyError
    assert not [thread for thread in threading.enumerate() if thread.name == "gpu-sampler"]

"""The GPU that this process works on, asked through NVML, the library of NVIDIA's driver.

NVML knows nothing of ``CUDA_VISIBLE_DEVICES`` and numbers GPUs as ``nvidia-smi`` does. `channelscribe.models` has CUDA
number them the same way, so that an index means one GPU to both.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from channelscribe.errors import MisconfiguredError

# The oldest GPUs that the pinned torch has code for: Turing, of 2018.
MIN_COMPUTE_CAPABILITY = (7, 5)


class NoGpuError(Exception):
    """There is no GPU to ask. Its text is a clause that says why."""


class Reading(NamedTuple):
    """What a GPU says of itself at one moment; None for what it does not say. See `contracts.GpuSample`."""

    sm_percent: float | None
    vram_percent: float | None
    temperature_c: float | None
    power_w: float | None


class Gpu:
    """One GPU, while NVML is open."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.name = str(self._query(nvml.nvmlDeviceGetName) or "GPU")

    def read(self) -> Reading:
        """Ask for everything; what the GPU does not support, or fails to answer, is None. Never raises."""
        memory = self._query(self._nvml.nvmlDeviceGetMemoryInfo)
        utilization = self._query(self._nvml.nvmlDeviceGetUtilizationRates)
        temperature = self._query(self._nvml.nvmlDeviceGetTemperature, self._nvml.NVML_TEMPERATURE_GPU)
        milliwatts = self._query(self._nvml.nvmlDeviceGetPowerUsage)
        return Reading(
            sm_percent=None if utilization is None else float(utilization.gpu),
            vram_percent=round(100 * memory.used / memory.total, 2) if memory and memory.total else None,
            temperature_c=None if temperature is None else float(temperature),
            power_w=None if milliwatts is None else milliwatts / 1000,
        )

    def _query(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with suppress(self._nvml.NVMLError):
            return function(self._handle, *arguments)
        return None


@contextmanager
def open_gpu() -> Iterator[Gpu]:
    """Open NVML and the GPU of this process: the first of ``CUDA_VISIBLE_DEVICES``, or else the first there is.

    Raises:
        NoGpuError: no NVML, no driver, or no such GPU.
    """
    try:
        import pynvml  # here, not above: it is in the stages' environment alone
    except ImportError as error:
        raise NoGpuError("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        # The library comes with the driver: a container without a GPU has neither.
        raise NoGpuError(f"no NVIDIA driver answers here ({error})") from error
    try:
        try:
            gpu = Gpu(pynvml, _handle(pynvml))
        except pynvml.NVMLError as error:
            raise NoGpuError(f"the NVIDIA driver refused ({error})") from error
        yield gpu
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def require_gpu(model: str) -> None:
    """Check that there is a GPU, before anything is imported that would take seconds to find that there is none.

    Args:
        model: what asks for it, for the sentence.

    Raises:
        MisconfiguredError: there is none.
    """
    try:
        with open_gpu():
            pass
    except NoGpuError as error:
        if isinstance(error.__cause__, ImportError):
            return  # NVML can't be asked; the model's own library will find out
        raise MisconfiguredError(
            f"{model} was asked to run on cuda, but {error}: see that `nvidia-smi` works there and that "
            "CHANNELSCRIBE_GPUS names one of its GPUs, or choose a profile that runs on the CPU."
        ) from error


def _handle(nvml: Any) -> Any:
    count = nvml.nvmlDeviceGetCount()
    if not count:
        raise NoGpuError("the NVIDIA driver sees no GPU")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    wanted = visible.split(",")[0].strip()
    if wanted.isdigit():
        if int(wanted) >= count:
            raise NoGpuError(f"CUDA_VISIBLE_DEVICES asks for GPU {wanted}, and the last one here is {count - 1}")
        return nvml.nvmlDeviceGetHandleByIndex(int(wanted))
    if not wanted or wanted.startswith("-"):
        raise NoGpuError(f"CUDA_VISIBLE_DEVICES={visible} hides every GPU")
    return _handle_by_uuid(nvml, wanted, count)


def _handle_by_uuid(nvml: Any, wanted: str, count: int) -> Any:
    with suppress(nvml.NVMLError):
        return nvml.nvmlDeviceGetHandleByUUID(wanted)
    # CUDA takes the beginning of a UUID too; NVML wants all of it.
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if str(nvml.nvmlDeviceGetUUID(handle)).startswith(wanted):
            return handle
    raise NoGpuError(f"CUDA_VISIBLE_DEVICES asks for {wanted}, and no GPU here has this UUID")

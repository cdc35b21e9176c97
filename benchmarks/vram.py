"""The most that a piece of work takes of a GPU's memory, whatever library and process it is in."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from channelscribe.telemetry.nvml import Gpu, NoGpuError, open_gpu

# torch keeps what it has taken once; CTranslate2 gives most of it back after a batch, which lasts longer than this.
_INTERVAL_S = 0.05


class VramPeak:
    """Asks NVML while its context is open. It sees the whole GPU: nobody else may begin to use it meanwhile.

    Args:
        device: ``cuda``, or ``cpu``, where there is nothing to ask.
    """

    def __init__(self, device: str) -> None:
        self.peak_gib: float | None = None
        """GiB beyond what was taken when the context opened; None where there is no GPU to ask, or it does not say."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True) if device == "cuda" else None

    def __enter__(self) -> "VramPeak":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._stop.set()
            self._thread.join()

    def restart(self) -> None:
        """Forget the peak; what was taken when the context opened still counts as before."""
        self.peak_gib = None

    def _run(self) -> None:
        with suppress(NoGpuError), open_gpu() as gpu:
            before = _taken_gib(gpu)
            while before is not None:
                stopping = self._stop.wait(_INTERVAL_S)
                now = _taken_gib(gpu)
                if now is not None:
                    self.peak_gib = round(max(self.peak_gib or 0.0, now - before), 2)
                if stopping:
                    return


def compared(stage: Mapping[str, Any]) -> str:
    """A stage's peak and what its profile counts on, for a table."""
    taken = stage.get("vram_gib")
    return "-" if taken is None else f"{taken:.2f} of {stage['vram_of_profile_gib']}"


def _taken_gib(gpu: Gpu) -> float | None:
    memory = gpu._query(gpu._nvml.nvmlDeviceGetMemoryInfo)
    return None if memory is None else float(memory.used) / 2**30

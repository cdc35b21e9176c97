"""How much memory this process took."""

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int:
    """The most memory that this process has held since its program began.

    By the kernel's VmHWM; getrusage's ``ru_maxrss`` begins with the peak of the process that started this one, and is
    taken only where the kernel, as that of a sandbox, does not say.
    """
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""Where a model really is, and what fits on it."""

from collections.abc import Sequence
from typing import Any


def device_of(*models: Any) -> str:
    """``cpu`` or ``cuda`` where all parameters of all the models are there; else every device, as ``cpu and cuda``.

    One parameter is not asked for all: a model that was moved in part would be slow, or fail later.

    Args:
        models: modules of torch.
    """
    found = {parameter.device.type for model in models for parameter in model.parameters()}
    return " and ".join(sorted(found)) or "no device"


def how_many_fit(bytes_each: int, *, most: int) -> int:
    """How many items of a batch fit into half of the GPU's free memory: at least one, at most ``most``."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return max(1, min(most, int(free / 2) // bytes_each))


def by_length(items: Sequence[Any]) -> list[list[int]]:
    """Indexes of the items of each length, for a network that takes only batches of one length."""
    groups: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(len(item), []).append(index)
    return list(groups.values())

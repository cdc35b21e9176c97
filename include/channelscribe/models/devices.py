"""Where a model really is."""

from typing import Any


def device_of(*models: Any) -> str:
    """``cpu`` or ``cuda`` where all parameters of all the models are there; else every device, as ``cpu and cuda``.

    One parameter is not asked for all: a model that was moved in part would be slow, or fail later.

    Args:
        models: modules of torch.
    """
    found = {parameter.device.type for model in models for parameter in model.parameters()}
    return " and ".join(sorted(found)) or "no device"

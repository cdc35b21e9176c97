"""Loading a stage's engine: checks first, then the import, then the model, then where it really is."""

import gc
import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.model_registry import MODELS
from channelscribe.models import ENGINES, Engine
from channelscribe.profiles import StageSpec
from channelscribe.stages.clock import Clock
from channelscribe.telemetry.nvml import require_gpu

logger = logging.getLogger(__name__)


def load_engine(spec: StageSpec, device: str, clock: Clock) -> Engine:
    """Import and load the engine of a stage, with the time taken as ``import`` and ``load``.

    Args:
        spec: of a stage that has a model.
        device: ``cpu`` or ``cuda``.
        clock: the times are added to it.

    Raises:
        MisconfiguredError: the model was not fetched, there is no GPU although one was asked for, the engine is not
            installed, or some of the model's parameters are on another device.
    """
    if spec.model in MODELS:
        model_folder(spec.model, spec.revision)
    if device == "cuda":
        require_gpu(spec.model)
    with _without_garbage_collection():
        with clock.part("import"):
            try:
                module = importlib.import_module(ENGINES[spec.engine])
            except ImportError as error:
                raise MisconfiguredError(
                    f"The engine {spec.engine} is not installed in {sys.prefix} ({error}): run `make setup`."
                ) from error
        with clock.part("load"):
            engine: Engine = module.load(spec, device)
    used = engine.device
    logger.info("%s: asked for %s, all its parameters are on %s.", spec.model, device, used)
    if used != device:
        raise MisconfiguredError(
            f"{spec.model} was asked to run on {device} but is on {used}: "
            "check the driver and the installation, or choose the device by --device."
        )
    return engine


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Imports make a million objects that stay. Looking through them again and again took a quarter of their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()  # nor are they looked through from now on
    finally:
        if was_enabled:
            gc.enable()

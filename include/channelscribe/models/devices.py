"""Where a model really is, and what fits on it."""

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

# CUDA's context, with the kernels of torch and its libraries.
_CONTEXT_GIB = 1.0

T = TypeVar("T")
R = TypeVar("R")


def device_of(*models: Any) -> str:
    """``cpu`` or ``cuda`` where all parameters of all the models are there; else every device, as ``cpu and cuda``.

    One parameter is not asked for all: a model that was moved in part would be slow, or fail later.

    Args:
        models: modules of torch.
    """
    found = {parameter.device.type for model in models for parameter in model.parameters()}
    return " and ".join(sorted(found)) or "no device"


def how_many_fit(bytes_each: int, memory_gib: float, *, most: int) -> int:
    """How many items of a batch a GPU has room for: at least one, at most ``most``.

    They take no more than what the profile gives the stage, since other stages may have the rest of the GPU, and half
    of what is free, since they may have more than theirs.

    Args:
        bytes_each: what an item takes.
        memory_gib: of the stage, as in `StageSpec`.
        most: the limit.
    """
    import torch

    free, _ = torch.cuda.mem_get_info()
    room = min(free / 2, (memory_gib - _CONTEXT_GIB) * 2**30)
    return max(1, min(most, int(room / bytes_each)))


def by_length(items: Sequence[Any]) -> list[list[int]]:
    """Indexes of the items of each length, for a network that takes only batches of one length."""
    groups: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(len(item), []).append(index)
    return list(groups.values())


def map_on(device: str, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to independent items: on the CPU several at a time, each on one core, on a GPU one by one.

    These networks have many small layers. torch's own threads, which share a layer, mostly wait for each other there:
    two of them diarized three minutes of audio in 42 s, one in 17 s.
    """
    if device != "cpu":
        return [function(item) for item in items]
    import torch

    workers = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        results = list(pool.map(function, items))
    # What the layers freed goes back to the system: in pieces between the results it was 0.5 GB after half an hour.
    ctypes.CDLL(None).malloc_trim(0)
    return results


@contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread compute by itself: see `map_on`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

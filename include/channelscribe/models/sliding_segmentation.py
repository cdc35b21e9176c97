"""pyannote's segmentation over overlapping windows, with its first layer computed once over the audio.

A window of 10 s is looked at each second, so that all of the model runs ten times over the same audio. Its first
layer, a bank of 80 filters over the waveform, takes half the time of all its convolutions, and hears the same in every
window up to the window's own level. Filtering is linear: ``filter(a x + b) = a filter(x) + b s``, with ``a`` and ``b``
as the scale and the offset by which a window is normalised, and ``s`` as the sum of the filter's taps.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Model
from pyannote.audio.utils.powerset import Powerset

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.models.devices import map_on


def segment_windows(model: Model, waveform: torch.Tensor, *, step_s: int, batch_size: int) -> NDArray[np.float32]:
    """Who speaks in each window, as local speakers. The last window is filled up with silence.

    Args:
        model: a PyanNet with powerset classes, whose windows are of ``model.specifications.duration`` seconds.
        waveform: (n_samples,) float32 at 16 kHz, at least one sample.
        step_s: from the start of one window to that of the next.
        batch_size: windows that go through the model together.

    Returns:
        (n_windows, n_frames, n_speakers) float32 of zeros and ones.
    """
    specifications = model.specifications
    to_speakers = Powerset(len(specifications.classes), specifications.powerset_max_classes).to(model.device)
    window, step = int(specifications.duration * SAMPLE_RATE_HZ), step_s * SAMPLE_RATE_HZ
    n_windows = 1 + max(0, -(-(len(waveform) - window) // step))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def segment(first: int) -> NDArray[np.float32]:
        n = min(batch_size, n_windows - first)
        n_samples = (n - 1) * step + window
        piece = waveform[first * step : first * step + n_samples]
        piece = torch.nn.functional.pad(piece, (0, n_samples - len(piece))).to(model.device)
        features = _features(model.sincnet, piece, window, step)
        speakers: NDArray[np.float32] = to_speakers(_classes(model, features)).cpu().numpy()
        return speakers

    return np.concatenate(map_on(model.device.type, segment, range(0, n_windows, batch_size)))


def _features(sincnet: torch.nn.Module, piece: torch.Tensor, window: int, step: int) -> torch.Tensor:
    """What the model's SincNet gives for each window of a piece of audio: (n_windows, 60, n_frames)."""
    filters, stride = sincnet.conv1d[0], sincnet.stride
    norm = sincnet.wav_norm1d
    variance, mean = torch.var_mean(piece.unfold(0, window, step), dim=1, unbiased=False)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    offset = norm.bias - mean * scale
    taps = filters.filterbank.filters()
    filtered = filters(piece[None, None])[0]
    length = (window - taps.shape[-1]) // stride + 1
    windows = filtered.unfold(1, length, step // stride).transpose(0, 1)
    outputs = torch.addcmul(offset[:, None, None] * taps.sum(dim=-1), windows, scale[:, None, None]).abs_()
    leaky = torch.nn.functional.leaky_relu
    outputs = leaky(sincnet.norm1d[0](sincnet.pool1d[0](outputs)))
    for convolution, pool, norm1d in list(zip(sincnet.conv1d, sincnet.pool1d, sincnet.norm1d, strict=True))[1:]:
        outputs = leaky(norm1d(pool(convolution(outputs))))
    return outputs


def _classes(model: Model, features: torch.Tensor) -> torch.Tensor:
    """The model behind its SincNet: (n_windows, 60, n_frames) -> (n_windows, n_frames, n_classes)."""
    outputs, _ = model.lstm(features.transpose(1, 2))
    for linear in model.linear:
        outputs = torch.nn.functional.leaky_relu(linear(outputs))
    return model.activation(model.classifier(outputs))

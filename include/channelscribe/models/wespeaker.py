"""Voice embeddings of who speaks in overlapping windows, by the speaker network of pyannote's community-1.

Stock pyannote runs the whole network for every window and every speaker in it. Until its last two layers the network
hears the same for all speakers of a window; only then are the frames weighed by who speaks. So here it runs once per
window, and its own pooling is told of all speakers at once, as it provides for. The results are stock's.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Model

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.models.devices import map_on
from channelscribe.models.voice_streams import WINDOW_S

_WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ


class WeSpeaker:
    """The loaded network.

    Args:
        network: a WeSpeakerResNet34.
        batch_size: windows that go through it together.
    """

    # Stock's rule: what makes one frame of filter banks, the least that the network takes.
    min_alone_s = 0.025

    def __init__(self, network: Model, batch_size: int) -> None:
        self._network = network
        self._batch_size = batch_size

    def embed_windows(self, waveform: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Voice embeddings of the speakers of windows that begin a second apart.

        Args:
            waveform: (n_samples,) float32 in [-1, 1] at 16 kHz. The last window is filled up with silence.
            masks: (n_windows, n_speakers, n_frames), where each speaker is heard.

        Returns:
            (n_windows, n_speakers, 256) float32; for the silent, what the network gives for nobody. It is no NaN, which
            would spread: to assign voices, VBx compares with the least likeness of all.
        """
        n_windows, n_speakers, _ = masks.shape
        nobody = self._network.resnet.seg_1.bias.detach().cpu().numpy()
        result = np.tile(nobody, (n_windows, n_speakers, 1))
        spoken = np.flatnonzero(masks.any(axis=(1, 2)))
        batches = [spoken[at : at + self._batch_size] for at in range(0, len(spoken), self._batch_size)]

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def embed(batch: NDArray[np.int_]) -> NDArray[np.float32]:
            windows = torch.from_numpy(np.stack([_window(waveform, int(index)) for index in batch])[:, None])
            weights = torch.from_numpy(masks[batch].astype(np.float32))
            frames = self._network.forward_frames(windows.to(self._network.device))
            embedded = self._network.forward_embedding(frames, weights=weights.to(self._network.device))
            return np.asarray(embedded.cpu().numpy())

        for batch, embedded in zip(batches, map_on(self._network.device.type, embed, batches), strict=True):
            result[batch] = embedded
        return result


def _window(waveform: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    piece = waveform[index * SAMPLE_RATE_HZ :][:_WINDOW_SAMPLES]
    return np.pad(piece, (0, _WINDOW_SAMPLES - len(piece)))

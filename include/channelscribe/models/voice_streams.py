"""Voice embeddings of who speaks in overlapping windows, with most of a speaker network run once for all of them.

Stock pyannote runs the whole network for every window and every speaker in it: with windows of 10 s, one each second,
over each second of audio ten times and more. Here the network runs up to its pooling for a few windows only, the bases.
What it gives for one of them is a *stream* of frames. The speaker of any window is pooled from those frames of the
streams around that lie where it is heard, the nearest base's first.

CAM++ weighs its channels by the mean over all of its input, and frames made of two voices at once tell them apart badly
(docs/performance.md). So its streams hold one voice each: the frames in which one speaker of the base is heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ

WINDOW_S = 10

_FEATURES_PER_S = 100
_WINDOW_FEATURES = WINDOW_S * _FEATURES_PER_S
_WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ + SAMPLE_RATE_HZ // 40
# Less than this is no voice yet.
_MIN_STREAM_FEATURES = 10
_MIN_OWN_FEATURES = 40
_MIN_FRAMES = 3
# Streams that cover less of a speaker than this are of other speakers: it is embedded on its own.
_MIN_COVERED = 0.7
# What is left after this is not worth another stream's frames.
_ENOUGH_COVERED = 0.95


class StreamingEncoder(Protocol):
    """A speaker network in two parts: up to its pooling over time, and from there on."""

    @property
    def features_per_frame(self) -> int:
        """How many features, of 100 a second, the first part makes a frame of."""
        ...

    @property
    def base_step_s(self) -> int:
        """Seconds from one base to the next."""
        ...

    @property
    def one_voice(self) -> bool:
        """A stream must hold one voice only."""
        ...

    @property
    def batch_size(self) -> int:
        """Streams of one length that go through the network together."""
        ...

    def features(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """(n_samples,) float32 at 16 kHz -> (n_features, n_bands)."""
        ...

    def frames(self, items: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Each (n_features, n_bands) -> each (channels, n_frames)."""
        ...

    def pool(self, frames: torch.Tensor) -> torch.Tensor:
        """(channels, n_frames) -> (dim,)."""
        ...


@dataclass(frozen=True)
class Stream:
    """Frames of one speaker of one window.

    Args:
        positions: (n_frames,) of the first of each frame's two features, from the start of the recording.
        frames: (channels, n_frames).
    """

    positions: NDArray[np.int64]
    frames: torch.Tensor


@torch.inference_mode()  # type: ignore[untyped-decorator]
def embed_windows(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], masks: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Voice embeddings of the speakers of windows that begin a second apart.

    Args:
        encoder: the speaker network.
        waveform: (n_samples,) float32 in [-1, 1] at 16 kHz.
        masks: (n_windows, n_speakers, n_frames), where each speaker is heard.

    Returns:
        (n_windows, n_speakers, dim) float32; NaN for a speaker who is heard too little.
    """
    n_windows, n_speakers, n_frames = masks.shape
    # The segmentation's frames (17 ms) stretched to the features' (10 ms).
    nearest = np.arange(_WINDOW_FEATURES) * n_frames // _WINDOW_FEATURES
    to_come = sorted({*range(0, n_windows, encoder.base_step_s), n_windows - 1})
    streams: dict[int, list[Stream]] = {}
    found: dict[tuple[int, int], torch.Tensor] = {}
    for index in range(n_windows):
        while to_come and to_come[0] < index + WINDOW_S:
            bases, to_come = to_come[: encoder.batch_size], to_come[encoder.batch_size :]
            streams.update(_streams(encoder, waveform, {base: masks[base][:, nearest] for base in bases}))
        for speaker in np.flatnonzero(masks[index].any(axis=1)):
            mask = masks[index, speaker][nearest]
            embedding = _from_streams(encoder, streams, mask, index)
            if embedding is None:
                embedding = _on_its_own(encoder, waveform, mask, index)
            if embedding is not None:
                found[index, int(speaker)] = embedding
        streams = {base: held for base, held in streams.items() if base > index + 1 - WINDOW_S}
    dimension = len(next(iter(found.values()))) if found else 1
    result = np.full((n_windows, n_speakers, dimension), np.nan, np.float32)
    if found:
        result[tuple(np.array(list(found)).T)] = torch.stack(list(found.values())).cpu().numpy()
    return result


def _streams(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], masks: dict[int, NDArray[np.bool_]]
) -> dict[int, list[Stream]]:
    """The streams of some bases, each with the mask of each of its speakers: (n_speakers, n_features)."""
    owners, places, items = [], [], []
    for base, own in masks.items():
        if not own.any():
            continue
        features = _features(encoder, waveform, base)
        for mask in own if encoder.one_voice else np.ones((1, _WINDOW_FEATURES), bool):
            heard = np.flatnonzero(mask[: len(features)])
            if len(heard) >= _MIN_STREAM_FEATURES:
                owners.append(base)
                places.append(base * _FEATURES_PER_S + heard[:: encoder.features_per_frame])
                items.append(features[torch.from_numpy(heard)])
    streams: dict[int, list[Stream]] = {base: [] for base in masks}
    for base, positions, frames in zip(owners, places, encoder.frames(items), strict=True):
        streams[base].append(Stream(positions[: frames.shape[1]], frames[:, : len(positions)]))
    return streams


def _from_streams(
    encoder: StreamingEncoder, streams: dict[int, list[Stream]], mask: NDArray[np.bool_], window: int
) -> torch.Tensor | None:
    """The voice embedding of a speaker from streams of the bases around; None if they are of others.

    Of the streams of a base the one that the speaker is heard in most is taken, for what is not covered yet.
    """
    start, span = window * _FEATURES_PER_S, encoder.features_per_frame
    left, n_heard = mask.copy(), int(mask.sum())
    parts: list[torch.Tensor] = []
    for base in sorted(
        (base for base in streams if abs(base - window) < WINDOW_S), key=lambda base: abs(base - window)
    ):
        best: tuple[int, Stream, NDArray[np.bool_]] | None = None
        for stream in streams[base]:
            places = stream.positions - start
            # All of a frame's features must be inside.
            inside = (places >= 0) & (places <= len(mask) - span)
            n_shared = int(mask[places[inside]].sum())
            new = inside.copy()
            new[inside] = left[places[inside]]
            if new.any() and (best is None or n_shared > best[0]):
                best = (n_shared, stream, new)
        if best:
            _, stream, new = best
            parts.append(stream.frames[:, torch.from_numpy(new)])
            left[((stream.positions[new] - start)[:, None] + np.arange(span)).ravel()] = False
        if left.sum() < (1 - _ENOUGH_COVERED) * n_heard:
            break
    n_frames = sum(part.shape[1] for part in parts)
    if n_frames < _MIN_FRAMES or span * n_frames < _MIN_COVERED * n_heard:
        return None
    return encoder.pool(torch.cat(parts, dim=1))


def _on_its_own(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], mask: NDArray[np.bool_], window: int
) -> torch.Tensor | None:
    features = _features(encoder, waveform, window)
    heard = np.flatnonzero(mask[: len(features)])
    if len(heard) < _MIN_OWN_FEATURES:
        return None
    return encoder.pool(encoder.frames([features[torch.from_numpy(heard)]])[0])


def _features(encoder: StreamingEncoder, waveform: NDArray[np.float32], window: int) -> torch.Tensor:
    start = window * SAMPLE_RATE_HZ
    return encoder.features(waveform[start : start + _WINDOW_SAMPLES])[:_WINDOW_FEATURES]

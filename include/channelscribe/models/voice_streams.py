"""Voice embeddings of who speaks in overlapping windows, with most of CAM++ run once for all of them.

Stock pyannote runs the whole network for every window and every speaker in it: with windows of 10 s, one each second,
over each second of audio ten times and more. Here the network runs up to its pooling for a few windows only, the bases.
What it gives for one of them is a *stream* of frames. The speaker of any window is pooled from those frames of the
streams around that lie where it is heard, the nearest base's first. For a base that is what the whole network gives,
as `embed_speakers` does; for the others it is close to that, enough to tell in most cases which of the recording's
voices they are (see `bounded_diarization`).

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
_WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ
# As many as fit, of 25 ms each.
_WINDOW_FEATURES = WINDOW_S * _FEATURES_PER_S - 2
# Less than this is no voice yet.
_MIN_STREAM_FEATURES = 10
_MIN_OWN_FEATURES = 40
_MIN_FRAMES = 3
# Streams that cover less of a speaker than this are of other speakers: it is embedded on its own.
_MIN_COVERED = 0.7
# What is left after this is not worth another stream's frames.
_ENOUGH_COVERED = 0.95
# A short recording, of which every embedding counts, has as many bases as this, or all of its windows are.
_ENOUGH_BASES = 60


class StreamingEncoder(Protocol):
    """A speaker network in two parts: up to its pooling over time, and from there on."""

    @property
    def features_per_frame(self) -> int:
        """How many features, of 100 a second, the first part makes a frame of."""
        ...

    @property
    def base_step_s(self) -> int:
        """Seconds from one base to the next, at the most."""
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
        speaker: which of the window.
        positions: (n_frames,) of the first of each frame's two features, from the start of the recording.
        frames: (channels, n_frames).
    """

    speaker: int
    positions: NDArray[np.int64]
    frames: torch.Tensor


def base_windows(encoder: StreamingEncoder, n_windows: int) -> list[int]:
    """Indexes of the windows that are bases."""
    step = max(1, min(encoder.base_step_s, n_windows // _ENOUGH_BASES))
    return sorted({*range(0, n_windows, step), n_windows - 1})


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
    nearest = _nearest(n_frames)
    to_come = base_windows(encoder, n_windows)
    streams: dict[int, list[Stream]] = {}
    found: dict[tuple[int, int], torch.Tensor] = {}
    for index in range(n_windows):
        while to_come and to_come[0] < index + WINDOW_S:
            bases, to_come = to_come[: encoder.batch_size], to_come[encoder.batch_size :]
            streams.update(_streams(encoder, waveform, {base: masks[base][:, nearest] for base in bases}))
        for speaker in np.flatnonzero(masks[index].any(axis=1)):
            mask = masks[index, speaker][nearest]
            embedding = _from_streams(encoder, streams, mask, index, int(speaker))
            if embedding is None:
                embedding = _on_its_own(encoder, [_heard_features(encoder, waveform, mask, index)])[0]
            if embedding is not None:
                found[index, int(speaker)] = embedding
        streams = {base: held for base, held in streams.items() if base > index + 1 - WINDOW_S}
    dimension = len(next(iter(found.values()))) if found else 1
    result = np.full((n_windows, n_speakers, dimension), np.nan, np.float32)
    if found:
        result[tuple(np.array(list(found)).T)] = torch.stack(list(found.values())).cpu().numpy()
    return result


@torch.inference_mode()  # type: ignore[untyped-decorator]
def embed_speakers(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], masks: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Voice embeddings of some speakers of some windows, each from its own frames alone.

    Args:
        encoder: the speaker network.
        waveform: (n_samples,) float32 in [-1, 1] at 16 kHz.
        masks: (n_windows, n_speakers, n_frames), where each speaker is heard.
        chosen: (n_windows, n_speakers).

    Returns:
        (n_chosen, dim) float32, in the order of ``np.argwhere(chosen)``; NaN for one who is heard too little.
    """
    nearest = _nearest(masks.shape[2])
    pairs = np.argwhere(chosen)
    embedded: list[torch.Tensor | None] = []
    for at in range(0, len(pairs), encoder.batch_size):
        items = [
            _heard_features(encoder, waveform, masks[window, speaker][nearest], int(window))
            for window, speaker in pairs[at : at + encoder.batch_size]
        ]
        embedded += _on_its_own(encoder, items)
    dimension = next((len(embedding) for embedding in embedded if embedding is not None), 1)
    result = np.full((len(pairs), dimension), np.nan, np.float32)
    for row, embedding in zip(result, embedded, strict=True):
        if embedding is not None:
            row[:] = embedding.cpu().numpy()
    return result


def _streams(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], masks: dict[int, NDArray[np.bool_]]
) -> dict[int, list[Stream]]:
    """The streams of some bases, each with the mask of each of its speakers: (n_speakers, n_features)."""
    owners: list[tuple[int, int]] = []
    places, items = [], []
    for base, own in masks.items():
        if not own.any():
            continue
        features = _features(encoder, waveform, base)
        for speaker, mask in enumerate(own):
            heard = np.flatnonzero(mask[: len(features)])
            if len(heard) >= _MIN_STREAM_FEATURES:
                owners.append((base, speaker))
                places.append(base * _FEATURES_PER_S + heard[:: encoder.features_per_frame])
                items.append(features[torch.from_numpy(heard)])
    streams: dict[int, list[Stream]] = {base: [] for base in masks}
    for (base, speaker), positions, frames in zip(owners, places, encoder.frames(items), strict=True):
        streams[base].append(Stream(speaker, positions[: frames.shape[1]], frames[:, : len(positions)]))
    return streams


def _from_streams(
    encoder: StreamingEncoder, streams: dict[int, list[Stream]], mask: NDArray[np.bool_], window: int, speaker: int
) -> torch.Tensor | None:
    """The voice embedding of a speaker from streams of the bases around; None if they are of others.

    A speaker of a base has a stream of its own. For others, of the streams of a base the one that the speaker is heard
    in most is taken, for what is not covered yet.
    """
    start, span = window * _FEATURES_PER_S, encoder.features_per_frame
    for stream in streams.get(window, ()):
        if stream.speaker == speaker and len(stream.positions) >= _MIN_FRAMES:
            return encoder.pool(stream.frames)
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


def _on_its_own(encoder: StreamingEncoder, items: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """The voice embedding of each (n_features, n_bands); None for too few."""
    enough = [item for item in items if len(item) >= _MIN_OWN_FEATURES]
    embedded = iter([encoder.pool(frames) for frames in encoder.frames(enough)])
    return [next(embedded) if len(item) >= _MIN_OWN_FEATURES else None for item in items]


def _nearest(n_frames: int) -> NDArray[np.int64]:
    """The segmentation's frames (17 ms) stretched to the features' (10 ms)."""
    return np.arange(_WINDOW_FEATURES) * n_frames // _WINDOW_FEATURES


def _heard_features(
    encoder: StreamingEncoder, waveform: NDArray[np.float32], mask: NDArray[np.bool_], window: int
) -> torch.Tensor:
    features = _features(encoder, waveform, window)
    return features[torch.from_numpy(np.flatnonzero(mask[: len(features)]))]


def _features(encoder: StreamingEncoder, waveform: NDArray[np.float32], window: int) -> torch.Tensor:
    start = window * SAMPLE_RATE_HZ
    return encoder.features(waveform[start : start + _WINDOW_SAMPLES])[:_WINDOW_FEATURES]

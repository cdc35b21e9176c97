"""The one way to extract voice embeddings: every stretch of speech in one batched pass, none of them twice.

The stage ``identify_speakers``, enrollment and calibration all come here, so that what is compared was taken alike.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channelscribe.contracts import Turn
from channelscribe.models import VoiceEncoder
from channelscribe.profiles import Parameters


@dataclass(frozen=True)
class Windowing:
    """What of a turn an encoder is given.

    Args:
        min_turn_s: a shorter turn says too little of a voice and gets no embedding.
        max_turn_s: only this much of the turn's beginning is used.
        window_s: length of the windows that a turn is cut into, for an encoder that wants inputs of one length; a
            shorter turn is repeated to fill one. None gives the encoder whole turns.
        hop_s: from the start of one window to that of the next.
    """

    min_turn_s: float
    max_turn_s: float
    window_s: float | None = None
    hop_s: float | None = None


def windowing_of(parameters: Parameters) -> Windowing:
    """The windowing that a profile's ``identify_speakers`` names."""
    return Windowing(**{name: float(parameters[name]) for name in Windowing.__dataclass_fields__ if name in parameters})


@dataclass(frozen=True)
class VoiceCache:
    """A file of voice embeddings by the content they were taken from; read, and extended.

    Args:
        path: the file.
        model: name and revision of the model: part of the content.
    """

    path: Path
    model: str


def embed_turns(
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    turns: Sequence[Turn],
    encoder: VoiceEncoder,
    windowing: Windowing,
    cache: VoiceCache | None = None,
) -> tuple[list[Turn], NDArray[np.float32]]:
    """Voice embeddings of turns, or the mean direction of the windows of each.

    Args:
        waveform: (n_samples,) float32 in [-1, 1].
        sample_rate_hz: of the waveform.
        turns: exclusive turns.
        encoder: the speaker model.
        windowing: how turns are cut.
        cache: what was extracted before; None for nothing.

    Returns:
        The turns that are long enough, and (n_turns, dim) float32, L2-normalised, in their order.
    """
    chosen, samples = [], []
    for turn in turns:
        end_s = min(turn.end_s, turn.start_s + windowing.max_turn_s)
        piece = waveform[int(turn.start_s * sample_rate_hz) : int(end_s * sample_rate_hz)]
        if len(piece) >= windowing.min_turn_s * sample_rate_hz:
            chosen.append(turn)
            samples.append(piece)
    if not samples:
        return [], np.zeros((0, 0), np.float32)
    keys = [_key(piece, windowing, cache.model if cache else "") for piece in samples]
    known = _read_cache(cache.path) if cache else {}
    missing = {key: piece for key, piece in zip(keys, samples, strict=True) if key not in known}
    if missing:
        made = _embed_pieces(list(missing.values()), encoder, windowing)
        known.update(zip(missing, made, strict=True))
        if cache:
            _write_cache(cache.path, known)
    return chosen, np.stack([known[key] for key in keys])


def _embed_pieces(
    pieces: Sequence[NDArray[np.float32]], encoder: VoiceEncoder, windowing: Windowing
) -> NDArray[np.float32]:
    items: list[Any] = []
    owners: list[int] = []
    for index, piece in enumerate(pieces):
        features = encoder.features(piece)
        cut = [features] if windowing.window_s is None else _windows(features, windowing.window_s, windowing.hop_s)
        items += cut
        owners += [index] * len(cut)
    embedded = encoder.embed(items)
    sums = np.zeros((len(pieces), embedded.shape[1]), np.float64)
    np.add.at(sums, owners, embedded)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


def _windows(features: Any, window_s: float, hop_s: float | None) -> list[Any]:
    """All of one length. The last one is moved back to end with the turn; a short turn is repeated to fill one."""
    length = round(window_s * 100)
    hop = length if hop_s is None else round(hop_s * 100)
    n_frames = len(features)
    if n_frames <= length:
        return [features[np.arange(length) % n_frames]]
    starts = [*range(0, n_frames - length, hop), n_frames - length]
    return [features[start : start + length] for start in starts]


def _key(piece: NDArray[np.float32], windowing: Windowing, model: str) -> str:
    content = hashlib.sha256(repr((model, windowing)).encode())
    content.update(np.ascontiguousarray(piece).data)
    return content.hexdigest()


def _read_cache(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path) as stored:
            return dict(zip(stored["keys"].tolist(), stored["embeddings"], strict=True))
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # a damaged cache is only a slower run


def _write_cache(path: Path, known: dict[str, NDArray[np.float32]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        np.savez(file, keys=np.array(list(known)), embeddings=np.stack(list(known.values())))
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)

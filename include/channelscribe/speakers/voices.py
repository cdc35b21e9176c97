"""The one way to extract voice embeddings: every turn of a video in one batched pass, none of them twice."""

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


@dataclass(frozen=True)
class Windowing:
    """How a turn is cut for a model that wants inputs of one length.

    Args:
        window_s: length of a window; a shorter turn is repeated to fill one.
        hop_s: from the start of one window to that of the next.
        min_turn_s: a shorter turn says too little of a voice and gets no embedding.
        max_turn_s: only this much of the turn's beginning is used.
    """

    window_s: float
    hop_s: float
    min_turn_s: float
    max_turn_s: float


def embed_turns(
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    turns: Sequence[Turn],
    encoder: VoiceEncoder,
    windowing: Windowing,
    cache: Path,
) -> tuple[list[Turn], NDArray[np.float32]]:
    """Voice embeddings of turns: the mean direction of the windows of each.

    Args:
        waveform: (n_samples,) float32 in [-1, 1].
        sample_rate_hz: of the waveform.
        turns: exclusive turns.
        encoder: the speaker model.
        windowing: how turns are cut.
        cache: file of embeddings by the content they were taken from; read, and extended. It belongs to one model.

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
    keys = [_key(piece, windowing) for piece in samples]
    known = _read_cache(cache)
    missing = {key: piece for key, piece in zip(keys, samples, strict=True) if key not in known}
    if missing:
        made = _embed_pieces(list(missing.values()), encoder, windowing)
        known.update(zip(missing, made, strict=True))
        _write_cache(cache, known)
    if not keys:
        return [], np.zeros((0, 0), np.float32)
    return chosen, np.stack([known[key] for key in keys])


def _embed_pieces(
    pieces: Sequence[NDArray[np.float32]], encoder: VoiceEncoder, windowing: Windowing
) -> NDArray[np.float32]:
    items: list[Any] = []
    owners: list[int] = []
    for index, piece in enumerate(pieces):
        for window in _windows(encoder.features(piece), windowing):
            items.append(window)
            owners.append(index)
    embedded = encoder.embed(items)
    sums = np.zeros((len(pieces), embedded.shape[1]), np.float64)
    np.add.at(sums, owners, embedded)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)


def _windows(features: Any, windowing: Windowing) -> list[Any]:
    """All of one length. The last one is moved back to end with the turn; a short turn is repeated to fill one."""
    length, hop = round(windowing.window_s * 100), round(windowing.hop_s * 100)
    n_frames = len(features)
    if n_frames <= length:
        return [features[np.arange(length) % n_frames]]
    starts = [*range(0, n_frames - length, hop), n_frames - length]
    return [features[start : start + length] for start in starts]


def _key(piece: NDArray[np.float32], windowing: Windowing) -> str:
    content = hashlib.sha256(repr(windowing).encode())
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

"""Diarizes three hours with little speech.

Prints seconds of speech, those of the two main clusters, and the peak memory in GB before and after. A program of its
own, because a process's peak memory never falls.
"""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.models import bounded_diarization, diarization
from channelscribe.models.sliding_segmentation import segment_windows
from channelscribe.profiles import BUNDLED
from channelscribe.telemetry.memory import peak_memory_bytes

HOURS = 3
REPEATS = 3
"""Times that half a minute of dialogue is heard, each hour."""


def main() -> None:
    """Diarize, then cluster as many voice embeddings as three hours without a pause give."""
    spec = importlib.util.find_spec("pyannote.audio")
    assert spec is not None and spec.origin is not None
    speech = decode(Path(spec.origin).parent / "sample" / "sample.wav")
    waveform = np.zeros(HOURS * 3600 * SAMPLE_RATE_HZ, np.float32)
    for minute in range(0, HOURS * 60, 60 // REPEATS):
        waveform[(60 * minute + 7) * SAMPLE_RATE_HZ :][: len(speech)] = speech
    waveform += 0.0  # so that it takes memory where it is silent, too
    bounded_diarization.segment_windows = _segment_speech
    engine = diarization.load(BUNDLED.stages["diarize"], "cpu")
    before_gb = peak_memory_bytes() / 1e9
    _, exclusive, _ = engine.diarize(waveform, "three-hours")
    _cluster_all()
    spoken = Counter[str]()
    for turn in exclusive:
        spoken[turn.cluster] += turn.duration_s
    print(
        spoken.total(),
        sum(seconds for _, seconds in spoken.most_common(2)),
        before_gb,
        peak_memory_bytes() / 1e9,
    )


def _segment_speech(model: object, waveform: torch.Tensor, *, step_s: int, batch_size: int) -> NDArray[np.float32]:
    """The segmentation of the windows with any sound in them, as the others take minutes and are nobody's."""
    windows = waveform.unfold(0, 10 * SAMPLE_RATE_HZ, step_s * SAMPLE_RATE_HZ)
    loud = np.flatnonzero([bool(window.any()) for window in windows])
    result: NDArray[np.float32] | None = None
    for run in np.split(loud, np.flatnonzero(np.diff(loud) > 1) + 1):
        piece = waveform[int(run[0]) * SAMPLE_RATE_HZ : (int(run[-1]) + 10) * SAMPLE_RATE_HZ]
        found = segment_windows(model, piece, step_s=step_s, batch_size=batch_size)
        if result is None:
            result = np.zeros((len(windows), *found.shape[1:]), np.float32)
        result[run] = found
    assert result is not None
    return result


def _cluster_all() -> None:
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    random = np.random.default_rng(0)
    n_windows = HOURS * 3600
    voices = random.normal(size=(3, 192))
    embeddings = (voices + random.normal(scale=0.3, size=(n_windows, 3, 192))).astype(np.float32)
    heard = np.zeros((n_windows, 589, 3), np.float32)
    heard.reshape(n_windows, -1, 3)[:, :450] = np.repeat(np.eye(3, dtype=np.float32), 150, axis=0)
    clustering = bounded_diarization.ThinnedAgglomerativeClustering(metric="cosine")
    clustering.instantiate({"method": "centroid", "min_cluster_size": 12, "threshold": 0.7})
    windows = SlidingWindowFeature(heard, SlidingWindow(start=0.0, duration=10.0, step=1.0))
    clusters, _, _ = clustering(embeddings, segmentations=windows)
    assert (clusters == clusters[0]).all() and len(set(clusters[0])) == 3, "three voices were told apart wrongly"


if __name__ == "__main__":
    sys.exit(main())

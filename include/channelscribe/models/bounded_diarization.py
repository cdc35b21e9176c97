"""pyannote's diarization pipeline with the same steps, done once where stock does them many times over.

What differs from stock: the segmentation's first layer is shared by the windows (see `sliding_segmentation`), most work
for the voice embeddings by the speakers of a window (`wespeaker`) or by windows, too (`voice_streams`), no array grows
with audio times speakers times overlap, and no more voice embeddings are clustered than `MAX_CLUSTERED`, since the time
and the memory of that grow with their square. What is unclear where windows share is embedded as in stock, and
clustered with the others once more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pyannote.audio import Audio, Inference, Model, Pipeline
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import AgglomerativeClustering, BaseClustering, VBxClustering
from pyannote.core import Annotation, Segment, SlidingWindow, SlidingWindowFeature
from pyannote.pipeline.parameter import ParamDict, Uniform

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.models.sliding_segmentation import segment_windows
from channelscribe.models.voice_streams import (
    WINDOW_S,
    StreamingEncoder,
    base_windows,
    embed_speakers,
    embed_windows,
)

STEP_S = 1
"""From the start of one window to that of the next: a tenth of a window, as in stock pyannote."""

MAX_CLUSTERED = 5000
"""An hour of one voice gives 3600 voice embeddings. Of more than this, an even selection is clustered, and the others
are assigned to the clusters found. The distances of 5000 need 0.1 GB."""

# A cosine: an embedding from shared frames that is nearer than this to two voices may be of either.
_CLEAR_MARGIN = 0.05
# A cluster with less of the embeddings than this may be of none of the voices.
_SMALL_SHARE = 0.1


class _Thinned(BaseClustering):  # type: ignore[misc]
    """Clusters an even selection where there are too many voice embeddings."""

    kept = 1.0
    shared: NDArray[np.bool_] | None = None
    """(n_windows,), the windows whose embeddings come from the frames of others; None if there are none."""
    embed: Callable[[NDArray[np.bool_]], NDArray[np.float32]]
    """Embeds the chosen of (n_windows, n_speakers) as stock does: `embed_speakers` of the recording."""

    def filter_embeddings(self, *arguments: Any, **options: Any) -> tuple[Any, Any, Any]:
        """The embeddings to cluster, and the windows and speakers that they are of."""
        embeddings, windows, speakers = super().filter_embeddings(*arguments, **options)
        n = len(embeddings)
        chosen = np.linspace(0, n - 1, min(n, MAX_CLUSTERED)).round().astype(int)
        self.kept = len(chosen) / max(n, 1)
        return embeddings[chosen], windows[chosen], speakers[chosen]


class ThinnedAgglomerativeClustering(_Thinned, AgglomerativeClustering):  # type: ignore[misc]
    """Agglomerative clustering whose smallest cluster means as many seconds of speech, however few are clustered."""

    def cluster(self, *arguments: Any, **options: Any) -> Any:
        """(n,) the cluster of each embedding."""
        smallest: int = getattr(self, "min_cluster_size")  # noqa: B009 - a hyper-parameter, which has no type
        self.min_cluster_size = max(1, round(smallest * self.kept))
        try:
            return super().cluster(*arguments, **options)
        finally:
            self.min_cluster_size = smallest

    def __call__(self, embeddings: NDArray[np.float32], *arguments: Any, **options: Any) -> Any:
        """Clusters of all embeddings (n_windows, n_speakers), their likeness to each, and the clusters' centroids.

        What is unclear is embedded again, and all is clustered once more.
        """
        found = super().__call__(embeddings, *arguments, **options)
        if self.shared is None or found[1].shape[2] < 2:
            return found
        unclear = _unclear(found[0], found[1]) & self.shared[:, None]
        if not unclear.any():
            return found
        own = self.embed(unclear)
        embeddings = embeddings.copy()
        embeddings[unclear] = np.where(np.isnan(own), embeddings[unclear], own)
        return super().__call__(embeddings, *arguments, **options)


def _unclear(clusters: NDArray[np.int_], likeness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n_windows, n_speakers), of those that have embeddings: who is near two clusters, or in a small one.

    Embeddings that mix voices are alike, and together look like a voice of their own.
    """
    embedded = ~np.isnan(likeness[:, :, 0])
    second, best = np.sort(likeness, axis=2)[:, :, -2:].transpose(2, 0, 1)
    sizes = np.bincount(clusters[embedded], minlength=likeness.shape[2])
    small = np.flatnonzero(sizes < _SMALL_SHARE * embedded.sum())
    return np.asarray(embedded & ((best - second < _CLEAR_MARGIN) | np.isin(clusters, small)))


class ThinnedVBxClustering(_Thinned, VBxClustering):  # type: ignore[misc]
    """Bayesian clustering of an x-vector sequence, of a selection."""


class WindowEncoder(Protocol):
    """What gives the voice embeddings of windows."""

    @property
    def min_alone_s(self) -> float:
        """Who is heard alone in a window for no longer than this is embedded from what is shared with others, too."""
        ...

    def embed_windows(self, waveform: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `voice_streams.embed_windows`."""
        ...


class SharedStreams:
    """A speaker network whose work the windows share, with a clustering that asks again for what is unclear then."""

    min_alone_s = 0.4

    def __init__(self, encoder: StreamingEncoder, clustering: ThinnedAgglomerativeClustering) -> None:
        self._encoder = encoder
        self._clustering = clustering

    def embed_windows(self, waveform: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `voice_streams.embed_windows`."""
        shared = np.isin(np.arange(len(masks)), base_windows(self._encoder, len(masks)), invert=True)
        self._clustering.shared = shared if shared.any() else None
        self._clustering.embed = partial(embed_speakers, self._encoder, waveform, masks)
        return np.asarray(embed_windows(self._encoder, waveform, masks))


class BoundedDiarization(SpeakerDiarization):  # type: ignore[misc]
    """The pipeline. Its constructor takes loaded parts, where stock's loads them.

    Args:
        segmentation: a PyanNet with powerset classes and windows of 10 s.
        encoder: gives the voice embeddings.
        dimension: of its voice embeddings.
        clustering: one of the clusterings above.
        batch_size: windows that go through the segmentation together.
    """

    def __init__(
        self,
        segmentation: Model,
        encoder: WindowEncoder,
        dimension: int,
        clustering: _Thinned,
        batch_size: int,
    ) -> None:
        Pipeline.__init__(self)
        self.legacy = False
        self.embedding_exclude_overlap = True
        self.klustering = type(clustering).__name__
        # Asked by stock code for the model's facts; it is never called.
        self._segmentation = Inference(segmentation, skip_aggregation=True)
        self.segmentation = ParamDict(min_duration_off=Uniform(0.0, 1.0))
        self._encoder = encoder
        self._dimension = dimension
        self._audio = Audio(sample_rate=SAMPLE_RATE_HZ, mono="downmix")
        self.clustering = clustering
        self._expects_num_speakers = False
        self._batch_size = batch_size

    @property
    def _embedding(self) -> Any:
        return _Embedding(self._dimension)

    def get_segmentations(self, file: dict[str, Any], hook: Any = None) -> SlidingWindowFeature:
        """Who speaks in each window: (n_windows, n_frames, n_speakers)."""
        data = segment_windows(
            self._segmentation.model, file["waveform"][0], step_s=STEP_S, batch_size=self._batch_size
        )
        return SlidingWindowFeature(data, SlidingWindow(start=0.0, duration=float(WINDOW_S), step=float(STEP_S)))

    def get_embeddings(
        self,
        file: dict[str, Any],
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Any = None,
    ) -> NDArray[np.float32]:
        """Voice embeddings of each local speaker of each window: (n_windows, n_speakers, dim)."""
        heard = binary_segmentations.data > 0.5
        if exclude_overlap:
            alone = heard & (heard.sum(axis=2, keepdims=True) < 2)
            enough = alone.sum(axis=1, keepdims=True) > np.ceil(self._encoder.min_alone_s / WINDOW_S * heard.shape[1])
            heard = np.where(enough, alone, heard)
        masks = np.ascontiguousarray(heard.transpose(0, 2, 1))
        return self._encoder.embed_windows(file["waveform"][0].numpy(), masks)

    def reconstruct(
        self, segmentations: SlidingWindowFeature, hard_clusters: NDArray[np.int_], count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """(n_frames, n_clusters) of zeros and ones: as many clusters as speak, those heard by most windows."""
        data = segmentations.data
        n_windows, n_frames, _ = data.shape
        frames, windows = count.sliding_window, segmentations.sliding_window
        most = int(count.data.max())
        heard = np.zeros((len(count.data), max(int(hard_clusters.max()) + 1, most)), np.float32)
        for index in range(n_windows):
            start = frames.closest_frame(windows[index].start + 0.5 * frames.duration)
            here = heard[start : start + n_frames]
            for cluster in np.unique(hard_clusters[index]):
                if cluster >= 0:
                    own = data[index][: len(here), hard_clusters[index] == cluster]
                    here[:, cluster] += own.max(axis=1)
        order = np.argsort(-heard, axis=1)[:, :most]
        chosen = np.arange(most) < count.data
        binary = np.zeros(heard.shape, np.float32)
        rows = np.broadcast_to(np.arange(len(heard))[:, None], order.shape)
        binary[rows[chosen], order[chosen]] = 1.0
        return SlidingWindowFeature(binary, frames)

    @staticmethod
    def to_annotation(
        discrete_diarization: SlidingWindowFeature, min_duration_on: float = 0.0, min_duration_off: float = 0.0
    ) -> Annotation:
        """The stretches in which each cluster speaks; pauses shorter than ``min_duration_off`` are filled."""
        frames = discrete_diarization.sliding_window
        annotation = Annotation()
        for cluster, active in enumerate(discrete_diarization.data.T > 0.5):
            edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
            for start, end in edges.reshape(-1, 2):
                # The last frame ends a stretch that goes on to the end.
                segment = Segment(frames[int(start)].middle, frames[int(min(end, len(active) - 1))].middle)
                annotation[segment, cluster] = cluster
        return annotation.support(collar=min_duration_off) if min_duration_off > 0.0 else annotation


class _Embedding:
    """What stock code asks of an embedding model that it does not call."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

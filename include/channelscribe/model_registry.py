"""The models that come from hubs: where from, which revision and files, under which licence.

A revision is a commit of the model's repository, never a branch: it is part of every fingerprint, and two results are
comparable only if it is the same. The files that hold weights, or run code when they are loaded, are pinned by their
checksums besides, so that a mirror (``HF_ENDPOINT``) can hand out nothing else under the same name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class HubModel:
    """A model that ``channelscribe models pull`` fetches.

    Args:
        name: repository at the hub, as a profile names it.
        revision: commit of the repository; the file's SHA-256 where the model is one file at a ``url``.
        profile: the first profile that uses it.
        licence: as its page says.
        size_mb: about how much is fetched, in megabytes.
        pinned: the files that hold weights, or run code when they are loaded, with their SHA-256.
        files: patterns of the other files, as in ``fnmatch``; each must match one at least.
        gated: whether one must accept conditions on its page first.
        url: where its one file lies, if not at the hub.
    """

    name: str
    revision: str
    profile: str
    licence: str
    size_mb: int
    pinned: Mapping[str, str]
    files: tuple[str, ...] = ()
    gated: bool = False
    url: str | None = None

    @property
    def page(self) -> str:
        """The model's page, with its card and conditions."""
        return f"{HUB}/{self.name}"

    @property
    def folder(self) -> str:
        """Its folder below that of the models."""
        return folder_name(self.name, self.revision)


_OPENAI_SHA256 = "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a"

_MODELS = (
    HubModel(
        name="pyannote/speaker-diarization-community-1",
        revision="3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
        profile="gpu",
        licence="CC-BY-4.0",
        size_mb=33,
        pinned={
            "segmentation/pytorch_model.bin": "7ad24338d844fb95985486eb1a464e32d229f6d7a03c9abe60f978bacf3f816e",
            "embedding/pytorch_model.bin": "6f10ff60898a1d185fa22e1d11e0bfa8a92efec811f11bca48cb8cafebefd929",
            "plda/plda.npz": "9b77bcd840692710dd3496f62ecfeed8d8e5f002fd991b785079b244eab7d255",
            "plda/xvec_transform.npz": "325f1ce8e48f7e55e9c8aa47e05d2766b7c48c4b25b8de8dd751e7a4cc5fbe8f",
            "config.yaml": "5ce2bfa9a938dc132cec1172592d65173cbb8f444ea1e4133f10f9391de155be",
        },
        files=("README.md",),
        gated=True,
    ),
    HubModel(
        # What faster-whisper itself means by `large-v3-turbo`.
        name="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        profile="gpu",
        licence="MIT",
        size_mb=1622,
        pinned={"model.bin": "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"},
        files=("config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*", "README.md"),
    ),
    HubModel(
        # OpenAI's own file, as its package loads it: the hub has the same weights in another format.
        name="openai/whisper-large-v3-turbo",
        revision=_OPENAI_SHA256,
        profile="gpu-reference",
        licence="MIT",
        size_mb=1618,
        pinned={"large-v3-turbo.pt": _OPENAI_SHA256},
        url=f"https://openaipublic.azureedge.net/main/whisper/models/{_OPENAI_SHA256}/large-v3-turbo.pt",
    ),
    HubModel(
        name="speechbrain/spkrec-ecapa-voxceleb",
        revision="0f99f2d0ebe89ac095bcc5903c4dd8f72b367286",
        profile="gpu",
        licence="Apache-2.0",
        size_mb=89,
        pinned={
            "embedding_model.ckpt": "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2",
            "mean_var_norm_emb.ckpt": "cd70225b05b37be64fc5a95e24395d804231d43f74b2e1e5a513db7b69b34c33",
            "classifier.ckpt": "fd9e3634fe68bd0a427c95e354c0c677374f62b3f434e45b78599950d860d535",
            "hyperparams.yaml": "6f78854fa04ba59e761437b76a2575d3aba5e5016de3e9b69f0c9a5077fb1a41",
        },
        files=("label_encoder.txt", "README.md"),
    ),
    HubModel(
        name="Qwen/Qwen3-Embedding-0.6B",
        revision="97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
        profile="gpu",
        licence="Apache-2.0",
        size_mb=1207,
        pinned={"model.safetensors": "0437e45c94563b09e13cb7a64478fc406947a93cb34a7e05870fc8dcd48e23fd"},
        files=("*.json", "merges.txt", "README.md"),
    ),
    HubModel(
        name="Alibaba-NLP/gte-Qwen2-1.5B-instruct",
        revision="1cad2ab3ff41c2671f34e135d29831368ee26b68",
        profile="gpu-reference",
        licence="Apache-2.0",
        size_mb=7117,
        pinned={
            "model-00001-of-00002.safetensors": "0842014813f9ecd814eac671e2577d84281cd02d74f70436583c044fac724072",
            "model-00002-of-00002.safetensors": "661830fd8d0426f38747a747ec37cbdc05466331790dcf7b83e12a0e000ce0cc",
        },
        # Not its Python files: the adapter does what they would, and no code of a model is run.
        files=("*.json", "merges.txt", "README.md"),
    ),
)

MODELS: Mapping[str, HubModel] = MappingProxyType({model.name: model for model in _MODELS})


def models_among(names: Iterable[str]) -> tuple[HubModel, ...]:
    """Those of some models that come from a hub, once each; the others come inside Python packages."""
    return tuple(MODELS[name] for name in dict.fromkeys(names) if name in MODELS)


def folder_name(model: str, revision: str) -> str:
    """A model's folder below that of the models."""
    return f"{model.replace('/', '--')}/{revision}"

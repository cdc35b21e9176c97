"""Both adapters of Whisper, over the same tiny random weights in the format of each, by their true loaders."""

import runpy
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Audio, Diarization, Span, Transcript, Turn, Video
from channelscribe.errors import ExitCode, MisconfiguredError
from channelscribe.models import whisper
from channelscribe.profiles import GPU, GPU_REFERENCE, StageSpec
from channelscribe.settings import PROJECT_ROOT
from channelscribe.stages import engines
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.stages.runner import Job, Outcome, Run, Stage
from channelscribe.stages.text_checks import check_region
from channelscribe.stages.transcribe import Transcribe
from channelscribe.workspace import Workspace

pytestmark = pytest.mark.stages

FAST, REFERENCE = GPU.stages["transcribe"], GPU_REFERENCE.stages["transcribe"]


@pytest.fixture(scope="module")
def both(whisper_models: Path):
    """The fast engine and the reference."""
    from channelscribe.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(whisper_models))
        get_settings.cache_clear()
        yield load_engine(FAST, "cpu", Clock()), load_engine(REFERENCE, "cpu", Clock())
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(scale=0.05, size=60 * SAMPLE_RATE_HZ).astype(np.float32)


def half_seconds(*starts_s: float) -> list[Span]:
    return [Span(start_s=start_s, end_s=start_s + 0.5) for start_s in starts_s]


def test_both_engines_see_the_same_and_say_the_same(both, noise, reading) -> None:
    fast, reference = both
    clips = [noise[:8_000], reading[: 30 * SAMPLE_RATE_HZ], np.zeros(4_000, np.float32)]
    seen = np.asarray(fast.encode(clips))
    expected = reference.encode(clips)[1].numpy()
    assert seen.shape == (3, 1500, 64)
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    assert expected.std() > 0.1
    # The audio makes a difference.
    assert np.abs(expected[0] - expected[1]).max() > 0.1

    for mine, others in zip(
        fast.languages(fast.encode(clips)), reference.languages(reference.encode(clips)), strict=True
    ):
        assert mine.keys() == others.keys() and len(mine) == 100
        assert max(abs(mine[name] - others[name]) for name in mine) < 1e-5

    regions = half_seconds(1, 2.2, 5)
    one, other = (engine.transcribe(noise, regions) for engine in both)
    assert (one.language, [heard.language for heard in one.regions]) == (
        other.language, [heard.language for heard in other.regions],
    )  # fmt: skip
    assert one.language_probability == pytest.approx(other.language_probability, abs=1e-5)
    for mine, others in zip(one.regions, other.regions, strict=True):
        (line,), (expected_line,) = mine.lines, others.lines
        assert line.words == expected_line.words
        assert line.avg_logprob == pytest.approx(expected_line.avg_logprob, abs=1e-3)
        assert line.no_speech_prob == pytest.approx(expected_line.no_speech_prob, abs=1e-5)


def test_batches_say_what_single_regions_say(both, noise) -> None:
    fast, _ = both
    regions = half_seconds(*range(0, 18, 2))
    assert len(regions) > fast.batch_size > 1
    together = fast.transcribe(noise, regions, "en")
    for region, heard in zip(regions, together.regions, strict=True):
        alone = fast.transcribe(noise, [region], "en").regions[0]
        assert heard.lines[0].words == alone.lines[0].words


def test_the_language_is_detected_over_regions_of_the_whole_recording(both, noise, monkeypatch) -> None:
    fast, _ = both
    # All the same but for the last, which is longer: 8 of these 10 are listened to.
    regions = [*half_seconds(*range(9)), Span(start_s=20.0, end_s=23.0)]
    clips = [noise[int(r.start_s * SAMPLE_RATE_HZ) : int(r.end_s * SAMPLE_RATE_HZ)] for r in regions]
    sample = [clips[i] for i in (0, 1, 3, 4, 5, 6, 8, 9)]
    encoded = []
    encode = type(fast).encode
    monkeypatch.setattr(fast, "encode", lambda batch: encoded.extend(batch) or encode(fast, batch), raising=False)
    found = fast.transcribe(noise, regions)
    # Nothing is encoded twice.
    assert sorted(len(clip) for clip in encoded) == sorted(len(clip) for clip in clips)
    told = fast.languages(encode(fast, sample))
    weights = np.array([len(clip) for clip in sample])
    means = {name: float(np.average([of_clip[name] for of_clip in told], weights=weights)) for name in told[0]}
    best = max(means, key=lambda name: means[name])
    assert (found.language, found.language_probability) == (best, pytest.approx(means[best], abs=1e-6))


def test_a_given_language_is_kept_whatever_the_audio_says(both, noise) -> None:
    for engine in both:
        english, german = (engine.transcribe(noise, half_seconds(1), language) for language in ("en", "de"))
        assert (german.language, german.language_probability) == ("de", None)
        assert english.regions[0].language == german.regions[0].language not in ("en", "de")
        # The model was told, too.
        assert english.regions[0].lines[0].avg_logprob != german.regions[0].lines[0].avg_logprob


def test_languages_are_named_as_iso_names_them(both, noise) -> None:
    assert [engine.transcribe(noise, half_seconds(1), "jv").language for engine in both] == ["jv", "jv"]


def test_a_babbling_model_ends_and_is_found_suspicious(both, noise, monkeypatch) -> None:
    fast, _ = both
    counted = []
    align = fast._model.find_alignment
    monkeypatch.setattr(
        fast._model, "find_alignment", lambda *args: counted.append([len(t) for t in args[1]]) or align(*args)
    )
    fast.transcribe(noise, half_seconds(1), "en")
    heard = fast.transcribe(noise, [Span(start_s=0, end_s=8)], "en").regions[0]
    # Of CTranslate2's own limit, which is of prompt and text together, only half would be used.
    assert 0 < counted[0][0] <= 25
    assert 112 < counted[1][0] <= 224
    checked = check_region(heard, [Turn(start_s=0, end_s=8, cluster="A")], "en")
    assert checked.suspicions >= {"repetition", "low_probability"}
    assert all({"repetition", "low_probability"} <= set(segment.suspicions) for segment in checked.segments)


class Given(Stage[None]):
    """In the place of download and diarization: a recording of noise, and turns in it."""

    def __init__(self, name: str, turns: list[Turn]) -> None:
        self.name = name
        self.turns = turns

    def process(self, job: Job, engine: None) -> Outcome:
        samples = np.random.default_rng(0).normal(scale=0.05, size=12 * SAMPLE_RATE_HZ)
        with wave.open(str(job.out / "audio.wav"), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        audio = Audio(file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=16_000, n_channels=1, duration_s=12.0)
        turns = tuple(self.turns)
        (job.out / "audio.json").write_text(audio.model_dump_json())
        diarization = Diarization(turns=turns, exclusive_turns=turns, audio_s=12.0)
        (job.out / "diarization.json").write_text(diarization.model_dump_json())
        return Outcome(audio_s=12.0, summary="Given.")


GIVEN = {name: StageSpec(engine="given", model="given", revision="1") for name in ("fetch_audio", "diarize")}
WITH_GIVEN = replace(GPU, stages={**GPU.stages, **GIVEN})
TURNS = [Turn(start_s=1.0, end_s=1.4, cluster="A"), Turn(start_s=1.4, end_s=1.8, cluster="B")]


def give(workspace: Workspace, video_id: str, turns: list[Turn]) -> None:
    workspace.write_video(
        Video(video_id=video_id, source_id=video_id, url="http://channel.example/x", title=video_id,
              channel_url="http://channel.example/", channel_title="made")
    )  # fmt: skip
    for name in GIVEN:
        assert Run(Given(name, turns), WITH_GIVEN, workspace)([video_id]) == ExitCode.DONE


class Failing:
    """What a library gives, but for one of its methods, which fails."""

    def __init__(self, real: Any, method: str, text: str) -> None:
        self._given = real, method, text

    def __getattr__(self, name: str) -> Any:
        real, method, text = self._given
        if name == method:
            raise RuntimeError(text)
        return getattr(real, name)


@pytest.mark.parametrize("call", ["load", "encode", "detect_language", "generate", "align"])
@pytest.mark.parametrize(
    ("text", "reason", "begun"),
    [
        ("CUDA failed with error out of memory", "The device is out of memory: lower vram_gib", 2),
        ("CUDA failed with error an illegal memory access was encountered", "The GPU failed: CUDA failed with", 1),
    ],
)
def test_what_the_fast_engine_says_of_the_gpu_is_understood_wherever_it_fails(
    use_whisper_models, tmp_path: Path, monkeypatch, call: str, text: str, reason: str, begun: int
) -> None:
    from channelscribe.models import ctranslate_whisper

    class Model(ctranslate_whisper.WhisperModel):
        def __init__(self, *args: Any, **options: Any) -> None:
            if call == "load":
                raise RuntimeError(text)
            super().__init__(*args, **options)
            self.model = Failing(self.model, call, text)

    monkeypatch.setattr(ctranslate_whisper, "WhisperModel", Model)
    workspace = Workspace(tmp_path)
    for video_id in ("made-a", "made-b"):
        give(workspace, video_id, TURNS)
    assert Run(Transcribe(), WITH_GIVEN, workspace, device="cpu")(["made-a", "made-b"]) == ExitCode.TRY_AGAIN
    status = workspace.read_status("made-a", "transcribe")
    assert status.state == "failed" and status.reason.startswith(reason)
    assert [workspace.read_status(name, "transcribe") is not None for name in ("made-a", "made-b")] == [
        True,
        begun == 2,
    ]


def given_videos(folder: Path) -> Workspace:
    """A workspace with a video of two voices, and one of none."""
    workspace = Workspace(folder)
    give(workspace, "made-babble", TURNS)
    give(workspace, "made-silence", [])
    return workspace


def test_the_stage_marks_what_stays_suspicious_and_keeps_it(use_whisper_models, tmp_path: Path) -> None:
    profile, workspace = WITH_GIVEN, given_videos(tmp_path)
    assert Run(Transcribe(), profile, workspace, device="cpu")(["made-babble", "made-silence"]) == ExitCode.DONE

    artifact = workspace.require("made-babble", "transcribe", profile)
    transcript = artifact.read("transcript.json", Transcript)
    assert transcript.word_timing == "aligned"
    assert transcript.language not in ("en", "und") and 0 < transcript.language_probability < 0.2
    assert transcript.segments
    # Both voices were heard in one region, padded by 0.2 s before and 0.4 s after.
    words = [word for segment in transcript.segments for word in segment.words]
    times = [0.8, *(time for word in words for time in (word.start_s, word.end_s)), 2.2]
    assert times == sorted(times)
    # Whatever was tried, random weights are never sure.
    assert all("low_probability" in segment.suspicions for segment in transcript.segments)
    metrics = artifact.manifest.metrics
    assert (metrics["n_again"], metrics["n_suspicious"]) == (1, len(transcript.segments))
    assert (metrics["speech_s"], metrics["coverage"]) == (pytest.approx(0.8), 1.0)
    assert artifact.manifest.device_used == "cpu"

    silent = workspace.require("made-silence", "transcribe", profile).read("transcript.json", Transcript)
    assert (silent.segments, silent.language, silent.language_probability) == ((), "und", None)


def test_where_speed_is_measured_random_weights_are_asked_once_and_for_as_much_as_speech_has(
    use_whisper_models, tmp_path: Path, monkeypatch
) -> None:
    for owner, name in ((whisper, "_MAX_TOKENS"), (whisper, "_MAX_TOKENS_PER_S"), (whisper.Whisper, "temperatures")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # to have it back
    ran: list[str] = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: ran.append(name))
    monkeypatch.setattr(sys, "argv", ["random_stage.py", "transcribe", "made-babble"])
    runpy.run_path(str(PROJECT_ROOT / "benchmarks" / "random_stage.py"), run_name="__main__")
    assert (ran, sys.argv[1:]) == (["channelscribe.stages.transcribe"], ["made-babble"])
    assert whisper._max_tokens([np.zeros(30 * SAMPLE_RATE_HZ, np.float32)]) == 120

    profile, workspace = WITH_GIVEN, given_videos(tmp_path)
    assert Run(Transcribe(), profile, workspace, device="cpu")(["made-babble"]) == ExitCode.DONE
    metrics = workspace.require("made-babble", "transcribe", profile).manifest.metrics
    assert metrics["n_suspicious"] > 0 and metrics["n_again"] == 0


def test_a_region_that_is_longer_than_whisper_hears_is_refused(both, noise) -> None:
    for engine in both:
        with pytest.raises(ValueError, match=r"region of 30.10 s is longer than 30 s"):
            engine.transcribe(noise, [Span(start_s=0, end_s=30.1)])


def test_a_model_on_another_device_than_asked_for_is_found_out(both, monkeypatch) -> None:
    fast, reference = both
    monkeypatch.setattr(engines, "require_gpu", lambda model: None)
    monkeypatch.setattr(engines, "model_folder", lambda model, revision: None)
    for spec, engine in ((FAST, fast), (REFERENCE, reference)):
        monkeypatch.setattr(f"{type(engine).__module__}.load", lambda spec, device, engine=engine: engine)
        with pytest.raises(MisconfiguredError, match="was asked to run on cuda but is on cpu"):
            load_engine(spec, "cuda", Clock())


def test_the_fast_engine_never_falls_back_to_the_cpu(use_whisper_models, monkeypatch) -> None:
    import ctranslate2

    from channelscribe.models import ctranslate_whisper

    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(ctranslate_whisper, "_load_cublas", lambda: None)
    with pytest.raises(RuntimeError, match="CUDA"):
        ctranslate_whisper.load(FAST, "cuda")


def test_a_cublas_that_is_broken_is_a_sentence_with_the_remedy(tmp_path: Path, monkeypatch) -> None:
    from importlib.metadata import PathDistribution

    from channelscribe.models import ctranslate_whisper

    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcublasLt.so.12").touch()
    monkeypatch.setattr(ctranslate_whisper, "distribution", lambda name: PathDistribution(tmp_path / "x.dist-info"))
    with pytest.raises(MisconfiguredError, match=r"needs CUDA 12's cuBLAS .*libcublasLt.so.12.*nvidia-cublas-cu12"):
        ctranslate_whisper._load_cublas()


def test_the_reference_follows_the_heads_of_the_model_that_it_knows(random_whisper, tmp_path: Path) -> None:
    import whisper

    from channelscribe.models.reference_whisper import ReferenceWhisper

    # In layers and heads the real one's decoder, as thin as can be.
    size = random_whisper.Size(encoder_layers=1, decoder_layers=4, width=40, heads=20)
    random_whisper.write_openai_checkpoint(tmp_path / "large-v3-turbo.pt", size)
    (tmp_path / "large-v3-turbo.pt").rename(tmp_path / "other.pt")
    heads = [ReferenceWhisper(tmp_path / "other.pt", "cpu")._model.alignment_heads.indices().T.tolist()]
    (tmp_path / "other.pt").rename(tmp_path / "large-v3-turbo.pt")
    heads.append(ReferenceWhisper(tmp_path / "large-v3-turbo.pt", "cpu")._model.alignment_heads.indices().T.tolist())
    assert len(heads[0]) == 40  # the library's guess: all of the last layers
    known = whisper.Whisper(whisper.ModelDimensions(128, 1500, 40, 20, 1, 51866, 448, 40, 20, 4))
    known.set_alignment_heads(whisper._ALIGNMENT_HEADS["large-v3-turbo"])
    assert heads[1] == known.alignment_heads.indices().T.tolist() != heads[0]


def test_a_folder_without_its_checkpoint_is_a_sentence_with_the_remedy(tmp_path: Path, monkeypatch) -> None:
    from channelscribe.models import reference_whisper

    monkeypatch.setattr(reference_whisper, "model_folder", lambda model, revision: tmp_path)
    with pytest.raises(MisconfiguredError, match="holds 0 checkpoints of Whisper instead of one"):
        reference_whisper.load(REFERENCE, "cpu")

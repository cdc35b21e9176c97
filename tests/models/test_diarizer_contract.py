"""What holds for every diarizer: the bundled one, and community-1's pipeline with random weights in its networks."""

import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Turn
from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED, GPU
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

pytestmark = pytest.mark.stages

SPECS = {"bundled": BUNDLED.stages["diarize"], "community-1": GPU.stages["diarize"]}


@pytest.fixture
def models_root(monkeypatch):
    """What sets the folder of models."""
    from channelscribe.settings import get_settings

    def use(root: Path) -> None:
        monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(root))
        get_settings.cache_clear()

    yield use
    get_settings.cache_clear()


@pytest.fixture(scope="module", params=SPECS)
def diarizer(request, community_folder: Path):
    from channelscribe.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(community_folder.parents[1]))
        get_settings.cache_clear()
        yield load_engine(SPECS[request.param], "cpu", Clock())
    get_settings.cache_clear()


def check(found: tuple[list[Turn], list[Turn], str], audio_s: float) -> list[Turn]:
    """Types, order and places of all turns, and that both lists and the RTTM agree; returns the turns."""
    turns, exclusive, rttm = found
    assert isinstance(turns, list) and isinstance(exclusive, list) and isinstance(rttm, str)
    for turn in (*turns, *exclusive):
        assert type(turn) is Turn
        assert (type(turn.start_s), type(turn.end_s), type(turn.cluster)) == (float, float, str)
        assert 0 <= turn.start_s <= turn.end_s <= audio_s + 5e-4  # rounded to milliseconds
    assert all(before.start_s <= after.start_s for before, after in pairwise(turns))
    assert all(before.end_s <= after.start_s for before, after in pairwise(exclusive))
    assert {turn.cluster for turn in exclusive} <= {turn.cluster for turn in turns}
    lines = [line.split() for line in rttm.splitlines() if line]
    assert all(len(line) == 10 and line[:3] == ["SPEAKER", "talk", "1"] for line in lines)
    written = sorted((float(line[3]), float(line[3]) + float(line[4]), line[7]) for line in lines)
    assert [label for *_, label in written] == [turn.cluster for turn in turns]
    for (start_s, end_s, _), turn in zip(written, turns, strict=True):
        assert (start_s, end_s) == pytest.approx((turn.start_s, turn.end_s), abs=2e-3)
    return turns


def speech_s(turns: list[Turn]) -> float:
    """Seconds in which somebody speaks, to 10 ms."""
    spoken = {step for turn in turns for step in range(round(turn.start_s * 100), round(turn.end_s * 100))}
    return len(spoken) / 100


def test_it_is_where_it_was_asked_to_be(diarizer) -> None:
    assert diarizer.device == "cpu"


def test_speech(diarizer, dialogue: NDArray[np.float32]) -> None:
    found = diarizer.diarize(dialogue, "talk")
    turns = check(found, len(dialogue) / SAMPLE_RATE_HZ)
    # Its reference has 22 s with somebody speaking.
    assert 20 < speech_s(turns) < 24
    assert speech_s(found[1]) == pytest.approx(speech_s(turns), abs=0.1)
    assert sum(turn.duration_s for turn in turns) > speech_s(turns) + 0.5  # some overlap
    assert check(diarizer.diarize(dialogue, "talk"), len(dialogue) / SAMPLE_RATE_HZ) == turns


# The last speaks to the very end: what a model makes of the silence behind it is no part of the audio.
@pytest.mark.parametrize("seconds", [0.03, 0.5, 3.7, 10.0, 12.345])
def test_turns_are_inside_of_audio_of_any_length(diarizer, dialogue: NDArray[np.float32], seconds: float) -> None:
    waveform = dialogue[10 * SAMPLE_RATE_HZ :][: int(seconds * SAMPLE_RATE_HZ)]
    turns = check(diarizer.diarize(waveform, "talk"), len(waveform) / SAMPLE_RATE_HZ)
    assert speech_s(turns) > 0.7 * seconds or seconds < 1


@pytest.mark.parametrize("seconds", [0, 0.005, 0.3, 9.99, 12])
def test_silence_has_no_turns(diarizer, seconds: float) -> None:
    assert diarizer.diarize(np.zeros(int(seconds * SAMPLE_RATE_HZ), np.float32), "silence") == ([], [], "")


@pytest.mark.parametrize("level", [1e-4, 0.05, 0.5])
def test_noise_is_nobody(diarizer, level: float) -> None:
    noise = np.random.default_rng(0).normal(scale=level, size=SAMPLE_RATE_HZ * 12).clip(-1, 1).astype(np.float32)
    assert diarizer.diarize(noise, "noise")[0] == []


@pytest.mark.parametrize("level", [0.01, 1.0])
def test_loudness_does_not_matter(diarizer, dialogue: NDArray[np.float32], level: float) -> None:
    waveform = dialogue[6 * SAMPLE_RATE_HZ : 18 * SAMPLE_RATE_HZ]
    waveform = waveform * np.float32(level / np.abs(waveform).max())
    assert 8 < speech_s(check(diarizer.diarize(waveform, "talk"), 12.0)) < 12


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(8_000, 1), (48_000, 1), (44_100, 2)])
def test_audio_of_every_kind_goes_through(
    diarizer, dialogue: NDArray[np.float32], tmp_path: Path, rate_hz: int, n_channels: int
) -> None:
    from scipy.signal import resample_poly

    path = tmp_path / "audio.wav"
    speech = resample_poly(dialogue[6 * SAMPLE_RATE_HZ : 18 * SAMPLE_RATE_HZ], rate_hz, SAMPLE_RATE_HZ)
    samples = np.repeat((speech.clip(-1, 1) * 32767).astype("<i2")[:, None], n_channels, axis=1)
    samples[:, 1:] //= 2  # channels differ
    with wave.open(str(path), "wb") as file:
        file.setparams((n_channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    waveform = decode(path)
    assert len(waveform) == pytest.approx(12 * SAMPLE_RATE_HZ, abs=50)
    assert 8 < speech_s(check(diarizer.diarize(waveform, "talk"), len(waveform) / SAMPLE_RATE_HZ)) < 12


@pytest.mark.timeout(1200)
def test_three_hours_fit_into_three_gigabytes() -> None:
    child = Path(__file__).with_name("three_hours.py")
    result = subprocess.run([sys.executable, child], capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    speech, of_two_voices, before, after = map(float, result.stdout.split())
    assert speech == pytest.approx(3 * 3 * 21.6, abs=10)
    # A moment that is unclear recurs as often as the dialogue does here, until it is enough for a cluster of its own.
    assert of_two_voices > 0.99 * speech
    assert 0.1 < before < after < 3.0  # GB


def test_a_model_that_was_not_fetched_is_a_sentence(models_root, tmp_path: Path) -> None:
    models_root(tmp_path)
    with pytest.raises(MisconfiguredError, match=r"community-1 is missing .*`channelscribe models pull --profile gpu`"):
        load_engine(SPECS["community-1"], "cpu", Clock())


def test_networks_of_other_windows_are_refused(
    models_root, tmp_path: Path, write_community, segmentation_weights: Path, dialogue: NDArray[np.float32]
) -> None:
    from channelscribe.model_registry import folder_name

    spec = SPECS["community-1"]
    write_community(
        tmp_path / folder_name(spec.model, spec.revision), segmentation_weights, dialogue[-64000:], window_s=5.0
    )
    models_root(tmp_path)
    with pytest.raises(MisconfiguredError, match="other networks than this version can run"):
        load_engine(spec, "cpu", Clock())


@pytest.mark.parametrize("name", SPECS)
def test_a_model_on_another_device_than_asked_for_stops_the_stage(
    models_root, community_folder: Path, monkeypatch, name: str
) -> None:
    from channelscribe.models import diarization

    models_root(community_folder.parents[1])
    real = diarization.load

    def load(spec, device):
        engine = real(spec, device)
        engine._networks[1].to("meta")  # one of the two
        return engine

    monkeypatch.setattr(diarization, "load", load)
    with pytest.raises(MisconfiguredError, match="was asked to run on cpu but is on cpu and meta"):
        load_engine(SPECS[name], "cpu", Clock())


def test_cuda_without_a_gpu_is_refused(models_root, community_folder: Path) -> None:
    from channelscribe.telemetry.nvml import NoGpuError, open_gpu

    try:
        with open_gpu():
            pytest.skip("this machine has a GPU")
    except NoGpuError:
        pass
    models_root(community_folder.parents[1])
    with pytest.raises(MisconfiguredError):
        load_engine(SPECS["community-1"], "cuda", Clock())


def test_loading_and_working_write_nothing_and_ask_nobody(
    models_root, community_folder: Path, dialogue: NDArray[np.float32], side_effects
) -> None:
    models_root(community_folder.parents[1])
    with side_effects() as found:
        load_engine(SPECS["community-1"], "cpu", Clock()).diarize(dialogue[7 * SAMPLE_RATE_HZ :][:48000], "talk")
    assert found == []

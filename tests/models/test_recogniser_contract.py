"""What holds for every recogniser: Moonshine with its weights, and both Whispers with tiny random ones."""

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Span
from channelscribe.models import Recognition
from channelscribe.profiles import BUNDLED, GPU, GPU_REFERENCE
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.telemetry.memory import peak_memory_bytes

pytestmark = pytest.mark.stages

SPECS = {profile.stages["transcribe"].engine: profile.stages["transcribe"] for profile in (BUNDLED, GPU, GPU_REFERENCE)}
ONE_SECOND = Span(start_s=0.0, end_s=1.0)


@pytest.fixture(scope="module", params=SPECS)
def recogniser(request, whisper_models: Path):
    from channelscribe.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(whisper_models))
        get_settings.cache_clear()
        yield load_engine(SPECS[request.param], "cpu", Clock())
    get_settings.cache_clear()


def check(recognition: Recognition, regions: list[Span], audio_s: float) -> list[str]:
    """Types, order and places of all that was heard; returns the texts."""
    assert isinstance(recognition.language, str) and 2 <= len(recognition.language) <= 3
    assert recognition.language_probability is None or 0 < recognition.language_probability <= 1
    assert len(recognition.regions) == len(regions)
    for region, heard in zip(regions, recognition.regions, strict=True):
        assert isinstance(heard.lines, tuple)
        assert (heard.language is None) == (heard.language_probability is None)
        times = [region.start_s - 1e-9]
        for line in heard.lines:
            assert line.text and line.text == line.text.strip()
            pieces = line.words or (line,)
            times += [time for piece in pieces for time in (piece.start_s, piece.end_s)]
            assert {type(value) for word in line.words for value in (word.start_s, word.end_s, word.probability)} <= {
                float
            }
            assert {type(line.avg_logprob), type(line.no_speech_prob)} <= {float, type(None)}
            assert all(0 <= word.probability <= 1 for word in line.words)
            assert not line.words or line.text == " ".join(word.text for word in line.words)
        times.append(max(min(region.end_s, audio_s), region.start_s) + 1e-9)
        assert all(earlier <= later for earlier, later in pairwise(times)), times
    return [" ".join(line.text for line in heard.lines) for heard in recognition.regions]


def test_it_says_what_it_can_do(recogniser) -> None:
    assert recogniser.device == "cpu"
    assert recogniser.word_timing in ("aligned", "interpolated")
    assert isinstance(recogniser.temperatures, tuple)


def test_speech(recogniser, reading: NDArray[np.float32]) -> None:
    regions = [Span(start_s=1.1, end_s=2.6), Span(start_s=20.9, end_s=22.0)]
    recognition = recogniser.transcribe(reading, regions)
    assert all(check(recognition, regions, len(reading) / SAMPLE_RATE_HZ))
    lines = [line for heard in recognition.regions for line in heard.lines]
    assert {bool(line.words) for line in lines} == {recogniser.word_timing == "aligned"}


def test_a_region_alone_is_heard_as_among_others(recogniser, reading: NDArray[np.float32]) -> None:
    regions = [Span(start_s=1.1, end_s=2.6), Span(start_s=20.9, end_s=22.4), Span(start_s=30.0, end_s=31.5)]
    together = recogniser.transcribe(reading, regions, "en")
    alone = [recogniser.transcribe(reading, [region], "en").regions[0] for region in regions]
    for among, single in zip(together.regions, alone, strict=True):
        assert [(line.text, line.words) for line in among.lines] == [(line.text, line.words) for line in single.lines]


def test_it_can_be_tried_again_at_each_of_its_temperatures(recogniser, reading: NDArray[np.float32]) -> None:
    for temperature in recogniser.temperatures:
        recognition = recogniser.transcribe(reading, [Span(start_s=1.1, end_s=1.5)], "en", temperature)
        check(recognition, [Span(start_s=1.1, end_s=1.5)], len(reading) / SAMPLE_RATE_HZ)
        assert recognition.language == "en"


def test_nothing_is_heard_without_regions_or_without_samples(recogniser) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=SAMPLE_RATE_HZ).astype(np.float32)
    assert recogniser.transcribe(noise, []).regions == ()
    for waveform, region in (
        (np.zeros(0, np.float32), ONE_SECOND),
        (noise, Span(start_s=5.0, end_s=6.0)),
        (noise, Span(start_s=0.5, end_s=0.5)),
    ):
        recognition = recogniser.transcribe(waveform, [region])
        assert check(recognition, [region], len(waveform) / SAMPLE_RATE_HZ) == [""]


@pytest.mark.parametrize("seconds", [0.02, 0.11, 0.5])
def test_silence_and_very_short_regions_do_no_harm(recogniser, seconds: float) -> None:
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    regions = [Span(start_s=0.25, end_s=0.25 + seconds)]
    check(recogniser.transcribe(silence, regions), regions, 1.0)


def test_a_region_may_reach_beyond_the_end_of_the_audio(recogniser, reading: NDArray[np.float32]) -> None:
    # Recordings may be a little shorter than they claim to be, and not of whole milliseconds.
    waveform = reading[: int(2.60007 * SAMPLE_RATE_HZ)]
    regions = [Span(start_s=1.1, end_s=3.1)]
    assert check(recogniser.transcribe(waveform, regions), regions, len(waveform) / SAMPLE_RATE_HZ) != [""]


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(8_000, 1), (48_000, 1), (44_100, 2)])
def test_audio_of_every_kind_goes_through(recogniser, tmp_path: Path, rate_hz: int, n_channels: int) -> None:
    path = tmp_path / "audio.wav"
    seconds = np.arange(2 * rate_hz) / rate_hz
    # A voice's pitch and its overtones, swelling four times a second: no language.
    voice = sum(np.sin(2 * np.pi * 140 * k * seconds) / k for k in range(1, 20)) * np.sin(2 * np.pi * 4 * seconds) ** 2
    samples = np.repeat((0.2 * voice * 32767).astype("<i2")[:, None], n_channels, axis=1)
    with wave.open(str(path), "wb") as file:
        file.setparams((n_channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    waveform = decode(path)
    assert len(waveform) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=50)
    regions = [Span(start_s=0.3, end_s=1.2)]
    check(recogniser.transcribe(waveform, regions), regions, len(waveform) / SAMPLE_RATE_HZ)


def test_three_hours_cost_no_more_memory_than_their_speech(recogniser, reading: NDArray[np.float32]) -> None:
    hours = np.zeros(3 * 3600 * SAMPLE_RATE_HZ, np.float32)  # no memory is taken until something is written
    starts_s = [0.0, 5400.25, 10_798.0]
    for start_s in starts_s:
        hours[int(start_s * SAMPLE_RATE_HZ) :][: 2 * SAMPLE_RATE_HZ] = reading[18_000 : 18_000 + 2 * SAMPLE_RATE_HZ]
    regions = [Span(start_s=start_s, end_s=start_s + 1.5) for start_s in starts_s]
    recogniser.transcribe(hours, regions[:1])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_memory_bytes()
    texts = check(recogniser.transcribe(hours, regions), regions, 3 * 3600.0)
    assert all(texts)
    # The spectrogram of all of it alone would take 550 MB.
    assert peak_memory_bytes() - before < 200 * 2**20

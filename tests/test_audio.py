import io
import tracemalloc
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from channelscribe.audio import SAMPLE_RATE_HZ, copy_audio_stream, decode, probe
from channelscribe.errors import BadInputError

TONE_HZ = 440.0


def tone(seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * TONE_HZ * np.arange(round(seconds * rate)) / rate)


def write_wav(path: Path, *channels: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.stack(channels, 1) * 32767).astype("<i2").tobytes())
    return path


def encode(path: Path, codec: str, seconds: float, rate: int, n_channels: int, **options: str) -> Path:
    layout = "stereo" if n_channels == 2 else "mono"
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        samples = np.tile(tone(seconds, rate).astype(np.float32), (n_channels, 1))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def loudest_hz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE_HZ / len(samples))


@pytest.mark.parametrize(
    ("name", "codec", "rate", "n_channels"),
    [
        ("a.mp3", "libmp3lame", 44_100, 2),
        ("a.opus", "libopus", 48_000, 2),
        ("a.webm", "libopus", 48_000, 1),
        ("a.m4a", "aac", 44_100, 2),
        ("a.aac", "aac", 22_050, 1),
        ("a.flac", "flac", 48_000, 2),
        ("a.wav", "pcm_f32le", 8_000, 1),
        ("a.mka", "pcm_u8", 16_000, 2),
    ],
)
def test_every_codec_gives_the_same_sound(tmp_path: Path, name: str, codec: str, rate: int, n_channels: int) -> None:
    path = encode(tmp_path / name, codec, 3.0, rate, n_channels)
    samples = decode(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE_HZ, abs=0.1 * SAMPLE_RATE_HZ)
    assert loudest_hz(samples) == pytest.approx(TONE_HZ, abs=1.0)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.08)
    facts = probe(path)
    assert (facts.sample_rate_hz, facts.n_channels) == (rate, n_channels)
    assert facts.duration_s == pytest.approx(3.0, abs=0.1)
    assert not facts.has_video


def test_stereo_is_averaged_and_never_clips(tmp_path: Path) -> None:
    loud = tone(1, SAMPLE_RATE_HZ, 0.99)
    both = decode(write_wav(tmp_path / "both.wav", loud, loud, rate=SAMPLE_RATE_HZ))
    np.testing.assert_allclose(both, loud, atol=1e-3)
    left = decode(write_wav(tmp_path / "left.wav", loud, np.zeros_like(loud), rate=SAMPLE_RATE_HZ))
    np.testing.assert_allclose(left, loud / 2, atol=1e-3)


def test_resampler_is_flushed(tmp_path: Path) -> None:
    for rate in (8_000, 11_025, 44_100, 48_000):
        path = write_wav(tmp_path / "a.wav", tone(2, rate), rate=rate)
        assert len(decode(path)) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=2)


def test_six_channels_keep_the_voice_in_the_middle(tmp_path: Path) -> None:
    silence = np.zeros(SAMPLE_RATE_HZ)
    path = write_wav(tmp_path / "a.wav", *[silence] * 2, tone(1, SAMPLE_RATE_HZ), *[silence] * 3, rate=SAMPLE_RATE_HZ)
    samples = decode(path)
    assert loudest_hz(samples) == pytest.approx(TONE_HZ, abs=1.0)
    assert np.abs(samples).max() > 0.2


def test_format_may_change_within_a_file(tmp_path: Path) -> None:
    # Adverts are put into podcasts by gluing files together.
    first = encode(tmp_path / "a.mp3", "libmp3lame", 2.0, 44_100, 2, write_xing="0")
    second = encode(tmp_path / "b.mp3", "libmp3lame", 2.0, 22_050, 1, write_xing="0", id3v2_version="0")
    glued = tmp_path / "glued.mp3"
    glued.write_bytes(first.read_bytes() + second.read_bytes())
    samples = decode(glued)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.3)
    assert loudest_hz(samples[-SAMPLE_RATE_HZ:]) == pytest.approx(TONE_HZ, abs=1.0)


def test_silence_is_sound(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(16_000), rate=16_000)
    assert probe(path).duration_s == 1.0
    assert not decode(path).any()


def test_floats_out_of_range_are_brought_back(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_f32le", rate=16_000, layout="mono")
        samples = np.full((1, 16_000), 3.0, np.float32)
        samples[0, 100:200] = np.nan
        samples[0, 200:300] = -np.inf
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    decoded = decode(path)
    assert len(decoded) == 16_000
    assert np.isfinite(decoded).all()
    assert np.abs(decoded).max() == 1.0


@pytest.mark.parametrize("use", [probe, decode])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (np.random.default_rng(0).bytes(50_000), "not audio or video"),
        (b"\0" * 50_000, "not audio or video"),
        (b"<html></html>" * 100, "not audio or video"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not audio or video|no sound|cannot be decoded"),
    ],
)
def test_what_is_no_recording_is_bad_input(tmp_path: Path, use: object, content: bytes, says: str) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=says) as error:
        use(path)  # type: ignore[operator]
    assert str(tmp_path) not in str(error.value)


def test_recording_without_a_sample_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no sound"):
        probe(write_wav(tmp_path / "a.wav", np.zeros(0), rate=16_000))


def test_missing_file_is_no_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mp3", "libmp3lame", {}), ("a.webm", "libopus", {}), ("a.flac", "flac", {}), ("a.wav", "pcm_s16le", {}),
     ("a.m4a", "aac", {"movflags": "faststart"})],
)  # fmt: skip
def test_cut_file_promises_more_than_it_holds(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = encode(tmp_path / name, codec, 10.0, 48_000, 1, **options)
    whole = probe(path)
    assert whole.declared_s == pytest.approx(whole.duration_s, abs=0.2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = probe(path)
    assert cut.declared_s == pytest.approx(10.0, abs=0.2)
    assert cut.duration_s == pytest.approx(5.0, abs=0.7)
    assert len(decode(path)) == pytest.approx(cut.duration_s * SAMPLE_RATE_HZ, abs=0.1 * SAMPLE_RATE_HZ)


def test_guessed_duration_is_no_promise(tmp_path: Path) -> None:
    assert probe(encode(tmp_path / "a.mp3", "libmp3lame", 3.0, 44_100, 1, write_xing="0")).declared_s is None
    assert probe(encode(tmp_path / "a.aac", "aac", 3.0, 44_100, 1)).declared_s is None


def test_streamed_wav_of_unknown_size_promises_what_it_holds(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(2, 16_000), rate=16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    facts = probe(path)
    assert facts.duration_s == 2.0
    assert facts.declared_s is None or facts.declared_s == pytest.approx(2.0, abs=0.1)


def test_file_with_little_damage_is_read_and_with_much_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", "flac", 20.0, 16_000, 1)
    content = path.read_bytes()
    noise = np.random.default_rng(0)
    little = bytearray(content)
    little[len(content) // 2 : len(content) // 2 + 200] = noise.bytes(200)
    path.write_bytes(little)
    assert probe(path).duration_s == pytest.approx(20.0, abs=1.0)
    much = bytearray(content)
    for start in range(10_000, len(content) - 3000, 6_000):
        much[start : start + 3000] = noise.bytes(3000)
    path.write_bytes(much)
    try:
        facts = probe(path)
    except BadInputError as error:
        assert "damaged" in str(error)
    else:
        assert facts.duration_s < 0.9 * facts.declared_s


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    picture = io.BytesIO()
    with av.open(picture, "w", format="image2pipe") as output:
        stream = output.add_stream("png", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    # An ID3v2.3 tag with one APIC frame, as every podcast has it.
    apic = b"\0image/png\0\x03\0" + picture.getvalue()
    frame = b"APIC" + len(apic).to_bytes(4, "big") + b"\0\0" + apic
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path = encode(tmp_path / "a.mp3", "libmp3lame", 2.0, 44_100, 1, id3v2_version="0")
    path.write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())
    with av.open(str(path)) as container:
        assert container.streams.video
    facts = probe(path)
    assert not facts.has_video
    assert facts.declared_s == pytest.approx(2.0, abs=0.1)


def test_sound_is_copied_without_coding_it_again(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "aac", 3.0, 44_100, 2)
    copy_audio_stream(path, tmp_path / "copy.mka")
    before, after = decode(path), decode(tmp_path / "copy.mka")
    assert abs(len(before) - len(after)) < 0.1 * SAMPLE_RATE_HZ
    assert probe(tmp_path / "copy.mka").codec == "aac"


def test_memory_is_the_result_and_little_more(tmp_path: Path) -> None:
    seconds = 200
    path = encode(tmp_path / "a.flac", "flac", seconds, 16_000, 1)
    tracemalloc.start()
    try:
        samples = decode(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(samples) == seconds * SAMPLE_RATE_HZ
    assert peak < 1.5 * samples.nbytes

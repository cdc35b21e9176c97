"""Clips to enrollments, with small programs in the place of those that need the models."""

import sys
from pathlib import Path

import numpy as np
import pytest

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.profiles import BUNDLED
from channelscribe.settings import Settings
from channelscribe.store.programs import ChildPrograms
from channelscribe.store.speakers import enrolling
from channelscribe.store.speakers.enrolling import embed_clips, enroll_clips, measure_calibration
from channelscribe.store.speakers.enrollments import store_calibration

PROGRAM = Path(__file__).parents[1].joinpath("voice_programs.py").read_text()
SPEC = BUNDLED.stages["identify_speakers"]


@pytest.fixture
def settings(tmp_path, voice_programs):
    return Settings(home=tmp_path, stages_python=voice_programs)


@pytest.fixture
def interpreter(tmp_path):
    """Function that makes settings with an interpreter which runs this code, whatever module it is asked for."""

    def make(code: str) -> Settings:
        program, script = tmp_path / "program.py", tmp_path / "python"
        program.write_text(code)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        script.chmod(0o755)
        return Settings(home=tmp_path, stages_python=script)

    return make


@pytest.fixture
def clip(tmp_path):
    """Function that makes a clip of this content."""

    def make(name: str, content: str = "voice 0"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return make


def enrolled(studio) -> list[tuple]:
    return studio.rows("SELECT name, source FROM enrollments JOIN speakers USING (speaker_id) ORDER BY 1, 2")


def test_good_clips_are_enrolled_and_bad_ones_have_their_reason(studio, settings, clip):
    said = []
    good, bad = clip("good.wav"), clip("bad.wav", "noise")
    enroll_clips(studio.connection, settings, " Ada  Lovelace", [good, bad], "bundled", said.append)
    assert said == [
        f"accepted  {good}: 24.3 s of speech, SNR 31 dB",
        f"refused   {bad}: too much noise",
        "Ada Lovelace is enrolled; voice embeddings from these clips: 1.",
    ]
    assert enrolled(studio) == [("Ada Lovelace", str(good))]


def test_clips_that_are_all_refused_enroll_nobody(studio, settings, clip):
    said = []
    with pytest.raises(BadInputError, match="No clip is good enough to know Ada by"):
        enroll_clips(studio.connection, settings, "Ada", [clip("bad.wav", "noise")], "bundled", said.append)
    assert len(said) == 1
    assert studio.rows("SELECT count(*) FROM speakers") == [(0,)]


def variances_given(studio, interpreter, clip, profile: str) -> tuple[list[str], list[str]]:
    """The values of --max-variance that the program got, and what was said, where it refuses the clip."""
    settings = interpreter(
        "import pathlib, sys\n"
        "pathlib.Path(__file__).with_name('given').write_text('\\n'.join(sys.argv))\n"
        + PROGRAM.replace('"bundled"', f'"{profile}"')
    )
    said: list[str] = []
    with pytest.raises(BadInputError, match="No clip is good enough"):
        enroll_clips(studio.connection, settings, "Ada", [clip("bad.wav", "noise")], profile, said.append)
    given = (settings.home / "given").read_text().split("\n")
    return [given[at + 1] for at, word in enumerate(given) if word == "--max-variance"], said


def test_several_voices_are_noticed_by_the_releases_point_and_then_by_the_calibrations(
    studio, interpreter, clip, tmp_path
):
    given, said = variances_given(studio, interpreter, clip, "bundled")
    assert (given, len(said)) == (["0.285"], 1)
    store_calibration(studio.connection, measure_calibration(tmp_path, "bundled", interpreter(PROGRAM)))
    assert variances_given(studio, interpreter, clip, "bundled")[0] == ["0.37"]


def test_a_model_that_nobody_measured_says_what_it_did_not_check(studio, interpreter, clip):
    given, said = variances_given(studio, interpreter, clip, "gpu-reference")
    assert given == []
    assert said[1] == "Whether a clip holds several voices was not checked: run `channelscribe calibrate` first."


def test_a_clip_given_twice_counts_once(studio, settings, clip):
    copies = [clip("one.wav"), clip("copy.wav")]
    enroll_clips(studio.connection, settings, "Ada", [*copies, copies[0]], "bundled", lambda line: None)
    assert len(enrolled(studio)) == 1


def test_a_name_or_file_that_is_none_is_refused_before_anything_runs(studio, interpreter, clip, tmp_path):
    settings = interpreter("raise SystemExit('it ran')")
    with pytest.raises(BadInputError, match="needs a name"):
        enroll_clips(studio.connection, settings, " ", [clip("one.wav")], "bundled", print)
    for missing in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(BadInputError, match=f"There is no file {missing}"):
            enroll_clips(studio.connection, settings, "Ada", [clip("one.wav"), missing], "bundled", print)


def test_airflows_secrets_stay_in_airflow(interpreter, clip, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    code = "import os, sys\nsys.stderr.write(str([n for n in os.environ if n.startswith('AIRFLOW__')]))\nsys.exit(75)"
    with pytest.raises(TryAgainError, match=r"The clips could not be looked at: \[\]"):
        embed_clips([clip("one.wav")], "bundled", None, ChildPrograms(interpreter(code)))


def changed(old: str, new: str) -> str:
    """The program with a fault."""
    assert PROGRAM.count(old) == 1
    return PROGRAM.replace(old, new)


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        ("import sys\nsys.stderr.write('boom\\nno model here\\n'); sys.exit(78)", MisconfiguredError, "no model here"),
        ("import sys\nsys.stderr.write('it is no sound\\n'); sys.exit(65)", BadInputError, "it is no sound"),
        ("", MisconfiguredError, "left no result"),
        (changed("np.eye(192)", "np.full((192, 192), np.nan)"), MisconfiguredError, "not of length 1"),
        (changed("np.save(out", "np.save(out.parent"), MisconfiguredError, "cannot be read"),
        (changed("np.eye(192)", "np.ones((192, 192))"), MisconfiguredError, "not of length 1"),
        (changed('"rows": rows', '"rows": rows + rows'), MisconfiguredError, "for 2 rows"),
        (changed('"clips": clips, ', ""), BadInputError, "not a EnrollmentVoices of this version"),
    ],
)
def test_a_program_that_fails_is_one_line(interpreter, clip, code, error, reason):
    with pytest.raises(error, match=reason) as caught:
        embed_clips([clip("one.wav")], "bundled", None, ChildPrograms(interpreter(code)))
    assert "\n" not in str(caught.value)


def test_a_program_that_hangs_is_ended(interpreter, clip, monkeypatch):
    monkeypatch.setattr(enrolling, "ENROLL_TIMEOUT_S", 1)
    with pytest.raises(TryAgainError, match="within 1 s"):
        embed_clips([clip("one.wav")], "bundled", None, ChildPrograms(interpreter("import time; time.sleep(60)")))


def test_a_calibration_comes_back_as_it_was_measured(settings, tmp_path):
    found = measure_calibration(tmp_path, "bundled", settings)
    assert (found.model, found.revision) == (SPEC.model, SPEC.revision)
    assert (found.n_target, found.threshold, found.margin, found.max_variance) == (30, 0.52, 0.08, 0.37)


@pytest.mark.parametrize(
    ("code", "reason"), [("", "left no result"), (changed('"eer": 0.021, ', ""), "not a Calibration of this version")]
)
def test_a_calibration_that_fails_is_one_line(interpreter, tmp_path, code, reason):
    with pytest.raises((MisconfiguredError, BadInputError), match=reason):
        measure_calibration(tmp_path, "bundled", interpreter(code))


def test_a_folder_that_is_none_is_refused(settings, tmp_path):
    with pytest.raises(BadInputError, match="There is no folder"):
        measure_calibration(tmp_path / "none", "bundled", settings)


def test_the_voice_embeddings_come_back_in_a_file(settings, clip):
    found, embeddings = embed_clips([clip("one.wav")], "bundled", None, ChildPrograms(settings))
    assert (found.model, found.revision, embeddings.shape, embeddings.dtype) == (
        SPEC.model, SPEC.revision, (1, 192), np.float32,
    )  # fmt: skip

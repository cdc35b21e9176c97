"""The doctor's checks, each passing and failing."""

import shutil
import socket
import sys

import pytest
from typer.testing import CliRunner

from channelscribe import doctor
from channelscribe.cli import app
from channelscribe.contracts import Calibration
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings, get_settings
from channelscribe.store.speakers.enrollments import store_calibration


@pytest.fixture
def settings(tmp_path, archive_dsn):
    return Settings(home=tmp_path, archive_dsn=archive_dsn, stages_python=sys.executable)


def test_a_sound_archive_passes(settings):
    assert doctor.check_python(settings).state == "ok"
    assert doctor.check_database(settings).detail.startswith("Postgres 1")
    assert doctor.check_pgvector(settings).state == "ok"
    assert doctor.check_migrations(settings).state == "ok"


def test_an_archive_that_was_not_migrated_fails_its_check_alone(tmp_path, empty_dsn):
    settings = Settings(home=tmp_path, archive_dsn=empty_dsn)
    assert doctor.check_database(settings).state == "ok"
    assert doctor.check_pgvector(settings).state == "ok"
    check = doctor.check_migrations(settings)
    assert (check.state, check.remedy) == ("failed", "Run `channelscribe migrate`.")


@pytest.mark.parametrize("check", [doctor.check_database, doctor.check_pgvector, doctor.check_migrations])
def test_a_server_that_is_down_says_what_to_do(tmp_path, check):
    result = check(Settings(home=tmp_path, archive_dsn=None))
    assert result.state == "failed"
    assert result.remedy.startswith("Start it with `make up`")


def test_an_old_python_fails(settings, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    check = doctor.check_python(settings)
    assert (check.state, check.detail) == ("failed", "3.10.4")


@pytest.mark.parametrize(("free_gib", "state"), [(0.5, "failed"), (2, "warning"), (50, "ok")])
def test_the_disk(settings, monkeypatch, free_gib, state):
    usage = shutil.disk_usage(settings.home)._replace(free=int(free_gib * 2**30))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    check = doctor.check_disk(settings)
    assert check.state == state
    assert bool(check.remedy) == (state != "ok")


def test_packages_that_are_missing_are_named(settings, monkeypatch):
    monkeypatch.setattr(
        doctor, "_NEEDS", {"moonshine": ("no_such_package", "numpy/no/such/file", "numpy/__init__.py", "numpy.linalg")}
    )
    check = doctor.check_models(settings)
    assert (check.state, check.detail) == ("failed", "missing: no_such_package, numpy/no/such/file")
    assert "make setup" in check.remedy


def test_packages_that_are_there_pass(settings, monkeypatch):
    monkeypatch.setattr(doctor, "_NEEDS", {"moonshine": ("numpy/__init__.py", "numpy.linalg")})
    assert doctor.check_models(settings).state == "ok"


def test_a_missing_environment_fails(tmp_path):
    check = doctor.check_models(Settings(home=tmp_path, stages_python=None))
    assert check.state == "failed"
    assert "make setup" in check.remedy


def test_every_engine_of_a_profile_has_its_needs_listed():
    from channelscribe.models import ENGINES

    assert set(doctor._NEEDS) == set(ENGINES)


def test_a_voice_model_that_nobody_measured_is_a_warning(tmp_path, archive_dsn, archive):
    def check(profile: str) -> doctor.Check:
        return doctor.check_voices(Settings(home=tmp_path, archive_dsn=archive_dsn, profile=profile))

    assert check("bundled").detail == "campplus-cn-en-common is calibrated, threshold 0.62"
    found = check("gpu")
    assert (found.state, found.remedy) == ("warning", "Run `channelscribe calibrate` (docs/speakers.md).")
    assert found.detail.startswith("nobody is named or discovered")
    spec = get_profile("gpu").stages["identify_speakers"]
    point = {"threshold": 0.5, "margin": 0.1, "max_variance": 0.4, "same_voice": 0.6}
    known = {"n_speakers": 9, "n_target": 9, "n_impostor": 9, "eer": 0.0, "false_accept_rate": 0.0}
    store_calibration(archive, Calibration(model=spec.model, revision=spec.revision, **known, **point))
    assert check("gpu").state == "ok"
    # As a calibration of an older version left it.
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE speaker_calibrations SET same_voice = NULL")
    assert check("gpu").detail.startswith("nobody is discovered")


def test_voices_of_an_archive_that_is_not_there_fail(tmp_path, empty_dsn):
    assert doctor.check_voices(Settings(home=tmp_path, archive_dsn=empty_dsn)).state == "failed"


def test_a_network_that_refuses_is_only_a_warning(settings):
    with socket.socket() as closed:  # bound and not listening: nobody answers there
        closed.bind(("127.0.0.1", 0))
        check = doctor.check_network(settings, f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert check.state == "warning"


def test_a_network_that_hangs_is_given_up(settings, monkeypatch):
    monkeypatch.setattr(doctor, "NETWORK_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        check = doctor.check_network(settings, f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert check.state == "warning"


def test_the_command_exits_with_1_where_something_needed_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.delenv("CHANNELSCRIBE_ARCHIVE_DSN", raising=False)
    monkeypatch.setattr(doctor, "check_network", lambda settings: doctor.Check("network", "warning", "offline"))
    get_settings.cache_clear()
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["doctor"])
    get_settings.cache_clear()
    assert result.exit_code == 1
    assert "Start it with `make up`" in result.stdout

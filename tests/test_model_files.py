"""The models' folder: what is pinned, what lies there, and what is said where something is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from channelscribe import doctor, model_commands, model_pull
from channelscribe.errors import MisconfiguredError
from channelscribe.model_files import RECORD, inspect, model_folder, revision_of, write_record
from channelscribe.model_registry import HUB, MODELS, HubModel, models_among
from channelscribe.profiles import PROFILES, get_profile
from channelscribe.settings import PROJECT_ROOT, Settings, get_settings
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

ECAPA = MODELS["speechbrain/spkrec-ecapa-voxceleb"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(tmp_path / "models"))
    get_settings.cache_clear()
    yield tmp_path / "models"
    get_settings.cache_clear()


def make(root: Path, model: HubModel = ECAPA) -> Path:
    """A model's folder, with files of its names, as a pull leaves it."""
    folder = root / model.folder
    for path in model.pinned:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"weights")
    write_record(folder, model, HUB)
    return folder


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_model_is_pinned_by_a_commit_and_what_runs_code_by_checksums(model: HubModel) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}" if model.url else r"[0-9a-f]{40}", model.revision)
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in model.pinned.values())
    assert not [pattern for pattern in model.files if not pattern.endswith((".json", ".txt", ".md", "vocabulary.*"))]


def test_the_profiles_take_their_revisions_from_here() -> None:
    seen: dict[str, str] = {}
    for profile in PROFILES.values():
        for spec in profile.stages.values():
            if "/" in spec.model and spec.engine != "yt-dlp":
                assert spec.revision == revision_of(spec.model)
                seen.setdefault(spec.model, profile.name)
    assert seen == {model.name: model.profile for model in MODELS.values()}


def test_the_bundled_profiles_need_nothing_of_a_hub() -> None:
    for name in ("bundled", "bundled-cuda"):
        assert models_among(spec.model for spec in get_profile(name).stages.values()) == ()


def test_whisper_and_faster_whisper_mean_the_same_models() -> None:
    found = subprocess.run(
        [str(Settings().stages_interpreter), "-c", "import whisper, faster_whisper.utils as u\n"
         "print(whisper._MODELS['large-v3-turbo'], u._MODELS['large-v3-turbo'])"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        pytest.skip("the stages' environment is not here")
    assert found.stdout.split() == [
        MODELS["openai/whisper-large-v3-turbo"].url, "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    ]  # fmt: skip


def test_the_documentation_has_every_model_with_its_pin_licence_and_size() -> None:
    rows = (PROJECT_ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for model in MODELS.values():
        (row,) = [row for row in rows if row.startswith("|") and f"`{model.name}`" in row]
        size = f"{model.size_mb / 1000:.1f} GB" if model.size_mb >= 1000 else f"{model.size_mb} MB"
        assert model.licence in row and size in row and f"`{model.revision[:12]}" in row
        assert (f"{HUB}/{model.name}" in row) == model.gated


def test_a_whole_folder_is_found(root: Path) -> None:
    folder = make(root)
    assert model_folder(ECAPA.name, ECAPA.revision) == folder
    assert inspect(folder, checksums=True).state == "present"


def test_a_missing_model_names_the_command_for_its_own_profile(root: Path) -> None:
    for name, profile in ((ECAPA.name, "gpu"), ("openai/whisper-large-v3-turbo", "gpu-reference")):
        with pytest.raises(MisconfiguredError, match=f"missing .*channelscribe models pull --profile {profile}`"):
            model_folder(name, revision_of(name))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "classifier.ckpt").unlink(), "classifier.ckpt is gone"),
        (lambda folder: (folder / "classifier.ckpt").write_bytes(b"wei"), "has 3 bytes instead of 7"),
        (lambda folder: (folder / RECORD).write_text("{"), "channelscribe.json can't be read"),
    ],
)
def test_damage_is_told(root: Path, damage, reason: str) -> None:
    damage(make(root))
    with pytest.raises(MisconfiguredError, match=f"damaged .*{reason}"):
        model_folder(ECAPA.name, ECAPA.revision)


def test_a_change_that_keeps_the_size_is_found_by_the_checksum(root: Path) -> None:
    folder = make(root)
    (folder / "classifier.ckpt").write_bytes(b"changed")
    assert inspect(folder).state == "present"
    assert inspect(folder, checksums=True).state == "damaged"


def test_a_folder_that_was_put_there_by_hand_is_used(root: Path) -> None:
    folder = make(root)
    (folder / RECORD).unlink()
    assert model_folder(ECAPA.name, ECAPA.revision) == folder
    assert inspect(folder).state == "unrecorded"


def test_a_half_fetched_model_is_missing(root: Path) -> None:
    folder = make(root)
    folder.rename(folder.with_name(f"{folder.name}.partial"))
    assert inspect(folder).state == "missing"


@pytest.mark.parametrize("stage", ["diarize", "transcribe", "identify_speakers", "embed_text"])
def test_a_stage_without_its_model_says_so_before_it_imports_anything(root: Path, stage: str) -> None:
    before = set(sys.modules)
    with pytest.raises(MisconfiguredError, match="run `channelscribe models pull --profile gpu`"):
        load_engine(get_profile("gpu").stages[stage], "cpu", Clock())
    assert not {name for name in set(sys.modules) - before if name.startswith(("torch", "channelscribe.models."))}


def test_the_self_check_says_so_too_and_exits_with_78(root: Path) -> None:
    command = [sys.executable, "-m", "channelscribe.stages.self_check", "embed_text", "--profile", "gpu"]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1)
    assert "The model Qwen/Qwen3-Embedding-0.6B is missing" in done.stderr


def test_the_stages_never_ask_a_hub() -> None:
    program = "import os, channelscribe.models; print(os.environ['HF_HUB_OFFLINE'])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "1"


def test_the_doctor_names_what_is_missing(root: Path) -> None:
    def check(profile: str) -> doctor.Check:
        return doctor.check_model_files(Settings(home=root.parent, models_root=root, profile=profile))

    assert check("bundled").state == "ok"
    assert check("nope").state == "failed"
    for model in MODELS.values():
        make(root, model)
    assert check("gpu").state == check("gpu-reference").state == "ok"
    (root / ECAPA.folder / "classifier.ckpt").unlink()
    found = check("gpu")
    assert (found.state, found.remedy) == ("failed", "Run `channelscribe models pull --profile gpu`.")
    assert found.detail.endswith(f"{ECAPA.name} is damaged")
    (root / ECAPA.folder / RECORD).unlink()
    assert check("gpu").state == "warning"


def test_the_list_shows_what_is_there(root: Path) -> None:
    make(root)
    runner = CliRunner(env={"COLUMNS": "80"})
    lines = runner.invoke(model_commands.app, ["list"]).stdout.splitlines()
    states = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert states == {name: "present" if name == ECAPA.name else "missing" for name in MODELS}
    (root / ECAPA.folder / "classifier.ckpt").write_bytes(b"changed")
    out = runner.invoke(model_commands.app, ["list", "--profile", "gpu", "--checksums"]).stdout
    assert "classifier.ckpt is not what was fetched" in out
    assert "openai/whisper-large-v3-turbo" not in out
    assert "needs no models" in runner.invoke(model_commands.app, ["list", "--profile", "bundled"]).stdout


def test_pulling_a_bundled_profile_says_that_there_is_nothing_to_fetch(root: Path, capsys) -> None:
    assert model_pull.main(["--profile", "bundled"]) == 0
    assert "needs no models from a hub" in capsys.readouterr().out
    assert not root.exists()


def test_a_missing_environment_of_the_stages_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(root / "none"))
    monkeypatch.setattr(model_commands.importlib.util, "find_spec", lambda name: None)
    get_settings.cache_clear()
    result = CliRunner().invoke(model_commands.app, ["pull", "--profile", "gpu"])
    assert isinstance(result.exception, MisconfiguredError) and "make setup" in str(result.exception)

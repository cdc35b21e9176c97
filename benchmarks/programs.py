"""The stages as programs, as the operators call them: child processes over a workspace."""

import subprocess
import sys
import time
from pathlib import Path

from channelscribe.models import ENGINES
from channelscribe.profiles import Profile
from channelscribe.workspace import Workspace


def model_stages(profile: Profile) -> list[str]:
    """The profile's stages that have a model, in the order of work."""
    return [stage for stage, spec in profile.stages.items() if spec.engine in ENGINES]


def call(
    workspace: Workspace, profile: Profile, stage: str, *video_ids: str, device: str | None = None, random: bool = False
) -> float:
    """Do one stage of some videos, and return the seconds from the start of the process to its end.

    Args:
        workspace: with the videos.
        profile: the stage's.
        stage: its name.
        video_ids: of the videos.
        device: another than the profile's.
        random: the models have random weights: see random_stage.py.
    """
    random_stage = str(Path(__file__).with_name("random_stage.py"))
    program = [random_stage, stage] if random else ["-m", f"channelscribe.stages.{stage}"]
    command = [sys.executable, *program, *video_ids, "--data-root", str(workspace.data_root), "--profile", profile.name]
    if device:
        command += ["--device", device]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{stage} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds

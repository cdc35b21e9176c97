"""The stages on a GPU: real-time factors, and what the GPU did meanwhile.

    python benchmarks/gpu_stages.py [--minutes 33]

Run by the Python of the stages' environment, or by that of the stages' image. The four stages of the profile
`bundled-cuda` work as programs on one long recording, tiled from those in the models' packages. Prints Markdown, and
writes benchmarks/results/gpu_stages.json. Without a GPU it says so, and ends with 78.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import machine
import recordings

from channelscribe.errors import ExitCode
from channelscribe.models import ENGINES
from channelscribe.profiles import BUNDLED_CUDA
from channelscribe.telemetry.nvml import NoGpuError, open_gpu
from channelscribe.telemetry.report import run_report
from channelscribe.workspace import Workspace

VIDEO_ID = "benchmark"


def main() -> int:
    """Measure, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=33, help="length of the recording")
    minutes = parser.parse_args().minutes
    try:
        with open_gpu() as gpu:
            name = gpu.name
    except NoGpuError as error:
        sys.stdout.write(f"Not measured, as no GPU was found here: {error}.\n")
        return int(ExitCode.MISCONFIGURED)
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        workspace = Workspace(Path(folder))
        recordings.add_video(workspace, BUNDLED_CUDA, VIDEO_ID, recordings.recording(minutes))
        started_at = datetime.now(UTC)
        for stage, spec in BUNDLED_CUDA.stages.items():
            if spec.engine in ENGINES:
                _run(workspace, stage)
        report = run_report(
            workspace, BUNDLED_CUDA, [VIDEO_ID], {}, {}, started_at=started_at, n_channels=1, n_listed=1
        )
    sys.stdout.write(f"{name}, {minutes:g} minutes of audio.\n\n{report.to_markdown()}\n")
    result = {
        "machine": {**machine.describe(), "gpu": name},
        "minutes": minutes,
        "stages": [asdict(times) for times in report.stage_times],
        "gpu": {stage: asdict(use) for stage, use in report.gpu_uses.items()},
    }
    path = Path(__file__).with_name("results") / "gpu_stages.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _run(workspace: Workspace, stage: str) -> None:
    command = [sys.executable, "-m", f"channelscribe.stages.{stage}", VIDEO_ID]
    command += ["--data-root", str(workspace.data_root), "--profile", BUNDLED_CUDA.name]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{stage} ended with {done.returncode}.")


if __name__ == "__main__":
    sys.exit(main())

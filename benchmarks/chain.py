"""The whole chain after the download: speed and peak memory of the stages, by the length of the recording.

    python benchmarks/chain.py [--profile bundled|bundled-cuda] [--minutes 10 60 180] [--json FILE]

Run by the Python of the stages' environment. The stages work as programs, one after another, on recordings tiled from
those in the models' packages. A stage's seconds are those of its process, from start to end, imports included; its peak
memory is what its manifest says. Prints Markdown. A profile for a GPU says without one that it was not measured, and
ends with 78.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import programs
import recordings

from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA, Profile, get_profile
from channelscribe.telemetry.gpu_use import gpu_use
from channelscribe.telemetry.nvml import NoGpuError, open_gpu
from channelscribe.workspace import Workspace

VIDEO_ID = "benchmark"


def main() -> int:
    """Measure, print and write; returns the exit code."""
    options = _options()
    profile, gpu = get_profile(options.profile), None
    if profile is BUNDLED_CUDA:
        try:
            with open_gpu() as found:
                gpu = found.name
        except NoGpuError as error:
            sys.stdout.write(f"Not measured, as no GPU was found here: {error}.\n")
            return int(ExitCode.MISCONFIGURED)
    result: dict[str, Any] = {"machine": {**machine.describe(), "gpu": gpu}, "profile": profile.name, "lengths": []}
    for minutes in options.minutes:
        length = _measure(profile, minutes)
        result["lengths"].append(length)
        _print(length, profile)
        if options.json:
            # After each length: a longer one may be cut off.
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(profile: Profile, minutes: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        workspace = Workspace(Path(folder))
        recordings.add_video(workspace, profile, VIDEO_ID, recordings.recording(minutes))
        stages = {stage: _stage(workspace, profile, stage, minutes * 60) for stage in programs.model_stages(profile)}
    seconds = sum(stage["seconds"] for stage in stages.values())
    return {
        "minutes": minutes,
        "stages": stages,
        "seconds": round(seconds, 2),
        "rtfx": round(minutes * 60 / seconds, 2),
        "peak_memory_bytes": max(stage["peak_memory_bytes"] for stage in stages.values()),
    }


def _stage(workspace: Workspace, profile: Profile, stage: str, audio_s: float) -> dict[str, Any]:
    seconds = programs.call(workspace, profile, stage, VIDEO_ID)
    manifest = workspace.require(VIDEO_ID, stage, profile).manifest
    work_s, use = manifest.processing_s["total"], gpu_use([manifest])
    return {
        "seconds": round(seconds, 2),
        "work_s": round(work_s, 2),
        "rtfx": round(audio_s / seconds, 2),
        "work_rtfx": round(audio_s / work_s, 2),
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "device": manifest.device_used,
        "sm_percent": None if use is None or use.busy_share is None else round(100 * use.busy_share, 1),
    }


def _print(length: dict[str, Any], profile: Profile) -> None:
    lines = [
        f"{length['minutes']:g} minutes of audio, profile {profile.name}:",
        "",
        "| stage | device | seconds | RTFx | RTFx of the work | peak memory GB | SM busy |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, stage in length["stages"].items():
        busy = "-" if stage["sm_percent"] is None else f"{stage['sm_percent']:.0f} %"
        lines.append(
            f"| {name} | {stage['device']} | {stage['seconds']:.1f} | {stage['rtfx']:.1f} | {stage['work_rtfx']:.1f} | "
            f"{stage['peak_memory_bytes'] / 1e9:.2f} | {busy} |"
        )
    peak = length["peak_memory_bytes"] / 1e9
    lines += [f"| all | | {length['seconds']:.1f} | {length['rtfx']:.1f} | | {peak:.2f} | |", "", ""]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=[BUNDLED.name, BUNDLED_CUDA.name], default=BUNDLED.name)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0], help="lengths of the recordings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

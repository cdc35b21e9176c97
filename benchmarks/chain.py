"""The whole chain after the download: speed and peak memory of the stages, by the length of the recording.

    python benchmarks/chain.py [--profile bundled|bundled-cuda|gpu] [--minutes 10 60 180] [--tiny] [--json FILE]

Run by the Python of the stages' environment. The stages work as programs, one after another, on recordings tiled from
those in the models' packages. A stage's seconds are those of its process, from start to end, imports included; its peak
memory is what its manifest says, and that of the GPU what NVML says beyond what was taken before. Prints Markdown. A
profile for a GPU says without one that it was not measured, and ends with 78.

The models of the profile `gpu` have random weights in their true format and size (see random_models.py), which are as
fast: each window of 30 s gets 120 tokens, and no region is transcribed again. Quality can't be measured so. With --tiny
they are small and on the CPU: only to see that this program works.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import programs
import recordings
import vram

from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA, GPU, Profile, get_profile
from channelscribe.telemetry.gpu_use import gpu_use
from channelscribe.telemetry.nvml import NoGpuError, open_gpu
from channelscribe.workspace import Workspace

VIDEO_ID = "benchmark"


def main() -> int:
    """Measure, print and write; returns the exit code."""
    options = _options()
    profile, gpu = get_profile(options.profile), None
    if profile is not BUNDLED and not options.tiny:
        try:
            with open_gpu() as found:
                gpu = found.name
        except NoGpuError as error:
            sys.stdout.write(f"Not measured, as no GPU was found here: {error}.\n")
            return int(ExitCode.MISCONFIGURED)
    weights = "real" if profile is not GPU else "random, tiny" if options.tiny else "random"
    result: dict[str, Any] = {
        "machine": {**machine.describe(), "gpu": gpu}, "profile": profile.name, "weights": weights, "lengths": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as models:
        if profile is GPU:
            import random_models

            random_models.write_all(Path(models), tiny=options.tiny)
            os.environ["CHANNELSCRIBE_MODELS_ROOT"] = models
        for minutes in options.minutes:
            length = _measure(profile, minutes, tiny=options.tiny)
            result["lengths"].append(length)
            _print(length, profile, weights)
            if options.json:
                # After each length: a longer one may be cut off.
                options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(profile: Profile, minutes: float, *, tiny: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        workspace = Workspace(Path(folder))
        recordings.add_video(workspace, profile, VIDEO_ID, recordings.recording(minutes))
        stages = {
            stage: _stage(workspace, profile, stage, minutes * 60, tiny=tiny)
            for stage in programs.model_stages(profile)
        }
    seconds = sum(stage["seconds"] for stage in stages.values())
    return {
        "minutes": minutes,
        "stages": stages,
        "seconds": round(seconds, 2),
        "rtfx": round(minutes * 60 / seconds, 2),
        "peak_memory_bytes": max(stage["peak_memory_bytes"] for stage in stages.values()),
    }


def _stage(workspace: Workspace, profile: Profile, stage: str, audio_s: float, *, tiny: bool) -> dict[str, Any]:
    device = "cpu" if tiny else profile.stages[stage].device
    with vram.VramPeak(device) as taken:
        seconds = programs.call(workspace, profile, stage, VIDEO_ID, device=device, random=profile is GPU)
    manifest = workspace.require(VIDEO_ID, stage, profile).manifest
    work_s, use = manifest.processing_s["total"], gpu_use([manifest])
    return {
        "seconds": round(seconds, 2),
        "work_s": round(work_s, 2),
        "rtfx": round(audio_s / seconds, 2),
        "work_rtfx": round(audio_s / work_s, 2),
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "device": manifest.device_used,
        "metrics": manifest.metrics,
        "vram_gib": taken.peak_gib,
        "vram_of_profile_gib": None if taken.peak_gib is None else profile.stages[stage].memory_gib,
        "sm_percent": None if use is None or use.busy_share is None else round(100 * use.busy_share, 1),
    }


def _print(length: dict[str, Any], profile: Profile, weights: str) -> None:
    lines = [
        f"{length['minutes']:g} minutes of audio, profile {profile.name}, {weights} weights:",
        "",
        "| stage | device | seconds | RTFx | RTFx of the work | peak memory GB | VRAM GiB | SM busy |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, stage in length["stages"].items():
        busy = "-" if stage["sm_percent"] is None else f"{stage['sm_percent']:.0f} %"
        lines.append(
            f"| {name} | {stage['device']} | {stage['seconds']:.1f} | {stage['rtfx']:.1f} | {stage['work_rtfx']:.1f} | "
            f"{stage['peak_memory_bytes'] / 1e9:.2f} | {vram.compared(stage)} | {busy} |"
        )
    peak = length["peak_memory_bytes"] / 1e9
    lines += [f"| all | | {length['seconds']:.1f} | {length['rtfx']:.1f} | | {peak:.2f} | | |", "", ""]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = [BUNDLED.name, BUNDLED_CUDA.name, GPU.name]
    parser.add_argument("--profile", choices=choices, default=BUNDLED.name)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0], help="lengths of the recordings")
    parser.add_argument("--tiny", action="store_true", help="small random models on the CPU, to see that this works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to start a stage, and what share of a large import that is.

    python benchmarks/cold_starts.py [--runs 5] [--image NAME]

Run by the Python of the stages' environment. Each stage of the profile `bundled` is called as a program over one short
recording, several times; what the call took beyond the stage's own work is what its start cost. With an image, each
call is a container. From the medians it computes the share for 30 videos of 33 minutes at a real-time factor of 100
over all four stages together. Prints Markdown, and writes benchmarks/results/cold_starts[-containers].json.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import machine
import recordings

from channelscribe.batches import build
from channelscribe.contracts import Video
from channelscribe.models import ENGINES
from channelscribe.profiles import BUNDLED, get_profile
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace

N_VIDEOS, VIDEO_MINUTES, RTFX, GOAL_PERCENT = 30, 33, 100, 10
PARTS = ("container", "start", "import", "load", "rest")
VIDEO_ID = "benchmark"
STAGES = [stage for stage, spec in BUNDLED.stages.items() if spec.engine in ENGINES]
# Containers never run as root.
USER = os.getuid() or 10001

Times = dict[str, float]


def main() -> None:
    """Measure, compute, print and write."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        root = Path(folder)
        workspace = Workspace(root / "data")
        recordings.add_video(workspace, BUNDLED, VIDEO_ID, recordings.recording(None))
        _give_to_user(root)
        load_before = machine.describe()["load_average"]
        costs = {stage: _measure(workspace, stage, options.image, options.runs) for stage in STAGES}
    result = {
        "machine": {**machine.describe(), "load_average": load_before},
        "how": "containers" if options.image else "processes",
        "runs": options.runs,
        "stages": costs,
        "shares": shares(sum(_cost(times) for times in costs.values())),
    }
    _print(result)
    name = "cold_starts-containers.json" if options.image else "cold_starts.json"
    path = Path(__file__).with_name("results") / name
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def shares(start_s: float) -> list[dict[str, object]]:
    """The share of the stages' time that starts cost, by way of batching.

    Args:
        start_s: what one start of all the stages costs together.
    """
    work_s = N_VIDEOS * VIDEO_MINUTES * 60 / RTFX
    result: list[dict[str, object]] = []
    for way, n_batches in (("a video each", N_VIDEOS), ("automatic", _automatic_batches()), ("all in one", 1)):
        starts_s = n_batches * start_s
        percent = 100 * starts_s / (starts_s + work_s)
        result.append(
            {
                "batches": way,
                "n_batches": n_batches,
                "starts_s": round(starts_s, 1),
                "work_s": work_s,
                "percent": round(percent, 1),
            }
        )
    return result


def _automatic_batches() -> int:
    videos = [
        Video(
            video_id=f"v{index}",
            source_id="v",
            url="http://benchmark.example/",
            title="",
            channel_url="http://benchmark.example/",
            channel_title="",
            duration_s=VIDEO_MINUTES * 60,
        )
        for index in range(N_VIDEOS)
    ]
    # As on a machine with one GPU whose settings nobody touched.
    return len(build(videos, get_profile("bundled-cuda"), Settings(_env_file=None, gpus=("0",), batch_minutes=0)))


def _measure(workspace: Workspace, stage: str, image: str | None, runs: int) -> Times:
    """The medians of some calls of a stage, after one that fills the page cache."""
    calls = [_call(workspace, stage, image) for _ in range(runs + 1)][1:]
    return {part: round(median(times[part] for times in calls), 3) for part in calls[0]}


def _call(workspace: Workspace, stage: str, image: str | None) -> Times:
    """One call of a stage, and where its time went; ``rest`` is what no other part has: bookkeeping and the end."""
    command = [sys.executable if image is None else "python", "-m", f"channelscribe.stages.{stage}", VIDEO_ID]
    command += ["--data-root", str(workspace.data_root), "--profile", BUNDLED.name, "--force"]
    environment = {"CHANNELSCRIBE_STARTED_AT": f"{time.time():.3f}"} if image else {}
    if image:
        command = [*_docker(workspace, image, environment), *command]
    cpu_before = _cpu_s()
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{stage} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    seconds = workspace.require(VIDEO_ID, stage, BUNDLED).manifest.processing_s
    times = {part: seconds.get(part, 0.0) for part in PARTS[:-1]}
    times["rest"] = max(0.0, wall_s - seconds["total"] - sum(times.values()))
    times["work"] = seconds["total"]
    if image is None:
        times["processor"] = _cpu_s() - cpu_before
    return times


def _docker(workspace: Workspace, image: str, environment: dict[str, str]) -> list[str]:
    """The part of a command line that makes a container as the operator does, without its limits."""
    root = str(workspace.data_root)
    command = ["docker", "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", f"--user={USER}:{USER}"]
    command += ["--cap-drop=ALL", "--security-opt=no-new-privileges", f"--volume={root}:{root}", "--env=HOME=/tmp"]
    return [*command, *(f"--env={name}={value}" for name, value in environment.items()), image]


def _give_to_user(root: Path) -> None:
    if os.getuid() == 0:
        for path in (root, *root.rglob("*")):
            shutil.chown(path, USER, USER)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cost(times: Times) -> float:
    return sum(times[part] for part in PARTS)


def _print(result: dict[str, object]) -> None:
    stages = result["stages"]
    assert isinstance(stages, dict)  # noqa: S101 - built above
    lines = ["| stage | " + " | ".join(f"{part} s" for part in PARTS) + " | a start costs s |"]
    lines.append("| --- |" + " ---: |" * (len(PARTS) + 1))
    for stage, times in stages.items():
        cells = " | ".join(f"{times[part]:.2f}" for part in PARTS)
        lines.append(f"| {stage} | {cells} | {_cost(times):.2f} |")
    total_s = sum(_cost(times) for times in stages.values())
    lines.append(f"| all |{' |' * len(PARTS)} {total_s:.2f} |")
    lines += ["", "| batches | number | starts s | work s | share of starts |", "| --- | ---: | ---: | ---: | ---: |"]
    automatic = 0.0
    for row in shares(total_s):
        lines.append("| {batches} | {n_batches} | {starts_s} | {work_s:.0f} | {percent} % |".format(**row))
        if row["batches"] == "automatic":
            automatic = float(str(row["percent"]))
    met = "met" if automatic <= GOAL_PERCENT else "missed"
    lines += ["", f"The goal of at most {GOAL_PERCENT} % with the automatic batches is {met}: {automatic} %."]
    sys.stdout.write("\n".join(lines) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="calls of each stage that are measured")
    parser.add_argument("--image", help="image of the stages: measure containers made from it")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""All benchmarks of a device in one command: behind `make bench` and `make bench-gpu`.

    python benchmarks/bench.py [--gpu] [--quick] [--minutes 10 60 180] [--only PART ...]

Run by the Python of the stages' environment, with the tools of the tests (`scripts/setup.py --dev`), on a machine that
does nothing else. Each part is a program of its own; where one fails, that is written down and the others go on.
Prints the tables, writes benchmarks/results/bench-cpu.json or bench-gpu.json, and from both makes the section of
docs/performance.md. With --quick all is small, and nothing is written; with --only the other parts stay as they were
measured before. Without a GPU, --gpu says "not measured".
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import page
import parts

from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA, GPU, GPU_REFERENCE

HERE = Path(__file__).parent
# The longest that a part may take.
LIMIT_S = 3600


def main() -> int:
    """Measure, print and write; 1 if a part failed, other than for want of a GPU."""
    options = _options()
    device = "gpu" if options.gpu else "cpu"
    commands = parts.quick(device) if options.quick else parts.of_device(device, options.minutes)
    if unknown := sorted({*(options.only or ())} - {*commands}):
        raise SystemExit(f"No such part: {', '.join(unknown)}; choose from {', '.join(commands)}.")
    result: dict[str, Any] = {
        "command": "make bench-gpu" if options.gpu else "make bench",
        "machine": machine.describe(),
        "models": _models(options.gpu),
        "parts": {},
    }
    before = page.load().get(device) if options.only else None
    if before:
        result["parts"] = {name: {"at": before["machine"]["at"], **part} for name, part in before["parts"].items()}
    for name, command in commands.items():
        if options.only and name not in options.only:
            continue
        sys.stdout.write(f"{name}: {' '.join(command)}\n")
        sys.stdout.flush()
        result["parts"][name] = _run(command)
    result["parts"] = {name: result["parts"][name] for name in commands if name in result["parts"]}
    sys.stdout.write("\n" + "\n".join(page.section({device: result})) + "\n")
    if not options.quick:
        page.write(result, device)
    return int(any("failed" in part for part in result["parts"].values()))


def _run(command: list[str]) -> dict[str, Any]:
    """What became of a part: ``result``, or a reason in ``not_measured`` or ``failed``."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        path = Path(folder) / "result.json"
        program = [sys.executable, str(HERE / command[0]), *command[1:], "--json", str(path)]
        try:
            done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=LIMIT_S)
            code, said = done.returncode, (done.stdout if done.returncode == ExitCode.MISCONFIGURED else done.stderr)
        except subprocess.TimeoutExpired:
            code, said = -1, f"It took more than {LIMIT_S} s."
        lasted: dict[str, Any] = {"command": f"benchmarks/{' '.join(command)}"}
        if path.exists():
            # Of a part that failed on its way, what it had got.
            lasted["result"] = json.loads(path.read_text(encoding="utf-8"))
    lasted["lasted_s"] = round(time.perf_counter() - started, 1)
    lasted["at"] = machine.describe()["at"]
    if code:
        reason = (
            ([line for line in said.splitlines() if line.strip()] or [f"It ended with {code}."])[-1]
            .replace(f"{HERE.parent}/", "")
            .strip()
        )
        lasted["not_measured" if code == ExitCode.MISCONFIGURED else "failed"] = reason
        sys.stdout.write(f"  {reason}\n")
    return lasted


def _models(gpu: bool) -> dict[str, str]:
    profiles = (BUNDLED_CUDA, GPU, GPU_REFERENCE) if gpu else (BUNDLED,)
    return {spec.model: spec.revision for profile in profiles for spec in profile.stages.values()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="measure the GPU")
    parser.add_argument("--quick", action="store_true", help="small sizes, and nothing written")
    parser.add_argument("--only", nargs="+", metavar="PART", help='measure these parts alone, such as "text embedding"')
    parser.add_argument("--minutes", nargs="+", default=list(parts.MINUTES), help="lengths of the chain's recordings")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

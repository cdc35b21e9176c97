"""Stands where the stages' interpreter stands, and ends as ``behaviour.json`` in the data root says."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from channelscribe.contracts import Status
from channelscribe.stages.runner import parser
from channelscribe.workspace import Workspace, now

assert sys.argv[1] == "-m"
stage = sys.argv[2].removeprefix("channelscribe.stages.")
options = parser(stage).parse_args(sys.argv[3:])
with (options.data_root / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({"stage": stage, "videos": options.video_ids, "force": options.force}) + "\n")
behaviour = json.loads((options.data_root / "behaviour.json").read_text())

for line in behaviour.get("lines", []):
    print(line, file=sys.stderr if line.startswith("!") else sys.stdout)
    time.sleep(behaviour.get("pause", 0))
if "environment_file" in behaviour:
    Path(behaviour["environment_file"]).write_text(json.dumps(dict(os.environ)))
if "state" in behaviour:
    for video_id in options.video_ids:
        Workspace(options.data_root).write_status(
            Status(
                video_id=video_id,
                stage=stage,
                state=behaviour["state"],
                exit_code=behaviour["code"],
                reason=behaviour["reason"],
                at=now(),
                again=options.force and behaviour["state"] in ("running", "failed"),
            )
        )
if "leave_behind" in behaviour:
    child = subprocess.Popen(["sleep", "600"])
    Path(behaviour["leave_behind"]).write_text(str(child.pid))
if behaviour.get("hang"):
    time.sleep(600)
if "signal" in behaviour:
    os.kill(os.getpid(), behaviour["signal"])
sys.exit(behaviour.get("code", 0))

"""Stands where the stages' interpreter stands: the real runner, over stages that write what ``said.json`` says.

Of each video the lines that are said in it, and by stage the reason for which that stage refuses it.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

from channelscribe import profiles
from channelscribe.errors import BadInputError

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "store" / "conftest.py")))
profiles.PROFILES = {**profiles.PROFILES, "other": made.with_text_model(profiles.BUNDLED, "other")}

from channelscribe.stages.runner import Outcome, Run, Stage, parser  # noqa: E402 - behind the profile of the tests' own
from channelscribe.workspace import Workspace  # noqa: E402


class Made(Stage):
    """A stage that makes up its result."""

    name = sys.argv[2].removeprefix("channelscribe.stages.")

    def process(self, job, engine):
        said = json.loads((job.workspace.data_root / "said.json").read_text())[job.video.video_id]
        if reason := said.get("refused", {}).get(self.name):
            raise BadInputError(reason)
        script = made.Script(
            [tuple(line) for line in said["lines"]],
            job.video.video_id,
            text_dimension=8 if job.spec.model == "other" else 384,
        )
        for name, content in script.files()[self.name].items():
            (job.out / name).write_bytes(made.as_bytes(content))
        return Outcome(audio_s=60.0, summary="Made up.")


options = parser(Made.name).parse_args(sys.argv[3:])
run = Run(Made(), profiles.get_profile(options.profile), Workspace(options.data_root), "cpu", force=options.force)
run._engine = SimpleNamespace(device="cpu")
with (options.data_root / "calls.txt").open("a") as calls:
    calls.write(f"{Made.name} {' '.join(options.video_ids)}{' --force' if options.force else ''}\n")
sys.exit(run(options.video_ids))

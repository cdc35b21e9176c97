"""Stands where the stages' interpreter stands: writes the status and ends as ``codes.json`` in the data root says.

Without an import of our own: a whole run starts many of it.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

_, _, module, *arguments = sys.argv
stage = module.removeprefix("channelscribe.stages.")
video_ids, data_root = arguments[: arguments.index("--data-root")], arguments[arguments.index("--data-root") + 1]
codes = json.loads((Path(data_root) / "codes.json").read_text())
worst = 0
for video_id in video_ids:
    code, reason, *more = codes.get(video_id, {}).get(stage, (0, "Done."))
    worst = max(worst, code)
    status = {
        "video_id": video_id,
        "stage": stage,
        "state": {0: "done", 99: "empty"}.get(code, "failed"),
        "exit_code": code,
        "reason": reason,
        "at": datetime.now(UTC).isoformat(),
        "availability": more[0] if more and more != ["rate_limited"] else None,
        "rate_limited": more == ["rate_limited"],
    }
    folder = Path(data_root) / "videos" / video_id / stage
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps(status))
sys.exit(worst)

"""What stands on the page of a DAG in Airflow's UI: its own text, and what to press for each reason of a failure."""

import re

from channelscribe.failure_reasons import reasons_table

_PRESS = """
## What to press

In the grid, the indexes of `ingest_video` carry the titles of their videos. Open the red one, and the stage that is
red: its log ends with the reason, and its tab *Transcript* shows what is there of the videos. When the cause is gone,
press **Clear** with **Downstream**: that index runs again from that stage on, then `report_run`; all other indexes
stay as they are, and what was done is found and not done again. Clearing a green stage does it again for the videos of
its index, and what follows only if the result differs. The run's tab *Report* and the page *Pipeline* have
all failures with the same reasons and what to press.

## Reasons

A sentence begins with these words, or holds them.
"""


def with_runbook(text: str | None) -> str:
    """The page of a DAG whose tasks are those of videos.

    Args:
        text: its docstring.
    """
    # The pages that the table links to are not in the UI.
    table = re.sub(r"\[([^]]+)\]\([^)]+\)", r"docs/\1", reasons_table())
    return f"{text}\n{_PRESS}\n{table}\n"

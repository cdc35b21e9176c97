"""Addresses of Airflow's own pages, and of ours about them, and what else the templates about runs need."""

import re
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from markupsafe import Markup, escape

from channelscribe.telemetry.comparison import figure_text
from channelscribe.telemetry.report_text import clock
from channelscribe_airflow.pages.rendering import root

MOUNTED_AT = "/channelscribe"
# Tasks of the mapped group, whose id stands before theirs.
_IN_GROUP = ("fetch_audio", "diarize", "transcribe", "identify_speakers", "embed_text", "load")
# The stage that each part of a video's time belongs to.
STAGE_OF_PART = {
    "download": "fetch_audio", "diarization": "diarize", "transcription": "transcribe",
    "speaker_variance": "identify_speakers", "identification": "identify_speakers", "text_embedding": "embed_text",
    "loading": "load", "container": "diarize", "start_up": "diarize",
}  # fmt: skip


class Links:
    """What the templates link to.

    Args:
        request: that is answered.
    """

    def __init__(self, request: Request) -> None:
        self._ours = root(request)
        self._airflow = self._ours.removesuffix(MOUNTED_AT)

    def report(self, run_id: str) -> str:
        """Our page of a run."""
        dag_id, _, airflow_id = run_id.partition("/")
        return f"{self._ours}/run?{urlencode({'dag': dag_id, 'run': airflow_id})}"

    def dag(self, dag_id: str) -> str:
        """Airflow's page of a DAG."""
        return f"{self._airflow}/dags/{quote(dag_id, safe='')}"

    def run(self, run_id: str) -> str:
        """Airflow's page of a run."""
        dag_id, _, airflow_id = run_id.partition("/")
        return f"{self.dag(dag_id)}/runs/{quote(airflow_id, safe='')}"

    def task(self, run_id: str, task: str, map_index: int | None) -> str:
        """Airflow's page of a task instance, which opens at its log; of all its indexes where the index is None."""
        task_id = f"ingest_video.{task}" if task in _IN_GROUP else task
        place = "/mapped" if map_index is None else f"/mapped/{map_index}" if map_index >= 0 else ""
        return f"{self.run(run_id)}/tasks/{quote(task_id, safe='')}{place}"

    def part(self, run_id: str, part: str, map_index: int) -> str:
        """The same for the stage that a part of a video's time belongs to."""
        return self.task(run_id, STAGE_OF_PART[part], map_index)


def for_templates(request: Request) -> dict[str, Any]:
    """What all templates about runs are given: `links`, `took`, `figure_text` and `code`."""
    return {"links": Links(request), "took": clock, "figure_text": figure_text, "code": code}


def code(markdown: str) -> Markup:
    """A sentence with what stands in backquotes as code, and links by their words alone."""
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before

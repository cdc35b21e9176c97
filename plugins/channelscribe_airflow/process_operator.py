"""The operator that runs a stage program as a child process."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe_airflow.command import stage_command
from channelscribe_airflow.outcomes import describe_ending
from channelscribe_airflow.process import ChildProcess
from channelscribe_airflow.stage_task import TEMPLATE_FIELDS, StageTask

# yt-dlp lives in Airflow's environment: it must be upgradable at any time, without touching torch and the models.
_STAGES_OF_AIRFLOWS_ENVIRONMENT = ("fetch_audio",)


class ProcessStageOperator(StageTask, BaseOperator):
    """Runs a stage over a batch of videos, and gives the task the state that the stage's exit code stands for.

    The program's output goes into the task's log line by line; nothing is parsed from it. The sentence in the
    exception is the stage's own, from its status file.
    """

    template_fields: Sequence[str] = TEMPLATE_FIELDS
    stopped = "The program was stopped before its end."
    _child: ChildProcess | None = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)  # Airflow prepares an operator's own __init__, and takes none of a mixin

    def command(self, video_ids: Sequence[str]) -> list[str]:
        """The program and its arguments, once the template fields are rendered."""
        settings = get_settings()
        in_airflow = self.stage in _STAGES_OF_AIRFLOWS_ENVIRONMENT
        return stage_command(
            sys.executable if in_airflow else str(settings.stages_interpreter),
            self.stage,
            video_ids,
            data_root=settings.data_dir,
            profile=self.profile,
            force=self.forced,
        )

    def run_program(self, video_ids: Sequence[str], ti: Any) -> tuple[int, str]:
        """Run a child process to its end; returns its exit code, and a sentence about its end."""
        with self._start(video_ids, self.gpu(ti.map_index)) as self._child:
            for line in self._child.lines():
                self.log.info("%s", line)
            code = self._child.wait()
        return code, describe_ending(code)

    def on_kill(self) -> None:
        """Stop the program and all that it started, when the task is stopped or marked."""
        self._stopped = True
        if self._child:
            self._child.kill()

    def _start(self, video_ids: Sequence[str], gpu: str | None) -> ChildProcess:
        # The programs know nothing of Airflow, and need none of its secrets.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
        environment["PYTHONUNBUFFERED"] = "1"
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        command = self.command(video_ids)
        self.log.info("Running %s", " ".join(command))
        try:
            return ChildProcess(command, environment)
        except FileNotFoundError:
            reason = f"The environment of {self.stage} is not there ({command[0]}): run `make setup`."
            raise self.refuse(video_ids, ExitCode.MISCONFIGURED, reason) from None
        except OSError as error:
            reason = f"{self.stage} could not be started: {error}."
            raise self.refuse(video_ids, ExitCode.TRY_AGAIN, reason) from error

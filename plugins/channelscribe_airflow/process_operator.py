"""The operator that runs a stage program as a child process."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowTaskTimeout

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe.workspace import now
from channelscribe_airflow.command import stage_command
from channelscribe_airflow.outcomes import describe_ending, expected_errors
from channelscribe_airflow.process import ChildProcess
from channelscribe_airflow.stage_task import TEMPLATE_FIELDS, StageTask

# yt-dlp lives in Airflow's environment: it must be upgradable at any time, without touching torch and the models.
_STAGES_OF_AIRFLOWS_ENVIRONMENT = ("fetch_audio",)


class ProcessStageOperator(StageTask, BaseOperator):
    """Runs a stage over a batch of videos, and gives the task the state that the stage's exit code stands for.

    The program's output goes into the task's log line by line; nothing is parsed from it. The sentence in the
    exception is the stage's own, from its status file.

    Args:
        stage: name of the stage.
        video_ids: the videos.
        profile: name of the profile.
        force: do it again although the artifact is there; ``True`` or a template that renders to ``True``.
    """

    template_fields: Sequence[str] = TEMPLATE_FIELDS

    def __init__(
        self, *, stage: str, video_ids: Sequence[str], profile: str, force: bool | str = False, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.stage = stage
        self.video_ids = video_ids
        self.profile = profile
        self.force = force
        self._child: ChildProcess | None = None

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

    def execute(self, context: Context) -> None:
        """Run the program to its end.

        Raises:
            AirflowSkipException: there was nothing to do.
            AirflowFailException: it failed, and a retry would fail the same way.
            AirflowException: it failed in a way that may pass.
            AirflowTaskTimeout: it ran for longer than ``execution_timeout``.
        """
        with expected_errors():
            video_ids = self.videos_to_do(context)
            started = now()
            try:
                with self._start(video_ids, self.gpu(context["ti"].map_index or 0)) as self._child:
                    for line in self._child.lines():
                        self.log.info("%s", line)
                    code = self._child.wait()
            except AirflowTaskTimeout:
                self.stop_for_time(video_ids, started)
                raise
            ending = "The program was stopped before its end." if self._stopped else describe_ending(code)
            self.conclude(video_ids, code, started, ending)

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

"""The operator that runs a stage program as a child process."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from channelscribe.errors import ExitCode
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now
from channelscribe_airflow.command import stage_command
from channelscribe_airflow.outcomes import describe_ending, exception_for, expected_errors, write_status
from channelscribe_airflow.process import ChildProcess

# yt-dlp lives in Airflow's environment: it must be upgradable at any time, without touching torch and the models.
_STAGES_OF_AIRFLOWS_ENVIRONMENT = ("fetch_audio",)


class StageOperator(BaseOperator):
    """Runs a stage over one video, and gives the task the state that the stage's exit code stands for.

    The program's output goes into the task's log line by line; nothing is parsed from it. The sentence in the
    exception is the stage's own, from its status file.

    Args:
        stage: name of the stage.
        video_id: the video.
        profile: name of the profile.
        force: do it again although the artifact is there; ``True`` or a template that renders to ``True``.
    """

    template_fields: Sequence[str] = ("video_id", "profile", "force")

    def __init__(self, *, stage: str, video_id: str, profile: str, force: bool | str = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stage = stage
        self.video_id = video_id
        self.profile = profile
        self.force = force
        self._child: ChildProcess | None = None
        self._stopped = False

    @property
    def command(self) -> list[str]:
        """The program and its arguments, once the template fields are rendered."""
        settings = get_settings()
        in_airflow = self.stage in _STAGES_OF_AIRFLOWS_ENVIRONMENT
        return stage_command(
            sys.executable if in_airflow else str(settings.stages_interpreter),
            self.stage,
            self.video_id,
            data_root=settings.data_dir,
            profile=self.profile,
            force=str(self.force) == "True",
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
            code, reason = self._run()
            if code != ExitCode.DONE:
                raise exception_for(code, reason)

    def on_kill(self) -> None:
        """Stop the program and all that it started, when the task is stopped or marked."""
        self._stopped = True
        if self._child:
            self._child.kill()

    def _run(self) -> tuple[int, str]:
        started = now()
        with self._start() as self._child:
            try:
                for line in self._child.lines():
                    self.log.info("%s", line)
                code = self._child.wait()
            except AirflowTaskTimeout:
                self._fail(
                    ExitCode.TRY_AGAIN, f"The program was stopped: it took longer than {self.execution_timeout}."
                )
                raise
        return code, self._reason(code, started)

    def _start(self) -> ChildProcess:
        # The programs know nothing of Airflow, and need none of its secrets.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
        command = self.command
        self.log.info("Running %s", " ".join(command))
        try:
            return ChildProcess(command, {**environment, "PYTHONUNBUFFERED": "1"})
        except FileNotFoundError:
            reason = f"The environment of {self.stage} is not there ({command[0]}): run `make setup`."
            self._fail(ExitCode.MISCONFIGURED, reason)
            raise AirflowFailException(reason) from None
        except OSError as error:
            reason = f"{self.stage} could not be started: {error}."
            self._fail(ExitCode.TRY_AGAIN, reason)
            raise AirflowException(reason) from error

    def _reason(self, code: int, started: datetime) -> str:
        """The stage's own sentence on this attempt, or one about its end, which is then recorded as the stage's."""
        status = Workspace(get_settings().data_dir).read_status(self.video_id, self.stage)
        if status and status.at >= started and status.exit_code == code:
            return status.reason
        reason = "The program was stopped before its end." if self._stopped else describe_ending(code)
        if code not in (ExitCode.DONE, ExitCode.NOTHING_TO_DO):
            self._fail(code, reason)
        return reason

    def _fail(self, code: int, reason: str) -> None:
        write_status(self.stage, self.video_id, "failed", code, reason)

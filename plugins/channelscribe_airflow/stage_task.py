"""What running a stage over a batch of videos has in common, whatever runs the program."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, AirflowTaskTimeout

from channelscribe.contracts import Status
from channelscribe.errors import ExitCode
from channelscribe.profiles import STAGES, StageSpec, get_profile
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now
from channelscribe_airflow.claiming import claim_if_cleared
from channelscribe_airflow.outcomes import (
    code_of,
    exception_for,
    expected_errors,
    failure_of,
    recorded,
    write_status,
)
from channelscribe_airflow.stage_watch import WatchedCall, watched

logger = logging.getLogger(__name__)

TEMPLATE_FIELDS = ("video_ids", "profile", "force")
FINISHED = ("done", "present", "empty")


def pending_videos(video_ids: Sequence[str], before: str, log: Any) -> list[str]:
    """The videos of a batch that every stage before this one has ended well for. The others are named in the log.

    Args:
        video_ids: the batch.
        before: name of a stage, or ``load``, which comes after all of them.
        log: where to.

    Raises:
        BadInputError: what is no video id, or no video of the workspace.
        AirflowSkipException: there is none left.
    """
    workspace = Workspace(get_settings().data_dir)
    stages = list(STAGES)
    earlier = stages[: stages.index(before)] if before in STAGES else stages
    pending = []
    for video_id in video_ids:
        title = workspace.read_video(video_id).title
        stage = unfinished_stage(workspace, video_id, earlier)
        if stage is None:
            pending.append(video_id)
        else:
            status = workspace.read_status(video_id, stage)
            reason = status.reason if status else "it was never run."
            log.warning("%s (%s) is left out: %s: %s", title, video_id, stage, reason)
    if not pending:
        raise AirflowSkipException("Nothing is left to do: an earlier stage failed.")
    return pending


def unfinished_stage(workspace: Workspace, video_id: str, stages: Iterable[str]) -> str | None:
    """The first of some stages that did not end well for a video, by their statuses; None if all did."""
    for stage in stages:
        status = workspace.read_status(video_id, stage)
        if status is None or status.state not in FINISHED:
            return stage
    return None


def each_video(stage: str, video_ids: Sequence[str], work: Callable[[str], object]) -> None:
    """Do work that runs in the task itself for each pending video of a batch, whatever happens to the others.

    Args:
        stage: name of the work, under which its status is recorded.
        video_ids: the batch.
        work: called with a video's id.

    Raises:
        AirflowException: it failed for some; without a retry where that would not help any of them.
    """
    failed: dict[str, tuple[int, str]] = {}
    for video_id in pending_videos(video_ids, stage, logger):
        try:
            with recorded(stage, video_id):
                work(video_id)
        except AirflowException as error:
            failed[video_id] = code_of(error), str(error)
        except Exception as error:
            logger.exception("%s %s: internal error", stage, video_id)
            failed[video_id] = ExitCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"
    if failed:
        raise failure_of(failed, len(video_ids))


class StageTask:
    """Mixin of the stage operators: the batch, and the state that the task gets from what became of it.

    A video that fails, fails alone: the task is then red, with the reason, and the next stage goes on with the rest. A
    video that takes the whole program down is the last one of the next attempt, so that the others are done by then.

    Args:
        stage: name of the stage.
        video_ids: the videos.
        profile: name of the profile.
        force: do it again although the artifact is there; ``True`` or a template that renders to ``True``.
    """

    execution_timeout: timedelta | None
    retries: int | None
    log: Any
    _stopped = False
    # What was made before is made again: with `force` what was there before the run, otherwise before this attempt.
    _forced_since: datetime | None = None
    # Somebody cleared the task, which had ended well.
    _again = False

    def __init__(
        self, *, stage: str, video_ids: Sequence[str], profile: str, force: bool | str = False, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.stage = stage
        self.video_ids = video_ids
        self.profile = profile
        self.force = force

    def execute(self, context: Context) -> None:
        """Run the program to its end.

        Raises:
            AirflowSkipException: there was nothing to do.
            AirflowFailException: it failed, and a retry would fail the same way.
            AirflowException: it failed in a way that may pass.
            AirflowTaskTimeout: it ran for longer than ``execution_timeout``.
        """
        ti = context["ti"]
        with expected_errors():
            video_ids = self.videos_to_do(context)
            with self.ready(video_ids, ti):
                started = now()
                try:
                    with self.watched(video_ids, ti):
                        code, ending = self.run_program(video_ids, ti)
                except AirflowTaskTimeout:
                    self.stop_for_time(video_ids, started)
                    raise
            self.conclude(video_ids, code, started, self.stopped if self._stopped else ending)

    # What differs: how a program is run, what has to be right around it, and what is said of one that was stopped.
    stopped: str

    def run_program(self, video_ids: Sequence[str], ti: Any) -> tuple[int, str]:
        """Run the program over some videos; returns its exit code, and a sentence about its end."""
        raise NotImplementedError

    def ready(self, video_ids: Sequence[str], ti: Any) -> AbstractContextManager[None]:
        """What the program needs around it."""
        return nullcontext()

    def watched(self, video_ids: Sequence[str], ti: Any) -> AbstractContextManager[None]:
        """A watch over the clock while the program runs: it is told of once it is slow."""
        limit = self.execution_timeout or timedelta(minutes=self.spec.hard_limit_min)
        return watched(WatchedCall(self.stage, video_ids, self.profile, limit, ti))

    @property
    def spec(self) -> StageSpec:
        """How the profile does the stage, once the template fields are rendered."""
        return get_profile(self.profile).stages[self.stage]

    @property
    def forced(self) -> bool:
        """Whether what is there is made again, once the template fields are rendered."""
        return self._again or str(self.force) == "True"

    def gpu(self, map_index: int) -> str | None:
        """The GPU of one index of the mapped group; None where the profile uses none."""
        gpus = get_settings().gpus
        return gpus[max(map_index, 0) % len(gpus)] if self.spec.device == "cuda" else None

    def videos_to_do(self, context: Context) -> list[str]:
        """The videos to give to the program, those that failed an earlier attempt by themselves last.

        Raises:
            BadInputError: what is no video id, or no video of the workspace.
            TryAgainError: the task was cleared, and another run is at work on all of them, or the archive is down.
            AirflowSkipException: there is none left.
        """
        dag_run = context.get("dag_run")
        run_began = dag_run.start_date if dag_run else None
        self._forced_since = run_began or now()
        pending = pending_videos(self.video_ids, self.stage, self.log)
        pending = claim_if_cleared(context["ti"], dag_run, pending, self.log)
        if self.forced:
            # An earlier attempt of this run may have done some of them: not again.
            pending = [video_id for video_id in pending if not self._is_done(video_id)] or pending
        elif again := self._videos_to_do_again(context["ti"], run_began, pending):
            self._again, self._forced_since, pending = True, now(), again
        return sorted(pending, key=self._failed_by_itself)

    def conclude(self, video_ids: Sequence[str], code: int, started: datetime, ending: str) -> None:
        """Give the task the state that its videos' statuses stand for. What the program left unsaid is recorded.

        Args:
            video_ids: the videos that the program was given.
            code: its exit code, or minus the signal that killed it.
            started: when it was started: older statuses are of another attempt.
            ending: a sentence about the end of the program, for videos it could say nothing of itself.

        Raises:
            AirflowSkipException: there was nothing to do for any video.
            AirflowFailException: some failed, and a retry would fail the same way.
            AirflowException: some failed in a way that may pass.
        """
        if code in (ExitCode.DONE, ExitCode.NOTHING_TO_DO):
            statuses = [self._status(video_id) for video_id in video_ids]
            if all(status and status.at >= started and status.state in FINISHED for status in statuses):
                if code == ExitCode.DONE:
                    return
                raise exception_for(code, statuses[0].reason if statuses[0] else ending)
            code, ending = ExitCode.TRY_AGAIN, "It ended well, but how could not be recorded: is the disk full?"
        self._record_end(video_ids, code, started, ending)
        failed = {}
        for video_id in video_ids:
            status = self._status(video_id)
            if status and status.state == "failed":
                failed[video_id] = status.exit_code or ExitCode.TRY_AGAIN, status.reason
        # Where none failed the program was killed after its work: a retry finds the artifacts.
        raise failure_of(failed, len(self.video_ids)) if failed else exception_for(code, ending)

    def stop_for_time(self, video_ids: Sequence[str], started: datetime) -> None:
        """Record that the time limit ended the program, for the videos that it had not finished."""
        ending = f"It was stopped: it took longer than {self.execution_timeout}."
        self._record_end(video_ids, ExitCode.TRY_AGAIN, started, ending)

    def refuse(self, video_ids: Sequence[str], code: ExitCode, reason: str) -> AirflowException:
        """Record that the program could not be started, or went on without us; returns what to raise."""
        for video_id in video_ids:
            if not self._is_done(video_id):
                self._fail(video_id, code, reason)
        return exception_for(code, reason)

    def _record_end(self, video_ids: Sequence[str], code: int, started: datetime, ending: str) -> None:
        """Record the end of the program for the videos that it left unfinished: the one it was at, and those after it.

        The latter get no exit code: they were not begun, and are not to blame.
        """
        for video_id in video_ids:
            status = self._status(video_id)
            if status and status.at >= started:
                if status.state == "running":
                    self._fail(video_id, code, ending)
            elif not self._is_done(video_id):
                began = len(video_ids) == 1
                reason = ending if began else f"It was not begun. {ending}"
                self._fail(video_id, code if began else None, reason)

    def _fail(self, video_id: str, code: int | None, reason: str) -> None:
        write_status(self.stage, video_id, "failed", code, reason, again=self.forced)

    def _videos_to_do_again(self, ti: Any, run_began: datetime | None, pending: Sequence[str]) -> list[str]:
        """Videos whose result is there, and is to be made again all the same.

        That is so where somebody cleared the task, which had ended well, and none before it; and where an attempt at
        that did not get through. Who clears what comes before wants this stage to look for what has changed.
        """
        if ti.try_number == 1:
            return []
        statuses = [self._status(video_id) for video_id in pending]
        if any(status and status.again for status in statuses):
            return [
                video_id
                for video_id, status in zip(pending, statuses, strict=True)
                if (status and status.again) or not self._is_done(video_id)
            ]
        # Clearing gives a task all of its retries once more.
        cleared = ti.try_number == ti.max_tries - (self.retries or 0) + 1
        ended = [status.at for status in statuses if status and status.state in FINISHED]
        if not cleared or len(ended) < len(pending):
            return []
        # A run that was over begins anew with the clearing.
        if any(self._ready_at(one) >= max(at, run_began or at) for one, at in zip(pending, ended, strict=True)):
            self.log.info("What has a result already is left as it is, as what comes before was done since.")
            return []
        self.log.info("Made again, as the task was cleared. A result that is there stays until there is a new one.")
        for video_id in pending:
            reason = "To be made again, as the task was cleared."
            write_status(self.stage, video_id, "failed", None, reason, again=True)
        return list(pending)

    def _ready_at(self, video_id: str) -> datetime:
        """When the stage before this one ended for a video, or the video was chosen."""
        workspace, stages = Workspace(get_settings().data_dir), list(STAGES)
        position = stages.index(self.stage)
        before = workspace.read_status(video_id, stages[position - 1]) if position else None
        return before.at if before else workspace.recorded_at(video_id)

    def _is_done(self, video_id: str) -> bool:
        """Whether the stage needs no work for a video: with ``force`` by this run, otherwise by whichever."""
        status = self._status(video_id)
        if status is None or status.state not in FINISHED:
            return False
        if self.forced:
            return self._forced_since is not None and status.at >= self._forced_since
        return self._has_result(video_id)

    def _has_result(self, video_id: str) -> bool:
        workspace = Workspace(get_settings().data_dir)
        return workspace.current(video_id, self.stage, get_profile(self.profile)) is not None

    def _failed_by_itself(self, video_id: str) -> bool:
        status = self._status(video_id)
        return status is not None and (
            status.state == "running" or (status.state == "failed" and status.exit_code is not None)
        )

    def _status(self, video_id: str) -> Status | None:
        return Workspace(get_settings().data_dir).read_status(video_id, self.stage)

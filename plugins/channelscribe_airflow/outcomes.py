"""How an exit code or an expected error becomes the state of an Airflow task, and a status for people."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from channelscribe.contracts import Status
from channelscribe.errors import ChannelscribeError, ExitCode
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now

# Key of the XCom that holds why a task failed, where there is no video to record a status for.
FAILURE = "failure"

_NO_RETRY = (ExitCode.USAGE, ExitCode.BAD_INPUT, ExitCode.MISCONFIGURED)


def exception_for(code: int, reason: str) -> AirflowException:
    """The exception that gives a task the state which `channelscribe.errors` documents for an exit code."""
    if code == ExitCode.NOTHING_TO_DO:
        return AirflowSkipException(reason)
    return AirflowFailException(reason) if code in _NO_RETRY else AirflowException(reason)


def failure_of(failed: Mapping[str, tuple[int, str]], n_videos: int) -> AirflowException:
    """What a task raises of whose videos some failed: retried if that may heal one of them.

    Args:
        failed: exit code and reason by video.
        n_videos: videos in the task's batch.
    """
    code = next((code for code, _ in failed.values() if code not in _NO_RETRY), next(iter(failed.values()))[0])
    if n_videos == 1:
        ((_, reason),) = failed.values()
        return exception_for(code, reason)
    workspace = Workspace(get_settings().data_dir)
    reasons = [f"{workspace.read_video(video_id).title}: {reason}" for video_id, (_, reason) in failed.items()]
    return exception_for(code, f"{len(failed)} of {n_videos} videos failed. " + " ".join(reasons))


def describe_ending(code: int) -> str:
    """A sentence for a program that ended without saying why itself.

    Args:
        code: its exit code, or minus the signal that killed it.
    """
    try:
        number = signal.Signals(-code)
    except ValueError:  # of 0 and above, and of what no signal ends with
        return f"The program ended with exit code {code} and gave no reason: see the task's log."
    guess = ": out of memory? Give the stage more, or lower the pool's slots" if number == signal.SIGKILL else ""
    return f"The program was killed by signal {-code} ({number.name}){guess}."


@contextmanager
def expected_errors(ti: Any = None) -> Iterator[None]:
    """Let an expected error end the task with its one sentence, retried only where that may help.

    Args:
        ti: the task instance, where the sentence is to be left for the run's report, as XCom `FAILURE`.
    """
    try:
        yield
    except ChannelscribeError as error:
        if ti is not None:
            ti.xcom_push(FAILURE, str(error))
        raise exception_for(error.exit_code, str(error)) from error


@contextmanager
def recorded(stage: str, video_id: str) -> Iterator[None]:
    """Record the status of work that runs in the task itself, as the stage programs do for theirs."""
    write_status(stage, video_id, "running", None, "Running.")
    started = time.perf_counter()
    try:
        with expected_errors():
            yield
    except AirflowException as error:
        write_status(stage, video_id, "failed", code_of(error), str(error))
        raise
    except BaseException as error:
        write_status(stage, video_id, "failed", ExitCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        raise
    write_status(stage, video_id, "done", ExitCode.DONE, "Done.", took_s=time.perf_counter() - started)


def write_status(
    stage: str,
    video_id: str,
    state: Literal["running", "done", "present", "failed"],
    code: int | None,
    reason: str,
    *,
    took_s: float | None = None,
    again: bool = False,
) -> None:
    """Record how a stage stands for a video, if the workspace knows the video."""
    workspace = Workspace(get_settings().data_dir)
    if workspace.video_dir(video_id).is_dir():
        workspace.write_status(
            Status(
                video_id=video_id,
                stage=stage,
                state=state,
                exit_code=code,
                reason=reason,
                at=now(),
                took_s=took_s,
                again=again,
            )
        )


def code_of(error: AirflowException) -> int:
    """The exit code that an exception of `exception_for` or `expected_errors` stands for."""
    cause = error.__cause__
    return int(cause.exit_code if isinstance(cause, ChannelscribeError) else ExitCode.INTERNAL_ERROR)

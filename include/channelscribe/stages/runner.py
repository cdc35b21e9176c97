"""The one runner under all stages: arguments, checks, manifests, statuses, timing, device check and exit codes."""

import argparse
import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NoReturn, TypeVar

from channelscribe.contracts import Availability, Manifest, Status, Video
from channelscribe.errors import ChannelscribeError, ExitCode, RateLimitedError, UnavailableError
from channelscribe.models import ENGINES, Engine
from channelscribe.profiles import PROFILES, STAGES, Profile, StageSpec, get_profile
from channelscribe.stages.clock import Clock, start_up
from channelscribe.stages.engines import load_engine
from channelscribe.stages.gpu_faults import is_gpu_failure, is_out_of_memory
from channelscribe.stages.logs import at_work_on, start_logging
from channelscribe.stages.progress import ProgressWriter
from channelscribe.telemetry.gpu import GpuSampler
from channelscribe.telemetry.memory import peak_memory_bytes
from channelscribe.workspace import MANIFEST, Artifact, Workspace, describe_outputs, digest_of, fingerprint, now

logger = logging.getLogger(__name__)

E = TypeVar("E")
State = Literal["running", "done", "present", "empty", "failed"]

# Id of the image that the program's container was made from, set by whoever made it.
IMAGE = "CHANNELSCRIBE_IMAGE"


@dataclass(frozen=True)
class Job:
    """One video's work: what a stage may read, and the empty folder it writes into."""

    video: Video
    spec: StageSpec
    inputs: Mapping[str, Artifact]
    out: Path
    workspace: Workspace
    clock: Clock


@dataclass(frozen=True)
class Outcome:
    """What a stage says of a finished job.

    Args:
        audio_s: seconds of audio in the video.
        summary: one sentence for people.
        empty: there was nothing to do; the artifact is whole and empty.
        metrics: figures for the manifest.
        published_at: when the item was published, where the stage was told.
    """

    audio_s: float
    summary: str
    empty: bool = False
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    published_at: datetime | None = None


class Stage(ABC, Generic[E]):
    """One stage: what it does with one video, once its engine, of type E, is loaded."""

    name: ClassVar[str]

    @abstractmethod
    def process(self, job: Job, engine: Any) -> Outcome:
        """Write the artifact's files into ``job.out``.

        Raises:
            ChannelscribeError: with the sentence that people read, and the exit code.
        """


def main(stage: Stage[Any], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a stage as a program and exit with its code."""
    options = parser(stage.name).parse_args(arguments)
    start_logging(stage.name)
    has_engine = False
    try:
        run = Run(
            stage, get_profile(options.profile), Workspace(options.data_root), options.device, force=options.force
        )
        code = run(options.video_ids)
        has_engine = run.has_engine
    except ChannelscribeError as error:
        logger.error("%s", error)
        code = error.exit_code
    logging.shutdown()
    if has_engine:
        # All is written. Python would take torch and its like down piece by piece, for half a second and more.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))
    sys.exit(int(code))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(int(ExitCode.USAGE), f"{self.prog}: {message}\n")


def parser(stage_name: str) -> argparse.ArgumentParser:
    """Build the argument parser that all stages share."""
    result = _Parser(
        prog=f"python -m channelscribe.stages.{stage_name}",
        description=f"Do the stage {stage_name} for one video or many. One bad video never fails the others.",
        epilog="Exit codes: 0 done, 64 usage, 65 bad input, 70 internal error, 75 try again, "
        "78 misconfigured, 99 nothing to do.",
    )
    result.add_argument("video_ids", nargs="+", metavar="VIDEO_ID", help="video, as channelscribe names it")
    result.add_argument("--data-root", type=Path, required=True, help="folder of the artifacts")
    result.add_argument("--profile", required=True, help=f"one of {', '.join(PROFILES)}")
    result.add_argument("--device", choices=["cpu", "cuda"], help="device to use; the profile's by default")
    result.add_argument("--force", action="store_true", help="do it again although the artifact is there")
    return result


class Run:
    """One call of a stage over some videos."""

    def __init__(
        self,
        stage: Stage[Any],
        profile: Profile,
        workspace: Workspace,
        device: str | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.stage = stage
        self.profile = profile
        self.spec = profile.stages[stage.name]
        self.workspace = workspace
        # A stage without a model asks for no device: whatever the caller prefers, it runs on the CPU.
        self.device = (device or self.spec.device) if self.spec.engine in ENGINES else "cpu"
        self.force = force
        self._engine: Engine | None = None
        self._gpu_failed = False
        self._start_up = start_up()

    def __call__(self, video_ids: Sequence[str]) -> ExitCode:
        """Do the stage for every video, whatever happens to the others.

        After a fault of the GPU itself, which no later call into it would survive, those that are left are not begun:
        they get no status, and a retry in a new process does them.

        Returns:
            0 if all is done, 99 if there was nothing to do for any, else the code of the worst failure,
            where one that a retry may heal comes first.
        """
        codes = set()
        for number, video_id in enumerate(video_ids, 1):
            codes.add(self._do(video_id))
            at_work_on(None)
            if self._gpu_failed:
                logger.error("Ending, as the GPU failed; not begun: %d of %d.", len(video_ids) - number, len(video_ids))
                break
        for code in (ExitCode.TRY_AGAIN, ExitCode.INTERNAL_ERROR, ExitCode.MISCONFIGURED, ExitCode.BAD_INPUT):
            if code in codes:
                return code
        return ExitCode.NOTHING_TO_DO if codes == {ExitCode.NOTHING_TO_DO} else ExitCode.DONE

    @property
    def has_engine(self) -> bool:
        """An engine was loaded."""
        return self._engine is not None

    def _do(self, video_id: str) -> ExitCode:
        try:
            video = self.workspace.read_video(video_id)
        except ChannelscribeError as error:
            # A video that nobody recorded has no folder, and gets none by being asked for.
            logger.error("%r: %s", video_id, error)
            return error.exit_code
        except OSError as error:
            logger.error("%r: the system refused: %s", video_id, error)
            return ExitCode.TRY_AGAIN
        at_work_on(video_id)
        try:
            self._say(video_id, "running", None, "Running.")
            return self._ensure(video)
        except UnavailableError as error:
            self._say(video_id, "failed", error.exit_code, str(error), availability=error.availability)
            return error.exit_code
        except RateLimitedError as error:
            self._say(video_id, "failed", error.exit_code, str(error), rate_limited=True)
            return error.exit_code
        except ChannelscribeError as error:
            code, reason = error.exit_code, str(error)
        except OSError as error:
            code, reason = ExitCode.TRY_AGAIN, f"The system refused: {error}."
        except MemoryError:
            code, reason = ExitCode.TRY_AGAIN, "Out of memory: give the stage more, or run fewer at once."
        except Exception as error:
            logger.exception("Internal error")
            code, reason = self._explain(error)
        self._say(video_id, "failed", code, reason)
        return code

    def _explain(self, error: Exception) -> tuple[ExitCode, str]:
        """Exit code and sentence of an error that is none of ours."""
        if is_out_of_memory(error):
            remedy = "lower vram_gib in airflow_settings.yaml, so that fewer stages run at once"
            return ExitCode.TRY_AGAIN, f"The device is out of memory: {remedy}."
        if is_gpu_failure(error):
            self._gpu_failed = True
            first_line = (str(error).splitlines() or ["it says nothing"])[0]
            return ExitCode.TRY_AGAIN, f"The GPU failed: {first_line.rstrip('.')}."
        return ExitCode.INTERNAL_ERROR, f"Internal error: {type(error).__name__}: {error}"

    def _ensure(self, video: Video) -> ExitCode:
        video_id = video.video_id
        inputs = {name: self.workspace.require(video_id, name, self.profile) for name in STAGES[self.stage.name].inputs}
        digests = {name: artifact.manifest.digest for name, artifact in inputs.items()}
        spec = self.profile.spec(self.stage.name, video.language)
        name = fingerprint(self.stage.name, spec, digests)
        present = None if self.force else self.workspace.find(video_id, self.stage.name, name)
        if present:
            empty = present.manifest.empty
            code = ExitCode.NOTHING_TO_DO if empty else ExitCode.DONE
            self._say(video_id, "empty" if empty else "present", code, "Nothing to do: the artifact is there already.")
            return code

        with ProgressWriter(
            self.workspace.progress_file(video_id, self.stage.name), self._start_up, self.device
        ) as progress:
            engine = self._loaded_engine()
            clock = Clock()
            with self.workspace.new_artifact(video_id, self.stage.name, name) as out:
                started = time.perf_counter()
                with GpuSampler(self.device) as gpu:
                    progress.work_begins(self._device_used, clock, gpu)
                    outcome = self.stage.process(Job(video, spec, inputs, out, self.workspace, clock), engine)
                clock.seconds["total"] = time.perf_counter() - started
                manifest = self._manifest(video_id, name, spec, digests, out, outcome, clock, gpu)
                (out / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        code = ExitCode.NOTHING_TO_DO if outcome.empty else ExitCode.DONE
        self._say(video_id, "empty" if outcome.empty else "done", code, outcome.summary)
        return code

    def _loaded_engine(self) -> Engine | None:
        """The engine, loaded at the first video that needs it; None of a stage without a model."""
        if self._engine is None and self.spec.engine in ENGINES:
            self._engine = load_engine(self.spec, self.device, self._start_up)
        return self._engine

    @property
    def _device_used(self) -> str:
        return self._engine.device if self._engine else "cpu"

    def _manifest(
        self,
        video_id: str,
        name: str,
        spec: StageSpec,
        inputs: dict[str, str],
        out: Path,
        outcome: Outcome,
        clock: Clock,
        gpu: GpuSampler,
    ) -> Manifest:
        outputs = describe_outputs(out)
        # Container, start, import and load are paid once per call: the first video made by it carries them.
        paid_once, self._start_up = self._start_up, Clock()
        return Manifest(
            channelscribe_version=version("channelscribe"),
            stage=self.stage.name,
            stage_version=STAGES[self.stage.name].version,
            profile=self.profile.name,
            video_id=video_id,
            fingerprint=name,
            digest=digest_of(outputs),
            engine=spec.engine,
            model=spec.model,
            revision=spec.revision,
            parameters=dict(spec.parameters),
            inputs=inputs,
            outputs=outputs,
            empty=outcome.empty,
            device_requested=self.device,
            device_used=self._device_used,
            audio_s=outcome.audio_s,
            processing_s={**paid_once.seconds, **clock.seconds},
            peak_memory_bytes=peak_memory_bytes(),
            gpu_samples=gpu.samples,
            gpu_unavailable=gpu.unavailable,
            image=os.environ.get(IMAGE) or None,
            metrics=dict(outcome.metrics),
            published_at=outcome.published_at,
            finished_at=now(),
        )

    def _say(
        self,
        video_id: str,
        state: State,
        code: ExitCode | None,
        reason: str,
        *,
        availability: Availability | None = None,
        rate_limited: bool = False,
    ) -> None:
        level = logging.ERROR if state == "failed" else logging.INFO
        logger.log(level, "%s", reason)
        status = Status(
            video_id=video_id,
            stage=self.stage.name,
            state=state,
            exit_code=None if code is None else int(code),
            reason=reason,
            at=now(),
            availability=availability,
            rate_limited=rate_limited,
            again=self.force and state in ("running", "failed"),
        )
        try:
            self.workspace.write_status(status)
        except OSError as error:
            logger.error("The status could not be written: %s", error)

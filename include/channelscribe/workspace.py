"""The artifact folders below the data root, and the only place that builds a path in them.

DATA_ROOT/videos/<video_id>/video.json                        the Video contract
DATA_ROOT/videos/<video_id>/<stage>/status.json               how the stage last ended
DATA_ROOT/videos/<video_id>/<stage>/progress.json              what the stage is doing, while it is at work
DATA_ROOT/videos/<video_id>/<stage>/<fingerprint>/...         an artifact, manifest.json last
DATA_ROOT/videos/<video_id>/fetch_audio/.partial-<fingerprint>/   a download that a retry resumes
DATA_ROOT/videos/<video_id>/voice_embeddings/<model>.npz      cache of voice embeddings by content
DATA_ROOT/enrollments/...                                     clips of known voices, put there by people
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from channelscribe.contracts import SCHEMA_VERSION, Contract, Manifest, OutputFile, Progress, Status, Video
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import STAGES, Profile, StageSpec

C = TypeVar("C", bound=Contract)

MANIFEST = "manifest.json"
_TEMPORARY_PREFIX = ".new-"
_PARTIAL_PREFIX = ".partial-"
_DOOMED = "old"
# Of what killed attempts may leave beside the artifacts.
LEFTOVER_PREFIXES = (_TEMPORARY_PREFIX, _PARTIAL_PREFIX)


@dataclass(frozen=True)
class Artifact:
    """A whole artifact: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def read(self, file_name: str, contract: type[C]) -> C:
        """Read one of the artifact's JSON files as the contract it holds."""
        return read_contract(self.folder / file_name, contract)


class Workspace:
    """Paths and artifacts below one data root."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root

    def video_dir(self, video_id: str) -> Path:
        """Folder of one video. The contract's pattern keeps an id from leaving it."""
        folder = self.data_root / "videos" / video_id
        if folder.parent != self.data_root / "videos" or video_id in ("", ".", "..") or len(video_id) > 100:
            raise BadInputError(f"{video_id!r} is not a video id.")
        return folder

    def stage_dir(self, video_id: str, stage: str) -> Path:
        """Folder of all the artifacts of one stage of a video."""
        return self.video_dir(video_id) / stage

    def voice_embedding_cache(self, video_id: str, model: str) -> Path:
        """File that caches a video's voice embeddings of one model, by content."""
        return self.video_dir(video_id) / "voice_embeddings" / f"{model}.npz"

    def enrollment_clip(self, path: str) -> Path:
        """A clip of a known voice, by its path in the folder of such clips or by its full path.

        Raises:
            BadInputError: the path leads out of that folder.
        """
        folder = (self.data_root / "enrollments").resolve()
        try:
            clip = (folder / path).resolve()
        except (OSError, ValueError) as error:
            raise BadInputError(f"{path!r} is not a path: {error}.") from None
        if not clip.is_relative_to(folder):
            raise BadInputError(f"{path!r} is not in {folder}: put the clip there.")
        # By the data root's own name, as which containers have it.
        return self.data_root / "enrollments" / clip.relative_to(folder)

    def partial_download(self, video_id: str, spec: StageSpec) -> Path:
        """Folder of an unfinished download; its name is stable, so that a retry resumes it."""
        return self.stage_dir(video_id, "fetch_audio") / f"{_PARTIAL_PREFIX}{fingerprint('fetch_audio', spec, {})}"

    @property
    def turns(self) -> Path:
        """Folder of notes of when the next video of a site, or of a channel, may be asked for."""
        return self.data_root / "turns"

    def write_video(self, video: Video) -> None:
        """Record what polling knows of a video."""
        write_atomically(self.video_dir(video.video_id) / "video.json", video.model_dump_json(indent=1))

    def recorded_at(self, video_id: str) -> datetime:
        """When a run last chose a video."""
        return datetime.fromtimestamp((self.video_dir(video_id) / "video.json").stat().st_mtime, UTC)

    def read_video(self, video_id: str) -> Video:
        """Read what polling recorded.

        Raises:
            BadInputError: nobody recorded this video.
        """
        path = self.video_dir(video_id) / "video.json"
        if not path.is_file():
            raise BadInputError(f"The workspace has no video {video_id!r}: it is recorded when a channel is polled.")
        return read_contract(path, Video)

    def write_status(self, status: Status) -> None:
        """Record how a stage ended for a video."""
        write_atomically(
            self.stage_dir(status.video_id, status.stage) / "status.json", status.model_dump_json(indent=1)
        )

    def read_status(self, video_id: str, stage: str) -> Status | None:
        """How the stage last ended for the video, or None if it never ran."""
        path = self.stage_dir(video_id, stage) / "status.json"
        return read_contract(path, Status) if path.is_file() else None

    def progress_file(self, video_id: str, stage: str) -> Path:
        """File that a stage writes while it is at work on a video."""
        return self.stage_dir(video_id, stage) / "progress.json"

    def read_progress(self, video_id: str, stage: str) -> Progress | None:
        """What a stage is doing with a video, or None where it is not at work, or has only begun."""
        try:
            return read_contract(self.progress_file(video_id, stage), Progress)
        except (OSError, BadInputError):
            return None

    def find(self, video_id: str, stage: str, fingerprint: str) -> Artifact | None:
        """The artifact with this fingerprint if it is whole, or None."""
        folder = self.stage_dir(video_id, stage) / fingerprint
        try:
            manifest = read_contract(folder / MANIFEST, Manifest)
        except (FileNotFoundError, NotADirectoryError, BadInputError):
            return None
        if manifest.schema_version != SCHEMA_VERSION or manifest.fingerprint != fingerprint:
            return None
        for name, output in manifest.outputs.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != output.n_bytes:
                return None
        return Artifact(folder, manifest)

    def artifacts(self, video_id: str, profile: Profile, until: str | None = None) -> dict[str, Artifact | None]:
        """The artifacts that the profile makes of the present inputs, by stage; None where one is yet to be made.

        Args:
            video_id: whose.
            profile: names engines and models.
            until: the last stage that is looked for; all of them without one.
        """
        language = self._language(video_id)
        found: dict[str, Artifact | None] = {}
        for stage, definition in STAGES.items():
            inputs = {name: found[name] for name in definition.inputs}
            found[stage] = self.made_of(video_id, stage, profile, inputs, language)
            if stage == until:
                break
        return found

    def current(self, video_id: str, stage: str, profile: Profile) -> Artifact | None:
        """The artifact that the profile makes of the present inputs, or None where it is yet to be made."""
        return self.artifacts(video_id, profile, until=stage)[stage]

    def made_of(
        self, video_id: str, stage: str, profile: Profile, inputs: Mapping[str, Artifact | None], language: str | None
    ) -> Artifact | None:
        """The artifact that the profile makes of these inputs, by stage, or None where one or it is yet to be made.

        Args:
            video_id: whose.
            stage: which.
            profile: names engine and model.
            inputs: by stage.
            language: that the video's channel is said to be in.
        """
        if any(artifact is None for artifact in inputs.values()):
            return None
        digests = {name: artifact.manifest.digest for name, artifact in inputs.items() if artifact}
        return self.find(video_id, stage, fingerprint(stage, profile.spec(stage, language), digests))

    def require(self, video_id: str, stage: str, profile: Profile) -> Artifact:
        """The same as `current`, for a caller that can't go on without it.

        Raises:
            MisconfiguredError: the artifact is yet to be made.
        """
        artifact = self.current(video_id, stage, profile)
        if artifact is None:
            raise not_done(video_id, stage)
        return artifact

    def _language(self, video_id: str) -> str | None:
        try:
            return self.read_video(video_id).language
        except BadInputError:  # whoever works on the video says so
            return None

    @contextmanager
    def new_artifact(self, video_id: str, stage: str, fingerprint: str) -> Iterator[Path]:
        """Give a temporary folder to write an artifact into; on leaving without an error it is renamed into place.

        The caller writes the manifest last. What an earlier, killed attempt left behind is removed.
        """
        parent = self.stage_dir(video_id, stage)
        parent.mkdir(parents=True, exist_ok=True)
        for kind in (fingerprint, _DOOMED):
            for leftover in parent.glob(f"{_TEMPORARY_PREFIX}{kind}-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY_PREFIX}{fingerprint}-", dir=parent))
        temporary.chmod(0o755)
        try:
            yield temporary
            _replace_folder(temporary, parent / fingerprint)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def not_done(video_id: str, stage: str) -> MisconfiguredError:
    """What to raise where a stage's artifact is yet to be made."""
    return MisconfiguredError(f"{stage} has not been done for {video_id}: run it first, or clear its task.")


def fingerprint(stage: str, spec: StageSpec, inputs: dict[str, str]) -> str:
    """Name of an artifact: 16 hexadecimal digits over the stage, its spec and the digests of its inputs."""
    identity = {
        "stage": stage,
        "stage_version": STAGES[stage].version,
        "engine": spec.engine,
        "model": spec.model,
        "revision": spec.revision,
        "parameters": dict(spec.parameters),
        "inputs": inputs,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def describe_outputs(folder: Path) -> dict[str, OutputFile]:
    """Size and digest of every file of an artifact folder, by name."""
    outputs = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        outputs[path.name] = OutputFile(n_bytes=path.stat().st_size, sha256=digest)
    return outputs


def digest_of(outputs: dict[str, OutputFile]) -> str:
    """One digest over the content of all the outputs."""
    listing = json.dumps({name: output.sha256 for name, output in outputs.items()}, sort_keys=True)
    return hashlib.sha256(listing.encode()).hexdigest()


def read_contract(path: Path, contract: type[C]) -> C:
    """Read a JSON file as a contract.

    Raises:
        BadInputError: the file holds something else.
        FileNotFoundError: there is no such file.
    """
    try:
        return contract.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadInputError(
            f"{path} is not a {contract.__name__} of this version: {error.errors()[0]['msg']}."
        ) from None


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=_TEMPORARY_PREFIX, delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def _replace_folder(source: Path, target: Path) -> None:
    if target.exists():
        # A folder cannot be renamed over a full one. If we die in between there is no artifact, and it is made again.
        doomed = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY_PREFIX}{_DOOMED}-", dir=target.parent))
        target.rename(doomed / target.name)
        source.rename(target)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        source.rename(target)

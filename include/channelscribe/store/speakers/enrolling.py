"""From clips of a voice to its enrollments, and from labelled clips to a calibration, by the stages' programs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from channelscribe.contracts import Calibration, EnrollmentClip, EnrollmentVoices
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings
from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.programs import ChildPrograms, Programs
from channelscribe.store.speakers.enrollments import checked_name, enroll
from channelscribe.store.speakers.labels import operating_point
from channelscribe.workspace import read_contract

ENROLL_TIMEOUT_S, CALIBRATE_TIMEOUT_S = 900, 7200
# As of the vectors of videos: those of half precision are off by up to 1e-3.
_NORM_TOLERANCE = 1e-2


def enroll_clips(
    connection: Connection,
    settings: Settings,
    name: str,
    clips: Sequence[Path],
    profile: str,
    say: Callable[[str], None],
    programs: Programs | None = None,
) -> None:
    """Check clips of a voice, and enroll it from those that are good enough. The archive is yet to be relabelled.

    Args:
        connection: to a migrated archive.
        settings: where the stages' environment is.
        name: whose voice it is.
        clips: recordings in which only this voice speaks.
        profile: name of the profile whose voice model is used.
        say: called with one line for each clip, one for what was not checked, and one for the voice.
        programs: where the clips are looked at; a child process by default.

    Raises:
        BadInputError: the name or a file is bad, no clip was good enough, or one is enrolled under another name.
    """
    name = checked_name(name)
    with errors_in_words(), connection, connection.cursor() as cursor:
        point = operating_point(cursor, voice_model(profile))
    max_variance = point.max_variance if point else None
    found, embeddings = embed_clips(clips, profile, max_variance, programs or ChildPrograms(settings))
    for clip in found.clips:
        say(_describe(clip))
    if point is None:
        say("Whether a clip holds several voices was not checked: run `channelscribe calibrate` first.")
    if not len(embeddings):
        raise BadInputError(f"No clip is good enough to know {name} by: see the reasons, and record others.")
    name = enroll(connection, name, found, embeddings)
    say(f"{name} is enrolled; voice embeddings from these clips: {len(embeddings)}.")


def embed_clips(
    clips: Sequence[Path], profile: str, max_variance: float | None, programs: Programs
) -> tuple[EnrollmentVoices, npt.NDArray[np.float32]]:
    """Check clips of one voice, and embed those that are good enough.

    Args:
        clips: recordings in which only this voice speaks.
        profile: name of the profile whose voice model is used.
        max_variance: of the model's operating point, by which clips with several voices are refused; None: they aren't.
        programs: where the clips are looked at.

    Returns:
        The clips, with the reasons of those refused, and (n_rows, dim) float32, L2-normalised; no row if all were.

    Raises:
        BadInputError: a file is not there, or none can be looked at.
        MisconfiguredError: the stages' environment or the model is missing.
    """
    for clip in clips:
        if not clip.is_file():
            raise BadInputError(f"There is no file {clip}: give recordings in which only this voice speaks.")
    with programs.results() as out:
        failed: BadInputError | None = None
        checks = [] if max_variance is None else ["--max-variance", str(max_variance)]
        try:
            programs.run(
                "channelscribe.stages.enroll_voice",
                ["--profile", get_profile(profile).name, "--out", str(out), *checks, "--", *map(str, clips)],
                get_profile(profile).stages["identify_speakers"],
                failed="The clips could not be looked at",
                timeout_s=ENROLL_TIMEOUT_S,
            )
        except BadInputError as error:
            failed = error
        try:
            found = read_contract(out / "enrollment.json", EnrollmentVoices)
        except FileNotFoundError:
            raise failed or MisconfiguredError("The clips' program left no result: run `make setup`.") from None
        return found, _read_embeddings(out / "voice_embeddings.npy", len(found.rows))


def measure_calibration(folder: Path, profile: str, settings: Settings) -> Calibration:
    """Measure how well a profile's voice model tells labelled voices apart, and where to draw the line.

    Args:
        folder: one folder for each speaker, with clips of that voice.
        profile: name of the profile.
        settings: where the stages' environment is.

    Raises:
        BadInputError: there is no such folder, or it holds too little.
        MisconfiguredError: the stages' environment or the model is missing.
    """
    if not folder.is_dir():
        raise BadInputError(f"There is no folder {folder}: give one that holds a folder of clips for each speaker.")
    programs = ChildPrograms(settings)
    with programs.results() as results:
        out = results / "calibration.json"
        programs.run(
            "channelscribe.stages.calibrate",
            ["--profile", get_profile(profile).name, "--out", str(out), "--", str(folder)],
            get_profile(profile).stages["identify_speakers"],
            failed="The calibration failed",
            timeout_s=CALIBRATE_TIMEOUT_S,
        )
        try:
            return read_contract(out, Calibration)
        except FileNotFoundError:
            raise MisconfiguredError("The calibration left no result: run `make setup`.") from None


def voice_model(profile: str) -> tuple[str, str]:
    """Name and revision of a profile's voice model."""
    spec = get_profile(profile).stages["identify_speakers"]
    return spec.model, spec.revision


def _read_embeddings(path: Path, n_rows: int) -> npt.NDArray[np.float32]:
    if not n_rows:
        return np.zeros((0, 0), np.float32)
    try:
        vectors = np.load(path, allow_pickle=False)
        if vectors.ndim != 2 or len(vectors) != n_rows or not np.issubdtype(vectors.dtype, np.floating):
            raise ValueError(f"an array of shape {vectors.shape} for {n_rows} rows")
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        # Not "any is off": a norm that is not a number compares false with everything.
        if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):
            raise ValueError("vectors that are not of length 1")
    except (OSError, ValueError, EOFError) as error:
        raise MisconfiguredError(f"The clips' voice embeddings cannot be read ({error}): run `make setup`.") from error
    result: npt.NDArray[np.float32] = vectors.astype(np.float32)
    return result


def _describe(clip: EnrollmentClip) -> str:
    if clip.refused is not None:
        return f"refused   {clip.source}: {clip.refused}"
    snr = "SNR unknown" if clip.snr_db is None else f"SNR {clip.snr_db:.0f} dB"
    return f"accepted  {clip.source}: {clip.speech_s:.1f} s of speech, {snr}"

"""Program that takes clips of one voice, says which are good enough, and embeds those, in the stages' environment.

``python -m channelscribe.stages.enroll_voice --profile NAME [--device cpu|cuda] [--max-variance X] --out DIR --
CLIP...`` writes DIR/voice_embeddings.npy and, last, DIR/enrollment.json (`contracts.EnrollmentVoices`), which are there
too where no clip was accepted: that ends with 65. What it prints is for people.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channelscribe.contracts import EnrollmentRow, EnrollmentVoices
from channelscribe.errors import ChannelscribeError, ExitCode
from channelscribe.models import VoiceEncoder
from channelscribe.profiles import PROFILES, StageSpec, get_profile
from channelscribe.speakers.variance import speaker_variance
from channelscribe.speakers.voices import windowing_of
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.stages.voice_clips import VoiceClip, embed_pieces, read_clip
from channelscribe.workspace import write_atomically

# Of speech, behind one voice embedding of an enrollment.
MAX_PIECE_S = 10.0
# Pieces as short as turns often are, in which two voices of a clip lie apart; and from so many on their variance tells.
_SHORT_PIECE_S, _MIN_SHORT_PIECES = 3.0, 4
# How far above the variance that parts pure clusters from mixed ones: a clip is refused only where there is no doubt.
# With CAM++ none of 58 clips of one voice had so much; of 1479 made of two voices in equal parts 97 in 100 had. Two on
# one telephone line are too near to each other to be noticed.
_VARIANCE_EXCESS = 1.2


def enroll(
    spec: StageSpec, device: str, clips: Sequence[Path], out: Path, max_variance: float | None
) -> EnrollmentVoices:
    """Check clips, embed those that are good enough, and write both files.

    Args:
        spec: of the stage ``identify_speakers``: its model knows the voice again.
        device: ``cpu`` or ``cuda``.
        clips: recordings in which only this voice speaks.
        out: folder, made if it is not there.
        max_variance: speaker variance above which voices are mixed; None: clips with several voices are not noticed.

    Raises:
        MisconfiguredError: the model or its device is missing.
        OSError: the files cannot be written.
    """
    found = _without_repeats([read_clip(path) for path in clips])
    rows: list[EnrollmentRow] = []
    embeddings = np.zeros((0, 0), np.float32)
    if any(clip.record.refused is None for clip in found):
        encoder: VoiceEncoder = load_engine(spec, device, Clock())  # type: ignore[assignment]
        if max_variance is not None:
            found = _without_mixtures(found, encoder, spec, max_variance)
        rows, _, embeddings = embed_pieces(found, MAX_PIECE_S, encoder, windowing_of(spec.parameters))
    result = EnrollmentVoices(
        model=spec.model, revision=spec.revision, clips=tuple(clip.record for clip in found), rows=tuple(rows)
    )
    _write(out, result, embeddings)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Enroll as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", required=True, choices=list(PROFILES), help="whose voice model is used")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="device to use; the profile's by default")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--max-variance", type=float, help="above which voices are mixed; without it none are noticed")
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="recording in which only this voice speaks")
    options = parser.parse_args(arguments)
    spec = get_profile(options.profile).stages["identify_speakers"]
    try:
        result = enroll(spec, options.device or spec.device, options.clips, options.out, options.max_variance)
    except ChannelscribeError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"The system refused: {error}.\n")
        return int(ExitCode.TRY_AGAIN)
    for clip in result.clips:
        sys.stdout.write(f"{clip.source}: {clip.refused or f'accepted, {clip.speech_s:.1f} s of speech.'}\n")
    if not result.rows:
        sys.stderr.write("No clip is good enough.\n")
        return int(ExitCode.BAD_INPUT)
    return int(ExitCode.DONE)


def _without_repeats(clips: Sequence[VoiceClip]) -> list[VoiceClip]:
    """Refuse what was given before: it would weigh twice and say nothing new."""
    result: list[VoiceClip] = []
    seen: dict[str, str] = {}
    for clip in clips:
        if clip.record.refused is None and clip.record.sha256 in seen:
            clip = clip.refuse(f"It is the same recording as {seen[clip.record.sha256]}: give another one.")
        elif clip.record.refused is None:
            seen[clip.record.sha256] = clip.record.source
        result.append(clip)
    return result


def _without_mixtures(
    clips: Sequence[VoiceClip], encoder: VoiceEncoder, spec: StageSpec, max_variance: float
) -> list[VoiceClip]:
    """Refuse clips whose pieces differ more than those of one voice do."""
    rows, seconds, embeddings = embed_pieces(clips, _SHORT_PIECE_S, encoder, windowing_of(spec.parameters))
    owners = np.array([row.clip_index for row in rows])
    result = []
    for index, clip in enumerate(clips):
        own = owners == index
        variance = speaker_variance(embeddings[own], seconds[own]) if own.sum() >= _MIN_SHORT_PIECES else None
        if variance is not None and variance > _VARIANCE_EXCESS * max_variance:
            clip = clip.refuse("More than one voice seems to speak in it: cut it down to the one.")
        result.append(clip)
    return result


def _write(out: Path, result: EnrollmentVoices, embeddings: NDArray[np.float32]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    # Never the clips of one run beside the embeddings of another.
    (out / "enrollment.json").unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=out, prefix=".new-", delete=False) as file:
        np.save(file, embeddings)
    Path(file.name).replace(out / "voice_embeddings.npy")
    write_atomically(out / "enrollment.json", result.model_dump_json(indent=1))


if __name__ == "__main__":
    sys.exit(main())

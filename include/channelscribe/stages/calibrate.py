"""Program that measures how well a profile's voice model tells voices apart, from labelled clips.

``python -m channelscribe.stages.calibrate --profile NAME [--device cpu|cuda] --out FILE.json -- FOLDER``, where FOLDER
holds a folder of clips for each speaker, writes a `contracts.Calibration`. What it prints is for people.

Every clip's speech is cut into pieces of about 3 s, as turns often are no longer. Each is compared with all voices; its
own is known by the speaker's other clips alone. Use clips of several days and microphones: those of one session are
nearer to each other than the voice is to itself in another video, and the result would be too good.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from channelscribe.contracts import Calibration
from channelscribe.errors import BadInputError, ChannelscribeError, ExitCode
from channelscribe.profiles import PROFILES, StageSpec, get_profile
from channelscribe.speakers.calibration import (
    Pieces,
    Trials,
    clip_impostors,
    cluster_variances,
    compare,
    equal_error_rate,
    margin_at,
    threshold_at,
)
from channelscribe.speakers.voices import windowing_of
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.stages.voice_clips import VoiceClip, embed_pieces, read_clip
from channelscribe.workspace import write_atomically

FALSE_ACCEPT_RATE = 0.01
# Stricter: in an archive each unknown voice is compared with every other.
SAME_VOICE_RATE = 0.001
PIECE_S = 3.0
_MIN_SPEAKERS, _MIN_CLIPS = 2, 2


@dataclass(frozen=True)
class Report:
    """A calibration, and the counts behind it for people."""

    calibration: Calibration
    n_clips: int
    n_clip_pairs: int
    n_strangers: int
    n_pure: int
    n_mixed: int
    variance_error: float
    missed: float

    def __str__(self) -> str:
        """A line for each figure."""
        found = self.calibration
        trials = f"{found.n_target} target and {found.n_impostor} impostor trials"
        clusters = f"{self.n_pure} pure and of {self.n_mixed} mixed clusters"
        lead = f"margin to the runner-up {found.margin:.3f} ({self.n_strangers} strangers)"
        return "\n".join(
            (
                f"{found.model} ({found.revision}): {found.n_speakers} speakers, {self.n_clips} clips",
                f"equal error rate {100 * found.eer:.2f} % ({trials})",
                f"threshold {found.threshold:.3f} at a false-accept rate of {100 * found.false_accept_rate:g} %",
                lead if self.n_strangers else "margin to the runner-up not measured: three speakers are needed",
                f"with both, {100 * self.missed:.1f} % of the {found.n_target} target pieces stay unknown",
                f"speaker variance above {found.max_variance:.3f} mixes voices: "
                f"wrong for {100 * self.variance_error:.1f} % of {clusters}",
                f"unknown voices of different videos are one from {found.same_voice:.3f} on: reached by "
                f"{100 * SAME_VOICE_RATE:g} % at most of {self.n_clip_pairs} pairs of clips of two people",
            )
        )


def calibrate(spec: StageSpec, device: str, folder: Path) -> Report:
    """Embed the clips of a folder, and measure.

    Raises:
        BadInputError: there are too few speakers or clips.
        MisconfiguredError: the model or its device is missing.
    """
    clips, speakers = _read(folder)
    encoder = load_engine(spec, device, Clock())
    rows, seconds, embeddings = embed_pieces(clips, PIECE_S, encoder, windowing_of(spec.parameters))  # type: ignore[arg-type]
    numbers = np.array([row.clip_index for row in rows])
    pieces = Pieces(embeddings, seconds, np.array(speakers)[numbers], numbers)
    return measure(spec, pieces)


def measure(spec: StageSpec, pieces: Pieces) -> Report:
    """Turn labelled embeddings into a calibration."""
    trials = compare(pieces)
    eer, _ = equal_error_rate(trials.targets, trials.impostors)
    threshold = threshold_at(FALSE_ACCEPT_RATE, trials.impostors)
    margin = margin_at(FALSE_ACCEPT_RATE, threshold, trials)
    pure, mixed = cluster_variances(pieces)
    if not len(pure) or not len(mixed):
        raise BadInputError(f"The clips are too short: some need {3 * PIECE_S:.0f} s of speech.")
    variance_error, max_variance = equal_error_rate(mixed, pure)
    impostors = clip_impostors(pieces)
    return Report(
        calibration=Calibration(
            model=spec.model,
            revision=spec.revision,
            n_speakers=len(np.unique(pieces.speakers)),
            n_target=len(trials.targets),
            n_impostor=len(trials.impostors),
            eer=eer,
            false_accept_rate=FALSE_ACCEPT_RATE,
            threshold=threshold,
            margin=margin,
            max_variance=max_variance,
            same_voice=threshold_at(SAME_VOICE_RATE, impostors),
        ),
        n_clips=len(np.unique(pieces.clips)),
        n_clip_pairs=len(impostors),
        n_strangers=len(trials.wrong_leads),
        n_pure=len(pure),
        n_mixed=len(mixed),
        variance_error=variance_error,
        missed=_missed(trials, threshold, margin),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", required=True, choices=list(PROFILES), help="whose voice model is measured")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="device to use; the profile's by default")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds a folder of clips for each speaker")
    options = parser.parse_args(arguments)
    spec = get_profile(options.profile).stages["identify_speakers"]
    try:
        report = calibrate(spec, options.device or spec.device, options.folder)
        write_atomically(options.out, report.calibration.model_dump_json(indent=1))
    except ChannelscribeError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"The system refused: {error}.\n")
        return int(ExitCode.TRY_AGAIN)
    sys.stdout.write(f"{report}\n")
    return int(ExitCode.DONE)


def _read(folder: Path) -> tuple[list[VoiceClip], list[int]]:
    """The clips that are good enough, and the number of each one's speaker, of those who have at least two."""
    clips: list[VoiceClip] = []
    speakers: list[int] = []
    try:
        people = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise BadInputError(
            f"{folder} cannot be read ({error.strerror}): give a folder of speakers' folders."
        ) from None
    for number, person in enumerate(people):
        good = []
        for path in sorted(path for path in person.iterdir() if path.is_file()):
            clip = read_clip(path)
            if clip.record.refused:
                sys.stdout.write(f"Left out: {path}: {clip.record.refused}\n")
            else:
                good.append(clip)
        if len(good) >= _MIN_CLIPS:
            clips += good
            speakers += [number] * len(good)
        else:
            sys.stdout.write(f"Left out: {person.name} has {len(good)} good clips, and {_MIN_CLIPS} are needed.\n")
    if len(set(speakers)) < _MIN_SPEAKERS:
        raise BadInputError(
            f"{folder} has {len(set(speakers))} speakers with {_MIN_CLIPS} good clips or more: give at least "
            f"{_MIN_SPEAKERS}, each in a folder of its own."
        )
    return clips, speakers


def _missed(trials: Trials, threshold: float, margin: float) -> float:
    return float(1 - ((trials.targets >= threshold) & (trials.right_leads >= margin)).mean())


if __name__ == "__main__":
    sys.exit(main())

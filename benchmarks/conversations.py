"""Made conversations: real voices put together with known turns, for measuring diarization and identification.

The voices are those of Debian's packages of telephone prompts, each read by one person, as far as they are installed:

    apt-get install asterisk-core-sounds-{en,fr,it,ru}-g722 asterisk-prompt-{es-co,fr-armelle,it-menardi-wav}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Turn
from channelscribe.errors import BadInputError

SOUNDS = Path("/usr/share/asterisk/sounds")
# Reader -> folder below SOUNDS.
VOICES = {
    "allison": "en_US_f_Allison",
    "carlo": "it_IT_m_Carlo",
    "june": "fr_CA_f_June",
    "armelle": "fr",
    "ivrvoice": "ru_RU_f_IvrvoiceRU",
    "menardi": "it_IT_f_Menardi",
    "colombian": "es",
}
_MIN_CLIP_S = 1.0
_FRAME = SAMPLE_RATE_HZ // 50
_LEVEL_RMS = 0.06
_ROOM_RMS = 0.0005


@dataclass(frozen=True)
class Conversation:
    """A recording and its reference.

    Args:
        name: of the recording.
        waveform: (n_samples,) float32 at 16 kHz.
        turns: who speaks when.
    """

    name: str
    waveform: NDArray[np.float32]
    turns: tuple[Turn, ...]


def installed_voices() -> list[str]:
    """Readers whose packages are installed."""
    return [name for name, folder in VOICES.items() if (SOUNDS / folder).is_dir()]


@cache
def clips(voice: str, most: int = 200) -> tuple[NDArray[np.float32], ...]:
    """What one person reads, each clip without silence around it, at one level."""
    found = []
    for path in sorted((SOUNDS / VOICES[voice]).rglob("*.*")):
        try:
            clip = trimmed(decode(path))
        except BadInputError:
            continue
        if len(clip) >= _MIN_CLIP_S * SAMPLE_RATE_HZ:
            found.append(clip * np.float32(_LEVEL_RMS / np.sqrt(np.mean(clip**2))))
        if len(found) == most:
            break
    return tuple(found)


def converse(name: str, voices: Sequence[str], minutes: float, *, overlap: float = 0.1, seed: int = 0) -> Conversation:
    """Put a conversation together: turns of one to four clips, with short pauses, some over the end of the last one.

    Args:
        name: of the recording.
        voices: who takes part.
        minutes: its length.
        overlap: share of the turns that begin before the last one ends.
        seed: the same one gives the same conversation.
    """
    random = np.random.default_rng(seed)
    n_samples = int(minutes * 60 * SAMPLE_RATE_HZ)
    waveform = random.normal(scale=_ROOM_RMS, size=n_samples).astype(np.float32)
    turns: list[Turn] = []
    at, last = SAMPLE_RATE_HZ // 2, ""
    while True:
        voice = str(random.choice([other for other in voices if other != last] or list(voices)))
        pool = clips(voice)
        pieces = [pool[index] for index in random.integers(len(pool), size=random.integers(1, 5))]
        start = at
        for piece in pieces:
            if at + len(piece) >= n_samples:
                return Conversation(name, np.clip(waveform, -1.0, 1.0), tuple(turns))
            waveform[at : at + len(piece)] += piece
            turns.append(Turn(start_s=at / SAMPLE_RATE_HZ, end_s=(at + len(piece)) / SAMPLE_RATE_HZ, cluster=voice))
            at += len(piece) + int(random.uniform(0.05, 0.3) * SAMPLE_RATE_HZ)
        gap_s = -random.uniform(0.3, 1.0) if random.random() < overlap else random.uniform(0.1, 1.0)
        at, last = max(start + SAMPLE_RATE_HZ, at + int(gap_s * SAMPLE_RATE_HZ)), voice


def trimmed(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """A clip without the silence around it."""
    n_frames = len(waveform) // _FRAME
    if not n_frames:
        return waveform[:0]
    levels = np.sqrt((waveform[: n_frames * _FRAME].reshape(n_frames, _FRAME) ** 2).mean(1))
    loud = np.flatnonzero(levels > 0.05 * levels.max())
    return waveform[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME] if levels.max() else waveform[:0]

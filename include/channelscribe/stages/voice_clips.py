"""Recordings of known voices, for enrollment and calibration: read, checked, cut into pieces, embedded in one pass."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import EnrollmentClip, EnrollmentRow, Span, Turn
from channelscribe.errors import BadInputError
from channelscribe.models import VoiceEncoder
from channelscribe.speakers.voices import Windowing, embed_turns


@dataclass(frozen=True)
class VoiceClip:
    """A recording, and what is spoken in it.

    Args:
        record: what is known of it; ``refused`` where it is not good enough.
        speech: (n_samples,) float32 at 16 kHz: its speech without the pauses; empty where it was refused.
        spans: where that lies in the recording.
    """

    record: EnrollmentClip
    speech: NDArray[np.float32]
    spans: tuple[Span, ...] = ()

    def refuse(self, reason: str) -> "VoiceClip":
        """The same clip, refused."""
        return VoiceClip(self.record.model_copy(update={"refused": reason}), self.speech[:0])


def read_clip(path: Path) -> VoiceClip:
    """Decode and check a recording. Whatever is wrong with it is the reason it is refused for, never an exception."""
    # Here, not above: this import costs a second, and bad arguments should not.
    from channelscribe.models.clip_quality import examine, fault_of

    sha256 = ""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        waveform = decode(path)
    except OSError as error:
        return _unread(path, sha256, f"It cannot be read: {error.strerror}.")
    except BadInputError as error:
        return _unread(path, sha256, str(error))
    quality = examine(waveform)
    record = EnrollmentClip(
        source=str(path),
        sha256=sha256,
        audio_s=quality.audio_s,
        speech_s=round(quality.speech_s, 3),
        snr_db=quality.snr_db,
        refused=fault_of(quality),
    )
    if record.refused:
        return VoiceClip(record, waveform[:0])
    parts = [waveform[_samples(span.start_s) : _samples(span.end_s)] for span in quality.speech]
    return VoiceClip(record, np.concatenate(parts), quality.speech)


def embed_pieces(
    clips: Sequence[VoiceClip], max_piece_s: float, encoder: VoiceEncoder, windowing: Windowing
) -> tuple[list[EnrollmentRow], NDArray[np.float64], NDArray[np.float32]]:
    """Cut the speech of each clip into equal pieces, and embed those of all clips in one pass.

    Args:
        clips: refused ones give no piece.
        max_piece_s: the most speech in a piece.
        encoder: the speaker model.
        windowing: that of ``identify_speakers``.

    Returns:
        For each piece its place, (n,) seconds of speech, and (n, dim) float32 embeddings, L2-normalised.
    """
    rows, turns, offset_s = [], [], 0.0
    for index, clip in enumerate(clips):
        speech_s = len(clip.speech) / SAMPLE_RATE_HZ
        edges = np.linspace(0.0, speech_s, int(np.ceil(speech_s / max_piece_s)) + 1)
        for start_s, end_s in pairwise(edges.tolist()):
            start, end = _place(clip, start_s), _place(clip, end_s, at_end=True)
            rows.append(EnrollmentRow(clip_index=index, start_s=start, end_s=end))
            turns.append(Turn(start_s=offset_s + start_s, end_s=offset_s + end_s, cluster=str(index)))
        offset_s += speech_s
    waveform = np.concatenate([clip.speech for clip in clips]) if clips else np.zeros(0, np.float32)
    embedded, embeddings = embed_turns(waveform, SAMPLE_RATE_HZ, turns, encoder, windowing)
    assert len(embedded) == len(rows)  # noqa: S101 - checked clips have seconds of speech: no piece is too short
    return rows, np.array([turn.duration_s for turn in turns]), embeddings


def _place(clip: VoiceClip, speech_s: float, *, at_end: bool = False) -> float:
    """Where in the recording a time of its speech is: before a pause where a piece ends, after it where one starts."""
    last = len(clip.spans) - 1
    for number, span in enumerate(clip.spans):
        duration_s = span.end_s - span.start_s
        if speech_s < duration_s - 1e-3 or (at_end and speech_s <= duration_s + 1e-3) or number == last:
            return round(min(span.start_s + speech_s, span.end_s), 3)
        speech_s = max(0.0, speech_s - duration_s)
    return 0.0


def _samples(time_s: float) -> int:
    return round(time_s * SAMPLE_RATE_HZ)


def _unread(path: Path, sha256: str, reason: str) -> VoiceClip:
    record = EnrollmentClip(source=str(path), sha256=sha256, audio_s=0, speech_s=0, snr_db=None, refused=reason)
    return VoiceClip(record, np.zeros(0, np.float32))

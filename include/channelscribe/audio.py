"""Audio files, decoded by PyAV: what they are, and their samples as the models want them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channelscribe.errors import BadInputError

SAMPLE_RATE_HZ = 16_000
"""Sample rate of what `decode` gives, and of every model."""

_MAX_BAD_SHARE = 0.1
_JOINED_SAMPLES = 65_536
# A header may claim anything: no more is set aside in advance than this many hours need.
_MAX_PREALLOCATED = 6 * 3600 * SAMPLE_RATE_HZ


@dataclass(frozen=True)
class AudioFacts:
    """What a file holds, as found by decoding all of it.

    Args:
        codec: codec of the best audio stream, as FFmpeg names it.
        sample_rate_hz: of that stream.
        n_channels: of that stream.
        duration_s: seconds of sound that were decoded.
        declared_s: seconds that the container promises, None where it does not say or FFmpeg only estimates.
        has_video: there is a moving picture too; cover art is none.
    """

    codec: str
    sample_rate_hz: int
    n_channels: int
    duration_s: float
    declared_s: float | None
    has_video: bool


def probe(path: Path) -> AudioFacts:
    """Decode a file wholly, in bounded memory, and say what it holds.

    Raises:
        BadInputError: it is empty, no media, damaged, or has no sound.
        OSError: it cannot be read.
    """
    with _opened(path) as (container, stream):
        context = stream.codec_context
        rate, channels = context.sample_rate, context.channels
        seconds = sum(frame.samples / frame.sample_rate for frame in _frames(container, stream))
        return AudioFacts(
            codec=context.codec.canonical_name,
            sample_rate_hz=rate,
            n_channels=channels,
            duration_s=round(seconds, 6),
            declared_s=_promised_s(container, stream, path),
            has_video=any(not _is_cover(video) for video in container.streams.video),
        )


def decode(path: Path) -> NDArray[np.float32]:
    """Decode a file to mono at `SAMPLE_RATE_HZ`.

    Channels are averaged (more than two are mixed to stereo first). The result is written once into memory set
    aside from the container's duration: three hours need about 0.7 GB.

    Returns:
        Samples in [-1, 1], (n,) float32.

    Raises:
        BadInputError: it is empty, no media, damaged, or has no sound.
        OSError: it cannot be read.
    """
    with _opened(path) as (container, stream):
        declared_s = _declared_s(container, stream) or 0.0
        samples = np.empty(min(int((declared_s + 1.0) * SAMPLE_RATE_HZ), _MAX_PREALLOCATED), dtype=np.float32)
        n = 0
        for piece in _resampled(_frames(container, stream)):
            if n + len(piece) > len(samples):
                # The container promised less. `resize` grows in place where the system can.
                samples.resize(max(n + len(piece), len(samples) * 5 // 4), refcheck=False)
            samples[n : n + len(piece)] = piece
            n += len(piece)
    result = samples[:n]
    if n and not np.isfinite([result.min(), result.max()]).all():
        # Only files of floating-point samples can hold these; models would turn them into nonsense without a word.
        np.nan_to_num(result, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(result, -1.0, 1.0, out=result)


def copy_audio_stream(source: Path, target: Path) -> None:
    """Copy the best audio stream of a file, as it is coded, into a Matroska file of its own.

    Raises:
        BadInputError: there is none, or the file is damaged.
        OSError: a file cannot be read or written.
    """
    import av

    with _opened(source) as (container, stream), av.open(str(target), "w", format="matroska") as output:
        copy = output.add_stream_from_template(stream)
        for packet in container.demux(stream):
            # The demuxer ends with an empty packet, which tells decoders to flush.
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its best audio stream; whatever FFmpeg finds wrong becomes a sentence."""
    import av

    if path.stat().st_size == 0:
        raise BadInputError("The file is empty.")
    try:
        # Names of tags in odd encodings are no reason to fail.
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.best("audio")
            if stream is None:
                kind = "video only" if container.streams.video else "no audio stream"
                raise BadInputError(f"The file has no sound: {kind}.")
            yield container, stream
    except av.error.InvalidDataError:
        raise BadInputError("The file is not audio or video, or is damaged beyond reading.") from None
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise BadInputError(f"The file cannot be decoded: {error.strerror}.") from None


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames. Like every player this skips damaged packets, but not when much is damaged."""
    import av

    packets: Counter[str] = Counter()
    stream.thread_type = "AUTO"
    try:
        for packet in container.demux(stream):
            packets["all"] += 1
            try:
                frames = packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                packets["bad"] += 1
                continue
            packets["good"] += bool(frames)
            yield from frames
    except (av.error.InvalidDataError, av.error.EOFError):
        # The container breaks off; whether too much is missing is seen from its declared duration.
        packets["bad"] += 1
    if not packets["good"]:
        raise BadInputError("The file holds no sound that can be decoded.")
    if packets["bad"] > max(2, _MAX_BAD_SHARE * packets["all"]):
        raise BadInputError(
            f"The file is damaged: {packets['bad']} of its {packets['all']} packets of sound cannot be decoded."
        )


def _resampled(frames: Iterator[Any]) -> Iterator[NDArray[np.float32]]:
    """Frames of any format, also changing within a file (inserted adverts), as mono pieces."""
    import av

    resampler: Any = None
    current: tuple[str, str, int] | None = None
    for frame in _joined(frames):
        kind = _kind(frame)
        if kind != current:
            if resampler is not None:
                yield from _mono(resampler.resample(None))
            layout = "mono" if len(frame.layout.channels) == 1 else "stereo"
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=SAMPLE_RATE_HZ)
            current = kind
        yield from _mono(resampler.resample(frame))
    if resampler is not None:
        yield from _mono(resampler.resample(None))


def _joined(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames as few long ones: a resampler's call costs more than the 26 ms of sound in a frame of MP3."""
    import av

    fifo: Any = None
    current: tuple[str, str, int] | None = None
    for frame in frames:
        # Time stamps that jump would make the queue and the resampler complain: the samples follow each other.
        frame.pts = None
        if _kind(frame) != current:
            if fifo is not None and fifo.samples:
                yield fifo.read()
            fifo, current = av.AudioFifo(), _kind(frame)
        fifo.write(frame)
        if fifo.samples >= _JOINED_SAMPLES:
            yield fifo.read()
    if fifo is not None and fifo.samples:
        yield fifo.read()


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _mono(frames: list[Any]) -> Iterator[NDArray[np.float32]]:
    # Averaged here: FFmpeg's own downmix of floats is not normalised, and the same signal left and right would clip.
    for frame in frames:
        yield frame.to_ndarray().mean(axis=0, dtype=np.float32)


def _declared_s(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration is not None else None


def _promised_s(container: Any, stream: Any, path: Path) -> float | None:
    """Seconds that the file's header promises: more than what is decoded means that its end is missing."""
    declared_s = _declared_s(container, stream)
    with path.open("rb") as file:
        head = file.read(10)
        if container.format.name == "wav" and declared_s is not None:
            # FFmpeg cuts the promise down to the file's size. Sizes near the maximum mean "unknown" in streamed files.
            promised, n_bytes = int.from_bytes(head[4:8], "little") + 8, path.stat().st_size
            return declared_s * promised / n_bytes if n_bytes < promised < 0x7FFF0000 else declared_s
        if container.format.name == "mp3":
            # Only a header of one of these kinds states the duration; else it is guessed from the first bit rate.
            tag = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
            file.seek(tag if head.startswith(b"ID3") else 0)
            first = file.read(8192)
            return declared_s if any(kind in first for kind in (b"Xing", b"Info", b"VBRI")) else None
    return None if container.format.name == "aac" else declared_s


def _is_cover(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)

import wave
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Save = Callable[..., Path]


@pytest.fixture(scope="session")
def speech() -> dict[str, NDArray[np.float32]]:
    """Real speech at 16 kHz: one voice that reads, and the two of a telephone call by its reference."""
    from channelscribe.audio import decode

    def recording(package: str, file: str) -> NDArray[np.float32]:
        found = find_spec(package)
        assert found is not None and found.origin is not None
        return decode(Path(found.origin).parent / file)

    call = recording("pyannote.audio", "sample/sample.wav")

    def of_call(*spans: tuple[float, float]) -> NDArray[np.float32]:
        return np.concatenate([call[int(start * 16000) : int(end * 16000)] for start, end in spans])

    return {
        "reader": recording("moonshine_voice", "assets/two_cities.wav"),
        "caller": of_call((8.32, 9.9), (10.57, 14.45), (18.6, 21.45), (27.85, 30.0)),
        "called": of_call((14.75, 17.9), (21.9, 27.8)),
    }


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes samples in [-1, 1] as a WAV file of 16 bits."""

    def write(name: str, samples: NDArray[np.float32], rate_hz: int = 16000, n_channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((n_channels, 2, rate_hz, 0, "NONE", ""))
            file.writeframes(np.repeat((samples * 32767).clip(-32768, 32767).astype("<i2"), n_channels).tobytes())
        return path

    return write

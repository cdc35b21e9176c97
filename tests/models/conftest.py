from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def recordings() -> dict[str, Path]:
    """Real speech that comes inside the installed packages."""
    import importlib.util

    def folder(package: str) -> Path:
        found = importlib.util.find_spec(package)
        assert found is not None and found.origin is not None
        return Path(found.origin).parent

    return {
        "dialogue": folder("pyannote.audio") / "sample" / "sample.wav",
        "reading": folder("moonshine_voice") / "assets" / "two_cities.wav",
    }


@pytest.fixture(scope="session")
def dialogue(recordings: dict[str, Path]) -> NDArray[np.float32]:
    """30 s of a telephone call, two speakers."""
    from channelscribe.audio import decode

    return decode(recordings["dialogue"])


@pytest.fixture(scope="session")
def reading(recordings: dict[str, Path]) -> NDArray[np.float32]:
    """44 s of one voice, reading."""
    from channelscribe.audio import decode

    return decode(recordings["reading"])

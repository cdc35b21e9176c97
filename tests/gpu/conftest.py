"""These tests need a GPU."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _a_gpu() -> None:
    from channelscribe.telemetry.nvml import NoGpuError, open_gpu

    try:
        with open_gpu():
            pass
    except NoGpuError as error:
        pytest.skip(f"no GPU: {error}")

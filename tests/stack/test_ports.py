import os
import socket

import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.stack.ports import LOOPBACK, free_port, require_free


def test_a_free_port_is_no_trouble():
    require_free(free_port(), "Airflow", "PORT")


def test_a_taken_port_is_named_with_its_holder_and_the_remedy():
    with socket.create_server((LOOPBACK, 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(MisconfiguredError) as caught:
            require_free(port, "Airflow", "PORT")
    text = str(caught.value)
    assert f"Port {port} for Airflow is taken" in text
    assert f"(process {os.getpid()})" in text
    assert f"make demo PORT={port + 1}" in text
    assert "\n" not in text


def test_a_port_taken_on_all_addresses_is_noticed():
    with socket.create_server(("0.0.0.0", 0)) as holder, pytest.raises(MisconfiguredError, match="is taken"):
        require_free(holder.getsockname()[1], "the demo channel", "DEMO_PORT")

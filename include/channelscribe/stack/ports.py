"""Ports on loopback: whether one is free, and who holds it."""

import random
import socket
from contextlib import suppress

import psutil

from channelscribe.errors import MisconfiguredError

LOOPBACK = "127.0.0.1"


def require_free(port: int, purpose: str, variable: str) -> None:
    """Check that a port can be listened on.

    Args:
        port: the port.
        purpose: what it is for, as words.
        variable: the make variable by which another port is chosen.

    Raises:
        MisconfiguredError: the port is taken; the text names its holder where that is known.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            raise MisconfiguredError(
                f"Port {port} for {purpose} is taken{_holder(port)}: stop that, "
                f"or choose another port, as in `make demo {variable}={port + 1}`."
            ) from None


def free_port() -> int:
    """A port that nobody listens on at the moment.

    Below those that connections get by themselves: such a one may take the port before the server does.

    Raises:
        OSError: none was found.
    """
    for port in random.sample(range(20_000, 32_000), 200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise OSError("no port is free")


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""

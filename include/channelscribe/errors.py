"""The ways a stage can end, as exceptions, with the exit codes of sysexits(3) that stand for them.

| code | name | meaning | what Airflow does |
| --- | --- | --- | --- |
| 0 | done | the artifact is there | success |
| 64 | usage | the command line is wrong | fails, no retry |
| 65 | bad input | the input is bad and stays bad | fails, no retry |
| 70 | internal error | a fault in the program or a library | retries |
| 75 | try again | a network, memory or disk fault that may pass | retries |
| 78 | misconfigured | a model, a device or an earlier stage is missing | fails, no retry |
| 99 | nothing to do | no speech: the artifact is there and empty | skips |
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from channelscribe.contracts import Availability


class ExitCode(IntEnum):
    """Exit codes of the stage programs; see the table in this module's docstring."""

    DONE = 0
    USAGE = 64
    BAD_INPUT = 65
    INTERNAL_ERROR = 70
    TRY_AGAIN = 75
    MISCONFIGURED = 78
    NOTHING_TO_DO = 99


class ChannelscribeError(Exception):
    """An expected failure. Its text is one sentence for people, with the remedy where there is one."""

    exit_code: ExitCode = ExitCode.INTERNAL_ERROR


class BadInputError(ChannelscribeError):
    """The input is bad and stays bad: a retry would fail the same way."""

    exit_code = ExitCode.BAD_INPUT


class UnavailableError(BadInputError):
    """The site does not hand an item out; ``availability`` says why, as in `contracts.Availability`."""

    def __init__(self, text: str, availability: "Availability") -> None:
        super().__init__(text)
        self.availability: Availability = availability


class TryAgainError(ChannelscribeError):
    """Something outside failed that may work later: the network, memory, a full disk."""

    exit_code = ExitCode.TRY_AGAIN


class RateLimitedError(TryAgainError):
    """The site asks for patience, with whatever comes from this machine: the whole channel waits."""


class MisconfiguredError(ChannelscribeError):
    """The installation is wrong: a model, a device, a service or an earlier stage is missing."""

    exit_code = ExitCode.MISCONFIGURED

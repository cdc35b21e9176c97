"""What is wrong, in words: the kinds of alerts."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "run_late",
    "stage_slow",
    "run_failed",
    "video_failed",
    "poll_failed",
    "channel_silent",
    "disk_low",
    "backlog_growing",
]


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong.

    Args:
        kind: what kind of thing.
        subject: what it is about. While it goes on it is recorded once, however often it is noticed: for what is of
            one run, the subject begins with the run.
        title: what is wrong, in a few words.
        lines: the rest: sentences for people.
        link: page of the UI that shows it, or nothing.
        run_id: the run in which it was noticed, with its DAG (`Run.name`); those of one kind and run make one message.
    """

    kind: Kind
    subject: str
    title: str
    lines: tuple[str, ...] = ()
    link: str = ""
    run_id: str | None = None

"""The log of a stage program: plain lines, each with the stage and the video at work, written as they come."""

import io
import logging
import sys


class PlainFormatter(logging.Formatter):
    """Puts time, level, stage and video before every line, those of tracebacks and of other libraries included.

    Args:
        stage: name of the stage.
    """

    def __init__(self, stage: str) -> None:
        super().__init__("%(message)s")
        self._stage = stage
        self.video_id: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, or as many as it has."""
        origin = f"{self._stage} {self.video_id}" if self.video_id else self._stage
        start = f"{self.formatTime(record)} {record.levelname} {origin}: "
        return "\n".join(start + line for line in super().format(record).splitlines() or [""])


_formatter: PlainFormatter | None = None


def start_logging(stage: str) -> None:
    """Send this process's log to standard output, line by line."""
    global _formatter
    _formatter = PlainFormatter(stage)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What libraries print would wait in a buffer, and come out of order.
            stream.reconfigure(line_buffering=True)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)


def at_work_on(video_id: str | None) -> None:
    """Name the video in all lines from now on; None for no video."""
    if _formatter:
        _formatter.video_id = video_id

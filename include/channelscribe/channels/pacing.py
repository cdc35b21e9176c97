"""Spreads the videos that a site is asked for over the hour, whatever runs, polls and processes ask for them."""

import fcntl
import logging
import math
import time
from pathlib import Path
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

_YOUTUBE = ("youtube.com", "youtu.be")


def wait_for_turn(folder: Path, url: str, per_hour: int, at_most_s: float = math.inf) -> float | None:
    """Wait until the next video of YouTube may be asked for; of other sites at once.

    YouTube answers guests for about 300 videos an hour and then refuses all of them for a while. A turn each so many
    seconds keeps below that without a count of what was fetched, and no burst at the start of the hour.

    Args:
        folder: where all processes of this installation note the next turn.
        url: the video that is about to be downloaded or looked up.
        per_hour: videos an hour.
        at_most_s: seconds to wait.

    Returns:
        The seconds that were waited; None where the turn would come later than that: it is left to others.
    """
    host = urlsplit(url).hostname or ""
    if not any(host == site or host.endswith(f".{site}") for site in _YOUTUBE):
        return 0.0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "youtube").open("a+", encoding="ascii") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        now_s, step_s = time.time(), 3600 / per_hour
        try:
            turn_s = float(note.read())
        except ValueError:
            turn_s = now_s
        # A note of the far future is of a clock that was put back.
        turn_s = max(now_s, turn_s) if turn_s < now_s + 3600 else now_s
        if turn_s - now_s > at_most_s:
            return None
        note.truncate(0)
        note.write(str(turn_s + step_s))
    if turn_s > now_s:
        logger.info("Waiting %.0f s for the next turn at %s.", turn_s - now_s, host)
        time.sleep(turn_s - now_s)
    return turn_s - now_s

"""The hours in which nobody is told anything."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)(?:\s+(\S+))?")


@dataclass(frozen=True)
class QuietHours:
    """A span of every day, which may go over midnight.

    Args:
        first: when it begins.
        last: when it ends; the first moment that is no longer quiet.
        zone: whose clock it goes by.
    """

    first: time
    last: time
    zone: tzinfo

    def has(self, moment: datetime) -> bool:
        """Whether a moment, with its time zone, is within."""
        clock = moment.astimezone(self.zone).time()
        if self.first < self.last:
            return self.first <= clock < self.last
        return clock >= self.first or clock < self.last


def parse_quiet_hours(text: str) -> QuietHours:
    """Read ``22:00-07:00``, or ``22:00-07:00 Europe/Berlin``; in UTC without a zone.

    Raises:
        ValueError: it is something else, or nobody knows the zone.
    """
    found = _FORM.fullmatch(text.strip())
    try:
        if not found:
            raise ValueError(text)
        first, last = (datetime.strptime(part, "%H:%M").time() for part in found.groups()[:2])
    except ValueError:
        raise ValueError("give two times of day, such as 22:00-07:00 or 22:00-07:00 Europe/Berlin") from None
    if first == last:
        raise ValueError("the two times of day are the same")
    zone = found[3]
    try:
        return QuietHours(first, last, ZoneInfo(zone) if zone else UTC)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {zone}: give one such as Europe/Berlin") from None

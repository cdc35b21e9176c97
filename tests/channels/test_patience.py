from datetime import timedelta
from pathlib import Path

import pytest

from channelscribe.channels import patience
from channelscribe.channels.patience import forget_refusals, note_refusal, require_patience
from channelscribe.errors import RateLimitedError
from channelscribe.workspace import now

CHANNEL, OTHER = "https://example.org/feed", "https://example.org/other"


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self):
        return now() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patience, "now", clock)
    return clock


def test_a_channel_that_was_refused_waits_and_others_do_not(tmp_path: Path, clock: Clock) -> None:
    require_patience(tmp_path, CHANNEL)
    note_refusal(tmp_path, CHANNEL, "Too many requests.")
    with pytest.raises(RateLimitedError, match=r"feed is not asked before .* UTC, as the site wants it: Too many"):
        require_patience(tmp_path, CHANNEL)
    require_patience(tmp_path, OTHER)
    clock.ahead = timedelta(hours=1, seconds=1)
    require_patience(tmp_path, CHANNEL)


def test_it_waits_twice_as_long_each_time_until_it_is_given_something(tmp_path: Path, clock: Clock) -> None:
    for hours in (1, 2, 4, 8, 16, 24, 24):
        note_refusal(tmp_path, CHANNEL, "Too many requests.")
        note_refusal(tmp_path, CHANNEL, "Another download of the same moment.")
        clock.ahead += timedelta(hours=hours, minutes=-1)
        with pytest.raises(RateLimitedError, match="Too many"):
            require_patience(tmp_path, CHANNEL)
        clock.ahead += timedelta(minutes=2)
        require_patience(tmp_path, CHANNEL)
    forget_refusals(tmp_path, CHANNEL)
    note_refusal(tmp_path, CHANNEL, "Too many requests.")
    clock.ahead += timedelta(hours=1, minutes=1)
    require_patience(tmp_path, CHANNEL)


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    note_refusal(tmp_path, CHANNEL, "Too many requests.")
    (note,) = tmp_path.iterdir()
    note.write_text("{")
    require_patience(tmp_path, CHANNEL)

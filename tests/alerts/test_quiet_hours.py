from datetime import UTC, datetime

import pytest

from channelscribe.alerts.quiet_hours import parse_quiet_hours


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 7, 1, hour, minute, tzinfo=UTC)


def test_a_span_of_the_day() -> None:
    quiet = parse_quiet_hours("12:30-14:00")
    assert [quiet.has(at(*moment)) for moment in [(12, 29), (12, 30), (13, 59), (14, 0)]] == [False, True, True, False]


def test_a_span_over_midnight() -> None:
    quiet = parse_quiet_hours("22:00-07:00")
    assert [quiet.has(at(hour)) for hour in (21, 22, 23, 0, 6, 7)] == [False, True, True, True, True, False]


def test_the_clock_of_a_zone() -> None:
    quiet = parse_quiet_hours(" 22:00 - 7:00 Europe/Berlin")  # in July two hours ahead
    assert [quiet.has(at(hour)) for hour in (19, 20, 4, 5)] == [False, True, True, False]


@pytest.mark.parametrize("text", ["", "22-7", "22:00", "25:00-07:00", "22:60-07:00", "night", "22:00-07:00 UTC x"])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 22:00-07:00"):
        parse_quiet_hours(text)


@pytest.mark.parametrize("zone", ["Europe/Berlyn", "../etc/passwd", "/etc"])
def test_a_zone_that_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        parse_quiet_hours(f"22:00-07:00 {zone}")


def test_no_span_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="the same"):
        parse_quiet_hours("07:00-07:00")

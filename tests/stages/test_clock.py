import subprocess
import sys
import time

import pytest

from channelscribe.stages.clock import Clock, process_age_s, start_up


def test_age_of_a_process_is_right_to_a_fraction_of_a_second() -> None:
    program = (
        "import time; from channelscribe.stages.clock import process_age_s; time.sleep(0.5); print(process_age_s())"
    )
    started = time.monotonic()
    age_s = float(subprocess.check_output([sys.executable, "-c", program], text=True))
    assert 0.5 <= age_s <= time.monotonic() - started + 0.02


def test_without_a_container_there_is_no_such_part() -> None:
    assert set(start_up({}).seconds) == {"start"}
    assert set(start_up({"CHANNELSCRIBE_STARTED_AT": "yesterday"}).seconds) == {"start"}


def test_a_container_took_the_time_until_the_process_began() -> None:
    asked_at = time.time() - process_age_s() - 3.0
    seconds = start_up({"CHANNELSCRIBE_STARTED_AT": f"{asked_at:.3f}"}).seconds
    assert seconds["container"] == pytest.approx(3.0, abs=1)
    assert seconds["start"] == pytest.approx(process_age_s(), abs=0.5)


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    assert start_up({"CHANNELSCRIBE_STARTED_AT": str(time.time() + 60)}).seconds["container"] == 0.0


def test_parts_add_up_and_count_what_fails() -> None:
    clock = Clock()
    for _ in range(2):
        with pytest.raises(KeyError), clock.part("work"):
            time.sleep(0.02)
            raise KeyError
    assert clock.seconds["work"] >= 0.04

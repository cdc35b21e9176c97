from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from channelscribe.channels import pacing
from channelscribe.channels.pacing import wait_for_turn

VIDEO = "https://www.youtube.com/watch?v=a"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def test_turns_are_spread_over_the_hour(clock: Clock, tmp_path: Path) -> None:
    start_s = clock.now_s
    waits = [wait_for_turn(tmp_path, VIDEO, 300) for _ in range(301)]
    assert waits[:2] == [0.0, pytest.approx(12.0)]
    assert clock.now_s - start_s == pytest.approx(3600.0)


def test_after_a_pause_nobody_waits_and_no_burst_is_saved_up(clock: Clock, tmp_path: Path) -> None:
    wait_for_turn(tmp_path, VIDEO, 300)
    clock.now_s += 600
    assert wait_for_turn(tmp_path, "https://youtu.be/b", 300) == 0.0
    assert wait_for_turn(tmp_path, "https://m.youtube.com/watch?v=c", 300) == pytest.approx(12.0)


def test_other_sites_have_no_turns(clock: Clock, tmp_path: Path) -> None:
    for url in ("https://example.org/a.mp3", "https://notyoutube.com/a", "https://youtube.com.example.org/a"):
        assert wait_for_turn(tmp_path, url, 1) == wait_for_turn(tmp_path, url, 1) == 0.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["", "nonsense", "9e99", "nan"])
def test_a_broken_note_stops_nobody(clock: Clock, tmp_path: Path, note: str) -> None:
    (tmp_path / "youtube").write_text(note)
    assert wait_for_turn(tmp_path, VIDEO, 300) == 0.0
    assert wait_for_turn(tmp_path, VIDEO, 300) == pytest.approx(12.0)


def _turn(folder: Path) -> float:
    import time

    wait_for_turn(folder, VIDEO, 36_000)
    return time.time()


def test_processes_take_turns(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        turns: list[Any] = sorted(pool.map(_turn, [tmp_path] * 8))
    assert turns[-1] - turns[0] >= 0.6  # seven steps of 0.1 s, less what the clock and the sleeping are off by

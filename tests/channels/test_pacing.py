from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from channelscribe.channels import pacing, polling
from channelscribe.channels.pacing import wait_for_turn
from channelscribe.contracts import ListedVideo, Video
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

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


def test_a_turn_that_is_too_far_away_is_left_to_others(clock: Clock, tmp_path: Path) -> None:
    start_s = clock.now_s
    assert wait_for_turn(tmp_path, VIDEO, 300, at_most_s=0) == 0.0
    assert wait_for_turn(tmp_path, VIDEO, 300, at_most_s=11) is None
    assert clock.now_s == start_s
    assert wait_for_turn(tmp_path, VIDEO, 300, at_most_s=13) == pytest.approx(12.0)


def test_look_ups_take_turns_and_the_rest_is_left_for_a_later_poll(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("CHANNELSCRIBE_YOUTUBE_VIDEOS_PER_HOUR", "300")
    get_settings.cache_clear()
    asked: list[float] = []

    def look_up(video: Video) -> ListedVideo:
        asked.append(clock.now_s)
        return ListedVideo(video=video)

    def videos(url: str) -> list[Video]:
        fields = {"source_id": "a", "url": url, "title": "A", "channel_url": url, "channel_title": "C"}
        return [Video(video_id=f"v{number:02}", **fields) for number in range(60)]

    monkeypatch.setattr(polling, "look_up", look_up)
    start_s = clock.now_s
    wait_for_turn(Workspace(tmp_path).turns, VIDEO, 300)
    answers = polling.look_up_all(videos(VIDEO))
    assert [moment - start_s for moment in asked] == pytest.approx([12.0 * turn for turn in range(1, 26)])
    assert len(answers.found) == 25 and not answers.unanswered and answers.refusal is None
    assert len(polling.look_up_all(videos("https://example.org/a.mp3")).found) == 60
    assert clock.now_s == asked[-1]


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

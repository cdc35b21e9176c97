"""The record of alerts, and their way to real targets."""

import threading
from contextlib import closing

import pytest

from channelscribe.alerts.alert import Alert
from channelscribe.store.connection import connect
from channelscribe.store.runs.alerts import raise_alerts, recent_alerts, settle, tell

TARGETS = ("mail", "chat")


def slow(stage: str, run_id: str = "run1") -> Alert:
    return Alert("stage_slow", f"{run_id} {stage} 0", f"{stage} is slow", ("Since long.",), "http://ui", run_id)


def poll(channel: str, run_id: str = "run1") -> Alert:
    return Alert("poll_failed", channel, f"{channel} could not be polled", ("It is gone.",), "", run_id)


class Sent:
    """Takes messages, or fails."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.failure: str | None = None

    def __call__(self, alerts) -> str | None:
        if self.failure is None:
            self.groups.append([alert.title for alert in alerts])
        return self.failure


@pytest.fixture
def sent() -> Sent:
    return Sent()


def test_what_goes_on_is_recorded_and_told_once(archive, sent) -> None:
    assert raise_alerts(archive, [slow("diarize"), slow("transcribe")], TARGETS) == 2
    assert raise_alerts(archive, [slow("diarize")], TARGETS) == 0
    assert tell(archive, "mail", sent) == 1
    assert tell(archive, "mail", sent) == 0
    assert sent.groups == [["diarize is slow", "transcribe is slow"]]


def test_every_target_is_told_by_itself_and_who_got_it_when_is_kept(archive, sent) -> None:
    raise_alerts(archive, [slow("diarize")], TARGETS)
    tell(archive, "mail", sent)
    sent.failure = "down"
    assert tell(archive, "chat", sent) == 0
    (one,) = recent_alerts(archive, 10)
    assert one.alert == slow("diarize")
    assert list(one.told) == ["mail"] and one.told["mail"] >= one.raised_at
    assert one.untold == {"chat": "down"}
    sent.failure = None
    assert tell(archive, "chat", sent) == 1
    assert set(recent_alerts(archive, 10)[0].told) == set(TARGETS)


def test_one_message_for_a_run_and_kind(archive, sent) -> None:
    raise_alerts(archive, [slow("diarize"), slow("diarize", "run2"), poll("a"), poll("b")], TARGETS)
    assert tell(archive, "mail", sent) == 3
    assert sorted(sent.groups) == [
        ["a could not be polled", "b could not be polled"], ["diarize is slow"], ["diarize is slow"],
    ]  # fmt: skip
    # The run was told of: what is slow in it besides is recorded, and is no news.
    assert raise_alerts(archive, [slow("transcribe")], TARGETS) == 1
    assert tell(archive, "mail", sent) == 0
    raise_alerts(archive, [slow("transcribe", "run3")], TARGETS)
    assert tell(archive, "mail", sent) == 1


def test_after_a_failure_the_rest_waits(archive, sent) -> None:
    raise_alerts(archive, [slow("diarize"), poll("a")], TARGETS)
    calls = []
    assert tell(archive, "mail", lambda alerts: calls.append(alerts) or "down") == 0
    assert len(calls) == 1
    assert tell(archive, "mail", sent) == 2


def test_what_is_over_is_not_told_and_can_be_raised_anew(archive, sent) -> None:
    assert settle(archive, "poll_failed", [poll("a"), poll("b")], TARGETS, ["a", "b"]) == 2
    assert settle(archive, "poll_failed", [poll("b")], TARGETS, ["a", "b"]) == 0
    tell(archive, "mail", sent)
    assert sent.groups == [["b could not be polled"]]
    assert settle(archive, "poll_failed", [poll("a", "run2")], TARGETS, ["a"]) == 1
    ended = {one.alert.subject: one.ended_at for one in recent_alerts(archive, 10)[1:]}
    assert ended["a"] is not None
    assert ended["b"] is None  # it was not looked at
    assert settle(archive, "poll_failed", [], TARGETS, None) == 0
    assert all(one.ended_at for one in recent_alerts(archive, 10))


def test_alerts_of_no_run_are_told_each_time_anew(archive, sent) -> None:
    disk = Alert("disk_low", "/data", "The disk is nearly full")
    for _ in range(2):
        settle(archive, "disk_low", [disk], TARGETS, None)
        settle(archive, "disk_low", [disk], TARGETS, None)
        tell(archive, "mail", sent)
        settle(archive, "disk_low", [], TARGETS, None)
    assert sent.groups == [["The disk is nearly full"]] * 2


def test_a_target_that_is_set_later_gets_what_comes_later(archive, sent) -> None:
    raise_alerts(archive, [slow("diarize")], ["mail"])
    assert tell(archive, "chat", sent) == 0


def test_what_could_not_be_told_for_days_is_no_news(archive, sent) -> None:
    raise_alerts(archive, [slow("diarize")], TARGETS)
    with archive, archive.cursor() as cursor:
        cursor.execute("UPDATE alerts SET raised_at = now() - interval '4 days'")
    assert tell(archive, "mail", sent) == 0


def test_two_senders_at_once_tell_it_once(archive, archive_dsn, sent) -> None:
    raise_alerts(archive, [slow("diarize")], TARGETS)
    is_sending, go_on = threading.Event(), threading.Event()

    def slowly(alerts) -> None:
        is_sending.set()
        assert go_on.wait(20)
        return sent(alerts)

    with closing(connect(archive_dsn)) as other:
        first = threading.Thread(target=tell, args=(archive, "mail", slowly))
        first.start()
        assert is_sending.wait(20)
        # A second stage of the run becomes slow meanwhile; it belongs to the message that is under way.
        raise_alerts(other, [slow("transcribe")], TARGETS)
        second = threading.Thread(target=tell, args=(other, "mail", sent))
        second.start()
        second.join(0.5)
        assert second.is_alive(), "it did not wait for the first"
        go_on.set()
        first.join()
        second.join()
    assert sent.groups == [["diarize is slow"]]


def test_a_message_that_was_sent_is_on_record_although_the_sender_dies(archive, archive_dsn, sent) -> None:
    raise_alerts(archive, [slow("diarize"), poll("a")], TARGETS)

    def dies_at_the_second(alerts) -> str | None:
        if sent.groups:
            raise KeyboardInterrupt
        return sent(alerts)

    with closing(connect(archive_dsn)) as other, pytest.raises(KeyboardInterrupt):
        tell(other, "mail", dies_at_the_second)
    assert tell(archive, "mail", sent) == 1
    assert sorted(sent.groups) == [["a could not be polled"], ["diarize is slow"]]


def test_texts_of_sites_are_kept_as_far_as_postgres_can(archive) -> None:
    raise_alerts(archive, [Alert("video_failed", "v", "a\x00b'); DROP TABLE alerts --", ("c\x00",))], ["mail"])
    assert recent_alerts(archive, 1)[0].alert.title == "ab'); DROP TABLE alerts --"

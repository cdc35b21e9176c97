"""What waits goes to every target by itself, and not in quiet hours."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from channelscribe.alerts.alert import Alert
from channelscribe.alerts.conditions import raise_failed_run
from channelscribe.errors import MisconfiguredError
from channelscribe.settings import Settings
from channelscribe.store.runs.alerts import end_slow_run, raise_alerts, recent_alerts

pytest.importorskip("apprise", reason="it is in Airflow's environment")

from channelscribe.alerts.delivery import deliver, try_out

NOWHERE = "json://127.0.0.1:1/"


@pytest.fixture
def settings(archive_dsn) -> Settings:
    return Settings(archive_dsn=archive_dsn, alert_targets=("down", "hook"), alert_quiet_hours=None)


@pytest.fixture
def url_of(webhook):
    urls = {"hook": webhook.url, "down": NOWHERE}

    def look_up(target: str) -> str:
        if target not in urls:
            raise MisconfiguredError(f"Airflow has no connection {target}.")
        return urls[target]

    return look_up


@pytest.fixture
def raised(archive, settings) -> None:
    raise_alerts(archive, [Alert("video_failed", "v", "A talk failed", ("No sound.",))], settings.alert_targets)


def hours_around_now(quiet: bool) -> str:
    now = datetime.now(UTC)
    first, last = (now - timedelta(hours=1), now + timedelta(hours=1)) if quiet else (
        now + timedelta(hours=1), now + timedelta(hours=2))  # fmt: skip
    return f"{first:%H:%M}-{last:%H:%M}"


def test_one_that_is_down_takes_nothing_from_the_others_and_is_told_later(
    archive, settings, url_of, raised, webhook
) -> None:
    assert deliver(settings, url_of) == 1
    assert webhook.titles == ["A talk failed"]
    (one,) = recent_alerts(archive, 1)
    assert list(one.told) == ["hook"]
    assert "Connection refused" in one.untold["down"]
    assert deliver(settings, lambda target: webhook.url) == 1
    assert webhook.titles == ["A talk failed"] * 2
    assert deliver(settings, lambda target: webhook.url) == 0


def test_a_target_without_a_connection_is_a_reason(archive, settings, url_of, raised, webhook) -> None:
    changed = settings.model_copy(update={"alert_targets": ("missing", "hook")})
    raise_alerts(archive, [Alert("poll_failed", "c", "It is gone")], changed.alert_targets)
    deliver(changed, url_of)
    assert recent_alerts(archive, 1)[0].untold == {"missing": "Airflow has no connection missing."}
    assert sorted(webhook.titles) == ["A talk failed", "It is gone"]


def test_quiet_hours_hold_messages_back_until_they_end(settings, url_of, raised, webhook) -> None:
    quiet = settings.model_copy(update={"alert_quiet_hours": hours_around_now(quiet=True)})
    assert deliver(quiet, url_of) == 0 and webhook.messages == []
    loud = settings.model_copy(update={"alert_quiet_hours": hours_around_now(quiet=False)})
    assert deliver(loud, url_of) == 1 and webhook.titles == ["A talk failed"]


def test_after_quiet_hours_what_is_over_is_not_told_and_a_failed_run_is_with_its_time(
    archive, settings, url_of, webhook
) -> None:
    quiet = settings.model_copy(update={"alert_quiet_hours": hours_around_now(quiet=True)})
    slow = Alert("stage_slow", "dag/1 diarize 0", "diarize is slow", run_id="dag/1")
    late = [Alert("run_late", run, f"{run} is late", run_id=run) for run in ("dag/1", "dag/2")]
    raise_alerts(archive, [slow, *late], settings.alert_targets)
    raise_failed_run(archive, settings, "dag/1", "There is no image.", "http://ui")
    deliver(quiet, url_of)
    end_slow_run(archive, "dag/1")
    deliver(settings, url_of)
    assert sorted(webhook.titles) == ["A run failed before it had any video", "dag/2 is late"]
    (failed,) = [one["message"] for one in webhook.messages if "There is no image." in one["message"]]
    assert re.search(r"The run dag/1 failed on \d{4}-\d\d-\d\d at \d\d:\d\d UTC\.", failed)


def test_a_test_message_goes_out_even_then(url_of, webhook) -> None:
    assert try_out("hook", url_of) is None
    assert webhook.titles == ["a test"]
    assert try_out("missing", url_of) == "Airflow has no connection missing."
    assert "Connection refused" in str(try_out("down", url_of))

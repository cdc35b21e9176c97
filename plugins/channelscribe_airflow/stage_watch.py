"""Looks at the clock while a stage is at work: past its budget, one alert, while it goes on."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from channelscribe.alerts.budgets import Budget, Usual, usual_of
from channelscribe.alerts.causes import NOT_BEGUN
from channelscribe.alerts.slow_stage import (
    LOOK_S,
    downloaded_bytes,
    likely_causes,
    slow_stage_alert,
    stage_budget,
    video_at_work,
)
from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import get_profile
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace, now
from channelscribe_airflow import alerting
from channelscribe_airflow.links import task_page

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedCall:
    """One call of a stage that is being watched.

    Args:
        stage: name of the stage.
        video_ids: the videos that it was given.
        profile: name of the profile.
        hard_limit: after which Airflow stops it.
        ti: its task instance.
    """

    stage: str
    video_ids: Sequence[str]
    profile: str
    hard_limit: timedelta
    ti: Any


@contextmanager
def watched(call: WatchedCall) -> Iterator[None]:
    """Watch a call of a stage, in a thread that can neither fail it nor hold it."""
    watch = _Watch()
    thread = threading.Thread(target=_watch, args=(call, now(), watch), name="stage-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.done.set()
        watch.end_alert()


class _Watch:
    """What the watch and the call know of each other: whether the call is done, and what was recorded of it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.recorded: str | None = None

    def end_alert(self) -> None:
        """Record that it is over, if it was recorded: nobody is to be told that the call still goes on."""
        from channelscribe.store.runs.alerts import settle

        if subject := self.recorded:
            alerting.record(lambda connection: settle(connection, "stage_slow", [], (), [subject]))


def _watch(call: WatchedCall, started: datetime, watch: _Watch) -> None:
    try:
        workspace, profile, settings = Workspace(get_settings().data_dir), get_profile(call.profile), get_settings()
        learned = learned_times(call.profile)
        budget = stage_budget(workspace, call.stage, call.video_ids, profile, learned, settings.alert_slow_factor)
        if watch.done.wait(max(0.0, budget.seconds - (now() - started).total_seconds())):
            return
        _tell(call, started, budget, usual_of(profile, call.stage, learned), watch)
    except Exception as error:  # noqa: BLE001 - a watch must not be what fails
        logger.warning("The stage is not watched: %s: %s", type(error).__name__, error)


def learned_times(profile: str) -> dict[str, Usual]:
    """What the stages took before with a profile; nothing where the archive can't be asked."""
    from channelscribe.store.connection import archive_dsn, connect
    from channelscribe.store.runs.stage_history import usual_times

    try:
        with closing(connect(archive_dsn(get_settings()))) as connection:
            return usual_times(connection, profile)
    except ChannelscribeError as error:
        logger.info("What stages take usually is not known: %s", error)
        return {}


def _tell(call: WatchedCall, started: datetime, budget: Budget, usual: Usual, watch: _Watch) -> None:
    # Here, as above, not at the top: the DAGs' files import this, and must be parsed fast.
    from channelscribe.store.claims import Run
    from channelscribe.store.runs.alerts import raise_alerts

    settings, profile = get_settings(), get_profile(call.profile)
    workspace = Workspace(settings.data_dir)
    causes = [NOT_BEGUN]
    if video_id := video_at_work(workspace, call.stage, call.video_ids, started):
        seen = downloaded_bytes(workspace, [video_id], profile)
        if call.stage == "fetch_audio" and watch.done.wait(LOOK_S):
            return
        causes = likely_causes(workspace, call.stage, video_id, profile, settings, usual, seen)
    alert = slow_stage_alert(
        workspace,
        call.stage,
        call.video_ids,
        budget=budget,
        causes=causes,
        started=started,
        hard_limit_s=call.hard_limit.total_seconds(),
        run_id=Run(call.ti.dag_id, call.ti.run_id).name,
        map_index=call.ti.map_index,
        link=task_page(call.ti.run_id, call.ti.task_id, call.ti.map_index, call.ti.dag_id),
    )
    for line in alert.lines:
        logger.warning("%s", line)
    alerting.record(lambda connection: raise_alerts(connection, [alert], settings.alert_targets))
    watch.recorded = alert.subject
    if watch.done.is_set():  # while it was being recorded: the call did not know of it
        watch.end_alert()
    alerting.deliver()

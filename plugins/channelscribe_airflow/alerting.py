"""What the DAGs do about alerts. Nothing in here fails a task, nor waits for a target while a run is going."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from channelscribe.errors import ChannelscribeError, MisconfiguredError
from channelscribe.settings import get_settings
from channelscribe.telemetry.report import RunReport
from channelscribe_airflow.links import run_page

# Where they are needed, and not here: the DAGs' files import this module, and must be parsed fast.
if TYPE_CHECKING:
    from channelscribe.store.connection import Connection

logger = logging.getLogger(__name__)


def record(work: "Callable[[Connection], int | None]") -> None:
    """Record in the archive what is wrong, or what is over; what goes wrong with it is logged.

    Args:
        work: records it, and returns how many alerts are new, if it raises any.
    """
    from channelscribe.store.connection import archive_dsn, connect

    try:
        with closing(connect(archive_dsn(get_settings()))) as connection:
            if n_new := work(connection):
                logger.info("%d new alerts are recorded", n_new)
    except Exception as error:  # noqa: BLE001 - an alert must not be what fails
        logger.warning("Alerts could not be recorded: %s: %s", type(error).__name__, error)


def record_run(dag_run: Any, report: RunReport) -> None:
    """Record what a run found wrong. It is told once the run is over, see `deliver_after_run`."""
    from channelscribe.alerts import conditions

    settings, link = get_settings(), run_page(dag_run.run_id, dag_run.dag_id)
    record(lambda connection: conditions.raise_run_alerts(connection, settings, report.run_id, report, link))


def record_failed_run(dag_run: Any, reason: str) -> None:
    """Record that a run ended before it had any video."""
    from channelscribe.alerts import conditions
    from channelscribe.store.claims import Run

    settings, link = get_settings(), run_page(dag_run.run_id, dag_run.dag_id)
    name = Run(dag_run.dag_id, dag_run.run_id).name
    record(lambda connection: conditions.raise_failed_run(connection, settings, name, reason, link))


def deliver() -> None:
    """Send the targets what waits for them. What does not get through waits for the next time."""
    settings = get_settings()
    if not settings.alert_targets:
        return
    try:
        from channelscribe.alerts import delivery

        delivery.deliver(settings, url_of)
    except Exception as error:  # noqa: BLE001 - an alert must not be what fails
        logger.warning("Alerts could not be sent: %s: %s", type(error).__name__, error)


def deliver_after_run(context: Any) -> None:
    """Callback of a DAG whose run is over, whichever way. Airflow calls it outside the run: nothing waits for it."""
    from channelscribe.store.claims import Run
    from channelscribe.store.runs.alerts import end_slow_run

    name = Run(context["dag"].dag_id, context["run_id"]).name
    record(lambda connection: end_slow_run(connection, name))
    deliver()


def deliver_after_failed_run(context: Any) -> None:
    """The same where the run failed. If the archive is down, which nothing can be recorded in, that is told at once."""
    from channelscribe.store.connection import archive_dsn, connect

    try:
        with closing(connect(archive_dsn(get_settings()))):
            pass
    except ChannelscribeError as error:
        _tell_without_archive(context["dag"].dag_id, context["run_id"], str(error))
    else:
        deliver_after_run(context)


def _tell_without_archive(dag_id: str, run_id: str, reason: str) -> None:
    from channelscribe.alerts import conditions, delivery
    from channelscribe.store.claims import Run

    title, link = "A run failed, and the archive can't be asked", run_page(run_id, dag_id)
    alert = conditions.failed_run(Run(dag_id, run_id).name, title, reason, link)
    delivery.tell_unrecorded(get_settings(), url_of, alert)


def check_and_deliver(ti: Any) -> None:
    """What the maintenance does: look at the disk, and whether slow runs have ended, and send what waits.

    Airflow calls nothing back of a run that somebody marks as failed, or deletes.
    """
    from channelscribe.alerts import conditions
    from channelscribe_airflow.claiming import is_at_work

    record(lambda connection: conditions.end_slow_runs(connection, is_at_work(ti)))
    record(lambda connection: conditions.raise_disk_alert(connection, get_settings()))
    deliver()


def url_of(target: str) -> str:
    """Apprise's URL of a target: the password of the Airflow connection of that name.

    The password, as Airflow encrypts it, masks it in logs, and takes nothing of it apart.

    Raises:
        MisconfiguredError: there is no such connection, or it has no password.
    """
    try:
        url = AirflowConnection.get(target).password
    except AirflowNotFoundException:
        raise MisconfiguredError(f"Airflow has no connection {target}: add it, with the URL as its password.") from None
    if not url:
        raise MisconfiguredError(f"Airflow's connection {target} has no password: put the URL of the target there.")
    return str(url)

"""Getting what waits to the targets: each by itself, so that one that is down takes nothing from the others."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

from channelscribe.alerts.alert import Alert
from channelscribe.alerts.message import Message, compose
from channelscribe.alerts.quiet_hours import parse_quiet_hours
from channelscribe.alerts.sending import send
from channelscribe.errors import ChannelscribeError
from channelscribe.settings import Settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.runs.alerts import tell
from channelscribe.workspace import now

logger = logging.getLogger(__name__)

# Looks up the URL of a target by its name. Raises ChannelscribeError where there is none.
UrlOf = Callable[[str], str]

TEST = Message("Channelscribe: a test", "This is what an alert looks like. Nothing is wrong.")


def is_quiet(settings: Settings) -> bool:
    """Whether these are hours in which nobody is told anything."""
    return settings.alert_quiet_hours is not None and parse_quiet_hours(settings.alert_quiet_hours).has(now())


def deliver(settings: Settings, url_of: UrlOf) -> int:
    """Send every target what waits for it, unless it is quiet; returns how many messages were sent.

    What does not get through stays for the next time, with its reason in the log and in the archive.

    Args:
        settings: the targets, the quiet hours and the archive.
        url_of: looks up a target's URL.

    Raises:
        ChannelscribeError: the archive can't be asked.
    """
    if not settings.alert_targets or is_quiet(settings):
        return 0
    n_sent = 0
    for target in settings.alert_targets:
        with closing(connect(archive_dsn(settings))) as connection:
            n_sent += tell(connection, target, lambda alerts, target=target: _send(target, url_of, alerts))  # type: ignore[misc]
    return n_sent


def tell_unrecorded(settings: Settings, url_of: UrlOf, alert: Alert) -> None:
    """Send every target an alert that can't be recorded, unless it is quiet. What does not get through is lost."""
    if is_quiet(settings):
        return
    for target in settings.alert_targets:
        _send(target, url_of, [alert])


def try_out(target: str, url_of: UrlOf) -> str | None:
    """Send a target a test message, quiet or not; returns why it could not be sent, or None."""
    try:
        return send(url_of(target), TEST)
    except ChannelscribeError as error:
        return str(error)


def _send(target: str, url_of: UrlOf, alerts: Sequence[Alert]) -> str | None:
    try:
        failure = send(url_of(target), compose(alerts))
    except ChannelscribeError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a service's own code does, it fails nothing here
        failure = f"{type(error).__name__}: {error}"
    if failure is None:
        logger.info("Told %s: %s", target, compose(alerts).title)
    else:
        logger.warning("%s could not be told: %s", target, failure)
    return failure

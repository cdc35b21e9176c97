"""Sends a test message to every target, and says what arrived.

    python -m channelscribe_airflow.alert_test

Run it where Airflow's own settings are, with plugins/ on the import path: `channelscribe alerts test` does.
"""

import sys

from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from channelscribe.alerts.delivery import is_quiet, try_out
from channelscribe.errors import MisconfiguredError
from channelscribe.settings import get_settings


def main() -> None:
    """Try out every target of the settings; exits with 1 if one did not take it."""
    settings, n_failed = get_settings(), 0
    for target in settings.alert_targets:
        failure = try_out(target, _url_of)
        n_failed += failure is not None
        print(f"{target}: {'it arrived' if failure is None else 'failed: ' + failure}", flush=True)
    if is_quiet(settings):
        print(f"These are quiet hours ({settings.alert_quiet_hours}): alerts wait for their end.")
    sys.exit(1 if n_failed else 0)


def _url_of(target: str) -> str:
    """As `alerting.url_of`, where there is no task whose process may ask for it."""
    try:
        url = Connection.get_connection_from_secrets(target).password
    except AirflowNotFoundException:
        raise MisconfiguredError(f"Airflow has no connection {target}: add it, with the URL as its password") from None
    if not url:
        raise MisconfiguredError(f"Airflow's connection {target} has no password: put the URL of the target there")
    return str(url)


if __name__ == "__main__":
    main()

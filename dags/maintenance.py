"""# maintenance

Removes what nothing needs any more, reports on runs that were stopped, and sends alerts that could not be sent before,
every hour.

**What it does.** `reap_containers` removes containers of stages whose task is no longer running: their task's process
was killed outright, with its machine out of memory, say, and a container goes on without it, on the GPU. It is there
with `CHANNELSCRIBE_RUNTIME=docker` only. `remove_unused_artifacts` removes artifacts that others took the place of (a
model or a parameter changed) and what killed attempts left, once they are older than `CHANNELSCRIBE_KEEP_DAYS`. What a
profile would still find, and what is in the archive, stays.

`report_stopped_runs` writes the report of runs that are over without one: somebody marked them as failed, and Airflow
skips their `report_run` then.

`send_alerts` looks whether the disk is nearly full and whether slow runs are over, and sends each target
(`CHANNELSCRIBE_ALERT_TARGETS`) what waits for it: as the target was down, or as it was quiet
(`CHANNELSCRIBE_ALERT_QUIET_HOURS`). See docs/alerts.md.

## Params

None.

## A re-run

Does what is left to do.

## When it fails

The log says why. An engine that does not answer is asked again an hour later. Nothing waits for this DAG; what it has
not removed takes memory and disk until it does. `send_alerts` is green although a target is down: its log says which,
and why.
"""

import logging
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task

from channelscribe.settings import get_settings
from channelscribe_airflow.outcomes import expected_errors

logger = logging.getLogger(__name__)

with DAG(
    "maintenance",
    description="Removes what nothing needs, reports on runs that were stopped, and sends alerts that wait.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    # It removes nothing that anybody waits for, and an orphan holds a GPU: on from the start.
    is_paused_upon_creation=False,
    tags=["channelscribe"],
    default_args={
        "owner": "channelscribe",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=10),
        "weight_rule": "upstream",
    },
) as dag:

    @task
    def reap_containers(ti=None) -> int:
        """Containers whose task is no longer running."""
        from channelscribe_airflow import maintenance

        with expected_errors():
            return maintenance.reap_containers(ti)

    @task
    def remove_unused_artifacts() -> int:
        """Artifacts that nothing uses."""
        from channelscribe_airflow import maintenance

        with expected_errors():
            return maintenance.remove_unused_artifacts()

    @task
    def report_stopped_runs(ti=None) -> int:
        """Runs that are over, and of which the archive does not know it."""
        from channelscribe_airflow import stopped_runs

        with expected_errors():
            return stopped_runs.report_stopped_runs(ti)

    @task(retries=0, trigger_rule="all_done")
    def send_alerts(ti=None) -> None:
        """What waits to be told."""
        from channelscribe_airflow import alerting

        alerting.check_and_deliver(ti)

    if get_settings().runtime == "docker":
        reap_containers()
    remove_unused_artifacts()
    report_stopped_runs() >> send_alerts()

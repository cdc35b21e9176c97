"""Applies an airflow_settings.yaml (the Astro CLI's format) to this Airflow: pools, connections, variables.

    python -m channelscribe_airflow.apply_settings airflow_settings.yaml

What the file names is made, or changed to what the file says; everything else stays. All or nothing: a bad file changes
nothing. Run it where Airflow's own settings are, with plugins/ on the import path.
"""

import sys
from pathlib import Path

from channelscribe.airflow_settings import AirflowSettings, read_settings
from channelscribe.errors import BadInputError


def apply_settings(settings: AirflowSettings) -> None:
    """Write pools, connections and variables into Airflow's database, in one transaction."""
    from airflow.models import Connection, Pool, Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        for pool in settings.pools:
            Pool.create_or_update_pool(
                pool.pool_name, pool.pool_slot, pool.pool_description, include_deferred=False, session=session
            )
        for entry in settings.connections:
            values = entry.model_dump(exclude_none=True)
            session.execute(delete(Connection).where(Connection.conn_id == entry.conn_id))
            session.add(Connection(**{k if k == "conn_id" or k == "conn_type" else k[5:]: values[k] for k in values}))
        for variable in settings.variables:
            Variable.set(variable.variable_name, variable.variable_value, session=session)


def main() -> None:
    """Apply the file named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m channelscribe_airflow.apply_settings airflow_settings.yaml")
    try:
        settings = read_settings(Path(sys.argv[1]))
    except BadInputError as error:
        sys.exit(f"apply_settings: {error}")
    apply_settings(settings)
    print(
        f"Applied {len(settings.pools)} pools, {len(settings.connections)} connections "
        f"and {len(settings.variables)} variables."
    )


if __name__ == "__main__":
    main()

"""Applies an airflow_settings.yaml (the Astro CLI's format) to this Airflow: pools, connections, variables.

    python -m channelscribe_airflow.apply_settings airflow_settings.yaml

What the file names is made, or changed to what the file says; everything else stays. All or nothing: a bad file changes
nothing. Run it where Airflow's own settings are, with plugins/ on the import path.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from channelscribe.errors import BadInputError


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Pool(_Entry):
    pool_name: str = Field(min_length=1)
    pool_slot: int = Field(ge=-1)
    pool_description: str = ""


class _Connection(_Entry):
    conn_id: str = Field(min_length=1)
    conn_type: str | None = None
    conn_host: str | None = None
    conn_schema: str | None = None
    conn_login: str | None = None
    conn_password: str | None = None
    conn_port: int | None = None
    conn_uri: str | None = None
    conn_extra: str | dict[str, JsonValue] | None = None


class _Variable(_Entry):
    variable_name: str = Field(min_length=1)
    variable_value: str


class AirflowSettings(_Entry):
    """The contents of the file below its one key ``airflow``."""

    pools: list[_Pool] = []
    connections: list[_Connection] = []
    variables: list[_Variable] = []


def read_settings(path: Path) -> AirflowSettings:
    """Read and check the file.

    Raises:
        BadInputError: it is missing, is no YAML, or holds something else.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInputError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict) or set(content) != {"airflow"}:
        raise BadInputError(f"{path} has to hold one key, `airflow`, with pools, connections, variables.")
    try:
        # The Astro CLI leaves empty lists out, or writes them as nothing at all.
        return AirflowSettings.model_validate({k: v for k, v in (content["airflow"] or {}).items() if v is not None})
    except (ValidationError, AttributeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "It is not a mapping"}
        where = ".".join(str(part) for part in ("airflow", *first["loc"]))
        raise BadInputError(f"{path}: {where}: {first['msg']}.") from None


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

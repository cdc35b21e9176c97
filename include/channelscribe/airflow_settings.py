"""airflow_settings.yaml, in the Astro CLI's format: the pools, connections and variables of the local Airflow."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from channelscribe.errors import BadInputError
from channelscribe.settings import PROJECT_ROOT

SETTINGS_FILE = PROJECT_ROOT / "airflow_settings.yaml"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pool(_Entry):
    """A pool."""

    pool_name: str = Field(min_length=1)
    pool_slot: int = Field(ge=-1)
    pool_description: str = ""


class Connection(_Entry):
    """A connection."""

    conn_id: str = Field(min_length=1)
    conn_type: str | None = None
    conn_host: str | None = None
    conn_schema: str | None = None
    conn_login: str | None = None
    conn_password: str | None = None
    conn_port: int | None = None
    conn_uri: str | None = None
    conn_extra: str | dict[str, JsonValue] | None = None


class Variable(_Entry):
    """A variable."""

    variable_name: str = Field(min_length=1)
    variable_value: str


class AirflowSettings(_Entry):
    """The contents of the file below its one key ``airflow``."""

    pools: list[Pool] = []
    connections: list[Connection] = []
    variables: list[Variable] = []


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

"""Says by its exit code whether a part of Airflow is well, as the API server has it.

    python healthcheck.py api-server|scheduler|triggerer|dag-processor

Asking the API server takes a tenth of a second; `airflow jobs check` takes several seconds of a core, every time.
"""

import json
import sys
from urllib.request import urlopen

URL = "http://{host}:8080/api/v2/monitor/health"
# Where tasks report. It is made at its first call, which so comes before that of a task.
TASKS_URL = "http://127.0.0.1:8080/execution/health"
HEALTH = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "triggerer": "triggerer",
    "dag-processor": "dag_processor",
}


def main() -> None:
    """Exit with 1 and a line if the part is not well."""
    part = sys.argv[1]
    host = "127.0.0.1" if part == "api-server" else "api-server"
    try:
        if part == "api-server":
            urlopen(TASKS_URL, timeout=8).close()
        with urlopen(URL.format(host=host), timeout=8) as response:  # noqa: S310 - our own address
            status = json.load(response)[HEALTH[part]]["status"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{part}: {error!r}")
    if status != "healthy":
        sys.exit(f"{part} is {status}")


if __name__ == "__main__":
    main()

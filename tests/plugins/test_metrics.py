"""A run's figures as Airflow's own metrics, sent to real listeners by Airflow's own settings."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from channelscribe.profiles import STAGES
from channelscribe.settings import PROJECT_ROOT

pytestmark = pytest.mark.airflow

EXPECTED = {
    "run.audio_hours": 2.0,
    "run.rtfx": 12.0,
    "run.audio_hours_per_hour": 2.0,
    "run.loaded": 2.0,
    "run.failed": 1.0,
    "run.failed_channels": 0.0,
    "run.backlog": 5.0,
    "run.gpu_busy_share": 0.5,
    "run.energy_wh": 100.0,
    "stage.diarize.rtfx": 12.0,
    "stage.diarize.gpu_busy_share": 0.75,
}


def send(tmp_path: Path, **settings: str) -> str:
    """Send metrics with settings of Airflow's; returns what the process said."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT_ROOT / "plugins"),
        "NO_PROXY": "127.0.0.1",
        **settings,
    }
    program = Path(__file__).with_name("metrics_program.py")
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout + done.stderr


def test_statsd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        port = str(server.getsockname()[1])
        send(
            tmp_path, AIRFLOW__METRICS__STATSD_ON="True", AIRFLOW__METRICS__STATSD_HOST="127.0.0.1",
            AIRFLOW__METRICS__STATSD_PORT=port,
        )  # fmt: skip
        server.setblocking(False)
        found = []
        try:
            while True:
                found.append(server.recv(65535).decode())
        except BlockingIOError:
            pass
    lines = dict(line.removeprefix("airflow.channelscribe.").split(":") for line in found)
    assert {name: float(value.removesuffix("|g")) for name, value in lines.items() if value.endswith("|g")} == EXPECTED
    assert lines["stage.diarize.time"] == "600000.000000|ms"
    assert lines["run.time"] == "3600000.000000|ms"
    assert lines["failures.videos"] == "1|c"


class Collector(BaseHTTPRequestHandler):
    """Takes what OpenTelemetry sends."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_opentelemetry_collector_is_told(tmp_path: Path) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        send(
            tmp_path, AIRFLOW__METRICS__OTEL_ON="True", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
        )  # fmt: skip
        server.shutdown()
    gauges, others = {}, {}
    for path, body in server.bodies:
        assert path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                name = metric.name.removeprefix("airflow.channelscribe.")
                if metric.HasField("gauge"):
                    (point,) = metric.gauge.data_points
                    gauges[name] = point.as_double or float(point.as_int)
                    assert [(tag.key, tag.value.string_value) for tag in point.attributes] == [
                        ("dag_id", "channel_ingest")
                    ]
                elif metric.HasField("sum"):
                    others[name] = metric.sum.data_points[0].as_int
                else:
                    others[name] = getattr(metric, metric.WhichOneof("data")).data_points[0].sum
    assert gauges == EXPECTED
    assert others == {"stage.diarize.time": 600_000.0, "run.time": 3_600_000.0, "failures.videos": 1}


def test_without_settings_nothing_is_sent_and_nothing_is_said(tmp_path: Path) -> None:
    assert "could not be sent" not in send(tmp_path)


def test_a_collector_that_is_down_fails_nothing(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    send(tmp_path, AIRFLOW__METRICS__OTEL_ON="True", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((PROJECT_ROOT / "docker" / "grafana" / "channelscribe.json").read_text())
    asked = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    names = {f"airflow_channelscribe_{name.replace('.', '_')}" for name in (*EXPECTED, "stage.diarize.texts_per_s")}
    names |= {name.replace("diarize", stage) for name in names for stage in (*STAGES, "load")}
    assert asked and asked - names == set()

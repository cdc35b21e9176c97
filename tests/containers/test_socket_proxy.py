"""The proxy before a real engine: what the operator calls passes, all else gets 403."""

import http.client
import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import suppress

import pytest

from channelscribe.settings import PROJECT_ROOT

docker = pytest.importorskip("docker", reason="docker-py is in Airflow's environment")

CONFIGURATION = PROJECT_ROOT / "docker" / "socket-proxy.cfg"


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


@pytest.fixture(scope="module")
def proxy(engine, require, tmp_path_factory):
    """Path of the proxy's socket."""
    tmp_path = tmp_path_factory.mktemp("proxy")
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        require("haproxy is not installed")
    text = CONFIGURATION.read_text(encoding="utf-8")
    path = tmp_path / "proxy.sock"
    for there, here in (("/run/channelscribe/docker.sock", str(path)), ("/var/run/docker.sock", engine_socket())):
        assert f"unix@{there}" in text
        text = text.replace(f"unix@{there}", f"unix@{here}")
    (tmp_path / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(
        [shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"), "-f", str(tmp_path / "haproxy.cfg")],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield str(path)
    process.terminate()
    process.wait(10)


@pytest.fixture
def client(proxy):
    """docker-py behind the proxy."""
    result = docker.APIClient(base_url=f"unix://{proxy}", version="auto", timeout=20)
    yield result
    result.close()


@pytest.fixture
def container(client, small_image):
    """Makes containers through the proxy, and removes them."""
    made = []

    def make(script: str) -> str:
        config = client.create_host_config(network_mode="none")
        made.append(
            client.create_container(
                image=small_image, command=["sh", "-c", script], host_config=config, labels=["test"]
            )["Id"]
        )
        return made[-1]

    yield make
    for container_id in made:
        with suppress(docker.errors.NotFound):
            client.remove_container(container_id, force=True, v=True)


def engine_socket() -> str:
    return (os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock").removeprefix("unix://")


def status(proxy: str, method: str, path: str) -> int:
    connection = Unix(proxy)
    try:
        connection.request(
            method, path, body=b"{}" if method == "POST" else None, headers={"Content-Type": "application/json"}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_the_operator_calls_passes(client, container, small_image) -> None:
    assert client.ping() and client.version()["ApiVersion"] and client.info()["OSType"] == "linux"
    assert client.inspect_image(small_image)["Id"] == small_image
    container_id = container("echo out; sleep 1; echo err >&2; exit 75")
    lines = client.attach(container_id, stdout=True, stderr=True, stream=True)
    client.start(container_id)
    assert b"".join(lines) == b"out\nerr\n"
    assert client.wait(container_id)["StatusCode"] == 75
    assert client.inspect_container(container_id)["State"]["ExitCode"] == 75
    assert client.logs(container_id) == b"out\nerr\n"
    assert container_id in [found["Id"] for found in client.containers(all=True, filters={"label": "test"})]


def test_a_running_container_can_be_killed_stopped_and_removed(client, container) -> None:
    for end in (lambda one: client.kill(one), lambda one: client.stop(one, timeout=0)):
        container_id = container("sleep 60")
        client.start(container_id)
        end(container_id)
        assert client.wait(container_id)["StatusCode"] == 137
    client.remove_container(container_id, force=True, v=True)
    with pytest.raises(docker.errors.NotFound):
        client.inspect_container(container_id)


def test_an_image_named_by_its_digest_is_looked_up(proxy) -> None:
    assert status(proxy, "GET", f"/images/registry.example%3A5000/a/b@sha256:{'0' * 64}/json") == 403
    assert status(proxy, "GET", f"/images/registry.example:5000/a/b@sha256:{'0' * 64}/json") == 404
    assert status(proxy, "GET", f"/images/registry.example:5000/a/b%40sha256:{'0' * 64}/json") == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/ID/exec"),
        ("POST", "/exec/ID/start"),
        ("GET", "/exec/ID/json"),
        ("POST", "/build"),
        ("POST", "/images/create?fromImage=debian"),
        ("POST", "/images/load"),
        ("GET", "/images/json"),
        ("GET", "/images/debian/get"),
        ("DELETE", "/images/debian"),
        ("POST", "/commit?container=ID"),
        ("GET", "/volumes"),
        ("POST", "/volumes/create"),
        ("DELETE", "/volumes/postgres"),
        ("GET", "/networks"),
        ("POST", "/networks/create"),
        ("POST", "/networks/none/connect"),
        ("GET", "/secrets"),
        ("GET", "/events"),
        ("GET", "/system/df"),
        ("POST", "/swarm/init"),
        ("POST", "/plugins/pull"),
        ("POST", "/session"),
        ("GET", "/containers/ID/archive?path=/etc/shadow"),
        ("PUT", "/containers/ID/archive?path=/"),
        ("GET", "/containers/ID/export"),
        ("GET", "/containers/ID/top"),
        ("POST", "/containers/ID/update"),
        ("POST", "/containers/ID/rename?name=other"),
        ("POST", "/containers/ID/restart"),
        ("POST", "/containers/prune"),
        ("GET", "/containers/ID/attach/ws"),
        ("DELETE", "/containers/ID/json"),
        ("PUT", "/containers/ID/json"),
        ("POST", "/containers/ID/json"),
        ("GET", "/containers/ID/start"),
        ("POST", "/_ping"),
        ("GET", "/images/../volumes/json"),
        ("GET", "/images/a/../../volumes"),
        ("GET", "/images/%2e%2e/volumes/json"),
        ("POST", "/containers/ID%2Fexec"),
        ("GET", "//volumes"),
        ("GET", "/v1.41//volumes"),
        ("GET", "/v1.41/../volumes"),
        ("GET", "/metrics"),
        ("GET", "/"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/v1.41"])
def test_all_else_is_refused(proxy, method: str, path: str, prefix: str) -> None:
    assert status(proxy, method, prefix + path.replace("ID", uuid.uuid4().hex)) == 403


def test_docker_py_says_who_refused(client) -> None:
    with pytest.raises(docker.errors.APIError, match="the socket proxy does not allow this call"):
        client.volumes()


def test_only_its_user_reaches_the_socket(proxy) -> None:
    assert os.stat(proxy).st_mode & 0o777 == 0o600  # noqa: PTH116 - the path is a str

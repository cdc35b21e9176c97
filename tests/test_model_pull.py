"""Fetching models, by the hub's own library, from a server on this machine that answers as the hub does."""

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from channelscribe.model_files import RECORD, ModelRecord, git_blob_of, inspect
from channelscribe.model_registry import HubModel

pytestmark = pytest.mark.stages

REVISION = "5" * 40
# The hub's library writes by blocks of 10 MiB: what is to be cut in the middle must be larger.
BLOCK = 10 * 2**20
WEIGHTS = bytes(range(256)) * (24 * 2**20 // 256)
CONFIG = b'{"layers": 2}\n'

server = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hub_server.py"))))
sha256, git_blob, TOKEN = server.sha256, server.git_blob, server.TOKEN

# The program, with other models than those of the registry.
PROGRAM = """
import json, sys
from types import MappingProxyType
from channelscribe import model_registry
models = [model_registry.HubModel(**fields) for fields in json.loads(sys.argv[1])]
model_registry.MODELS = MappingProxyType({**model_registry.MODELS, **{model.name: model for model in models}})
from channelscribe import model_pull
model_pull.models_among = lambda names: models
sys.exit(model_pull.main(["--profile", "gpu"]))
"""


MODEL = HubModel(
    name="owner/small",
    revision=REVISION,
    profile="gpu",
    licence="MIT",
    size_mb=1,
    pinned={"sub/model.bin": sha256(WEIGHTS)},
    files=("*.json",),
)


@pytest.fixture
def hub() -> Iterator[SimpleNamespace]:
    with server.serve(server.FakeHub(MODEL.name, REVISION, {"sub/model.bin": WEIGHTS, "config.json": CONFIG})) as hub:
        yield hub


@dataclass
class Puller:
    """Starts the program with models' folder and hub of a test."""

    root: Path
    hub: SimpleNamespace

    def start(self, *models: HubModel, limit_bytes: int = 0, **environment: str) -> subprocess.Popen[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "CHANNELSCRIBE_"))}
        own = {
            "CHANNELSCRIBE_HOME": str(self.root.parent),
            "CHANNELSCRIBE_MODELS_ROOT": str(self.root),
            "HF_ENDPOINT": f"http://127.0.0.1:{self.hub.port}",
            "HF_HOME": str(self.root.parent / "hf"),
            "HF_HUB_OFFLINE": "1",  # as an importing of channelscribe.models leaves it
        }
        fields = json.dumps([asdict(model) for model in models or (MODEL,)])
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, fields],
            env={**plain, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes,) * 2)) if limit_bytes else None,
        )

    def __call__(self, *models: HubModel, **options) -> subprocess.CompletedProcess[str]:
        process = self.start(*models, **options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def folder(self) -> Path:
        return self.root / MODEL.folder

    @property
    def part(self) -> Path:
        return self.root / f"{MODEL.folder}.partial" / "sub" / "model.bin.part"


@pytest.fixture
def pull(tmp_path: Path, hub: SimpleNamespace) -> Puller:
    return Puller(tmp_path / "models", hub)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What is said of a failure: one line, behind whatever the hub's library warned of."""
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_model_is_fetched_whole_and_the_second_pull_asks_nobody(pull, hub):
    hub.files["big.onnx"] = b"not needed"
    done = pull()
    assert (done.returncode, done.stderr) == (0, "")
    assert (pull.folder / "sub" / "model.bin").read_bytes() == WEIGHTS
    assert sorted(path.name for path in pull.folder.rglob("*") if path.is_file()) == [
        RECORD, "config.json", "model.bin",
    ]  # fmt: skip
    record = ModelRecord.model_validate_json((pull.folder / RECORD).read_text())
    assert {file.path: file.sha256 for file in record.files} == {
        "config.json": sha256(CONFIG), "sub/model.bin": sha256(WEIGHTS),
    }  # fmt: skip
    assert not list(pull.root.rglob("*.partial"))

    hub.requests.clear()
    again = pull(HF_ENDPOINT="http://127.0.0.1:1")
    assert (again.returncode, hub.requests) == (0, [])
    assert "checksums right" in again.stdout


def test_a_download_that_is_cut_goes_on_within_the_call(pull, hub):
    hub.cut_after = [BLOCK + 300_000]
    assert pull().returncode == 0
    assert [span for span, _ in hub.cdn_requests()] == [None, f"bytes={BLOCK}-"]
    assert (pull.folder / "sub" / "model.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_what_an_interrupted_call_fetched_is_not_fetched_again(pull, hub, kill):
    hub.pause_s = 0.3
    process = pull.start()
    deadline = time.monotonic() + 60
    while not (pull.part.is_file() and pull.part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(kill)
    _, err = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert (process.returncode, len(err.splitlines())) == (130, 1)
        assert "goes on where this stopped" in err
    begun = pull.part.stat().st_size
    assert 0 < begun < len(WEIGHTS)
    assert not pull.folder.exists()

    hub.pause_s = 0
    hub.requests.clear()
    assert pull().returncode == 0
    assert [span for span, _ in hub.cdn_requests()] == [f"bytes={begun}-"]
    assert inspect(pull.folder, checksums=True).state == "present"


def test_a_file_with_a_wrong_checksum_is_removed_and_fetched_anew(pull, hub):
    hub.sent_instead = b"\0" * len(WEIGHTS)
    done = pull()
    assert done.returncode == 75
    assert "sub/model.bin of owner/small came damaged" in last_line(done)
    assert not pull.folder.exists() and not pull.part.exists()
    hub.sent_instead = None
    assert pull().returncode == 0


def test_the_small_files_are_checked_too(pull, hub, tmp_path):
    (tmp_path / "config.json").write_bytes(CONFIG)
    assert git_blob_of(tmp_path / "config.json") == git_blob(CONFIG)
    assert pull().returncode == 0
    (pull.folder / "config.json").write_bytes(CONFIG.replace(b"2", b"3"))
    hub.requests.clear()
    assert pull().returncode == 0
    assert (pull.folder / "config.json").read_bytes() == CONFIG
    assert hub.cdn_requests() == []  # what is right stays


def test_damage_is_repaired_and_what_is_strange_removed(pull, hub):
    assert pull().returncode == 0
    (pull.folder / "sub" / "model.bin").write_bytes(WEIGHTS[:1000])
    (pull.folder / "strange.txt").write_text("x")
    done = pull()
    assert (done.returncode, "damaged" in done.stdout) == (0, True)
    assert inspect(pull.folder, checksums=True).state == "present"
    assert not (pull.folder / "strange.txt").exists()


def test_a_folder_made_by_hand_is_checked_and_taken_over(pull, hub):
    (pull.folder / "sub").mkdir(parents=True)
    (pull.folder / "sub" / "model.bin").write_bytes(WEIGHTS)
    assert pull().returncode == 0
    assert hub.cdn_requests() == []
    assert inspect(pull.folder, checksums=True).state == "present"


def test_another_model_under_the_pinned_name_is_refused_before_it_is_fetched(pull, hub):
    done = pull(replace(MODEL, pinned={"sub/model.bin": sha256(b"the pinned ones")}))
    assert (done.returncode, hub.cdn_requests()) == (78, [])
    assert "another sub/model.bin of owner/small than the pinned one" in last_line(done)


def test_a_file_that_the_hub_lacks_is_named(pull):
    done = pull(replace(MODEL, files=("*.json", "merges.txt")))
    assert done.returncode == 78
    assert "no merges.txt of owner/small" in last_line(done)


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({}, "give it as HF_TOKEN or by `hf auth login`"),
        ({"HF_TOKEN": "hf_of_another"}, "with the account of your token"),
    ],
)
def test_a_gated_model_names_its_page_before_anything_is_fetched(pull, hub, environment, remedy):
    hub.gated = True
    done = pull(**environment)
    line = last_line(done)
    assert (done.returncode, hub.cdn_requests()) == (78, [])
    assert "accept its conditions at https://huggingface.co/owner/small" in line and remedy in line


def test_a_token_opens_the_gate_and_goes_to_nobody_else(pull, hub):
    hub.gated = True
    assert pull(HF_TOKEN=TOKEN).returncode == 0
    assert hub.cdn_requests() == [(None, None)]


def test_a_token_of_the_login_file_does_too(pull, hub):
    hub.gated = True
    (pull.root.parent / "hf").mkdir()
    (pull.root.parent / "hf" / "token").write_text(TOKEN)
    assert pull().returncode == 0


@pytest.mark.parametrize(
    ("model", "environment", "code", "line"),
    [
        (replace(MODEL, revision="6" * 40), {}, 78, f"no revision {'6' * 40} of owner/small"),
        (replace(MODEL, name="owner/unknown"), {}, 78, "does not have owner/unknown"),
        (MODEL, {"HF_TOKEN": "hf_expired"}, 78, "does not know your token"),
        (MODEL, {"HF_ENDPOINT": "http://127.0.0.1:1"}, 75, "No connection to 127.0.0.1:1"),
        (MODEL, {"CHANNELSCRIBE_MODELS_ROOT": "/dev/null/models"}, 78, "cannot be written"),
    ],
)
def test_a_refusal_is_one_line_with_the_remedy(pull, model, environment, code, line):
    done = pull(model, **environment)
    assert line in last_line(done)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)


@pytest.mark.parametrize(("status", "line"), [(429, "asks for a pause"), (503, "answered with status 503")])
def test_a_hub_in_trouble_is_tried_later(pull, hub, status, line):
    hub.fails_with = status
    done = pull()
    assert (done.returncode, line in last_line(done)) == (75, True)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(pull, hub):
    hub.announced_bytes = 10**18
    done = pull()
    assert (done.returncode, hub.cdn_requests()) == (75, [])
    assert "GB free, but 1000000001.0 GB are needed" in last_line(done)


def test_a_disk_that_fills_up_on_the_way_costs_nothing_that_came(pull, hub):
    done = pull(limit_bytes=BLOCK + 1000)  # the system refuses to let a file grow beyond it
    assert (done.returncode, "call this again; it goes on" in last_line(done)) == (75, True)
    begun = pull.part.stat().st_size
    assert begun >= BLOCK
    hub.requests.clear()
    assert pull().returncode == 0
    assert [span for span, _ in hub.cdn_requests()] == [f"bytes={begun}-"]


def test_a_model_that_moved_is_found_by_its_old_name(pull, hub):
    hub.former_name, hub.name, hub.gated = MODEL.name, "other/renamed", True
    assert pull(HF_TOKEN=TOKEN).returncode == 0
    assert inspect(pull.folder, checksums=True).state == "present"


@pytest.mark.parametrize("page", [b"<html>Please log in</html>", b"[1]", b"{}"])
def test_what_is_no_hub_is_told(pull, hub, page):
    hub.page = page
    done = pull()
    assert (done.returncode, "sent something else than owner/small" in last_line(done)) == (75, True)


def test_two_pulls_at_once_are_not_possible(pull, hub):
    hub.pause_s = 1.0
    first = pull.start()
    deadline = time.monotonic() + 60
    while not pull.part.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = pull()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert (second.returncode, "Another pull is at work" in last_line(second)) == (75, True)


def test_a_single_file_at_an_address_of_its_own(pull, hub):
    url = f"http://127.0.0.1:{hub.port}/cdn/sub/model.bin"
    model = replace(MODEL, pinned={"turbo.pt": sha256(WEIGHTS)}, files=(), url=url)
    hub.cut_after = [BLOCK + 300_000]
    assert pull(model, HF_TOKEN=TOKEN).returncode == 0
    assert (pull.folder / "turbo.pt").read_bytes() == WEIGHTS
    assert all(authorization is None for _, authorization in hub.cdn_requests())


def test_the_command_starts_the_program_with_the_models_of_the_profile(tmp_path, hub):
    environment = {**os.environ, "CHANNELSCRIBE_MODELS_ROOT": str(tmp_path), "CHANNELSCRIBE_HOME": str(tmp_path)}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.port}", "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN}
    command = [sys.executable, "-c", "from channelscribe.cli import main; main()", "models", "pull", "--profile", "gpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "does not have pyannote/speaker-diarization-community-1" in last_line(done)
    assert done.returncode == 78


def test_the_server_is_a_hub_to_the_library_itself(hub, tmp_path):
    """Were the server unlike the hub, the tests above would say little."""
    program = (
        "import sys, huggingface_hub as h\n"
        "name, revision, folder, token, *paths = sys.argv[1:]\n"
        "for path in paths: h.hf_hub_download(name, path, revision=revision, local_dir=folder, token=token)"
    )
    hub.gated = True
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", program, MODEL.name, REVISION, str(tmp_path), TOKEN, *hub.files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {path: (tmp_path / path).read_bytes() for path in hub.files} == hub.files

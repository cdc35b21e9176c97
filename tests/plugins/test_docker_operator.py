"""The container operator against a real engine: after every ending, no container is left."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from docker.errors import NotFound

from channelscribe.contracts import Status
from channelscribe.settings import get_settings
from channelscribe.stack import containers
from channelscribe.workspace import Workspace, now
from channelscribe_airflow.docker_operator import DockerStageOperator

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
DONE = 'for v in $videos; do status $v done 0 "Three speakers."; done'
HANG = 'for v in $videos; do status $v running null "Running."; done; echo at work; sleep 600'


def task_instance(map_index=0, try_number=1):
    return SimpleNamespace(
        dag_id="d", run_id="manual__1+00:00", task_id="ingest_video.diarize", map_index=map_index,
        try_number=try_number, max_tries=0,
    )  # fmt: skip


@pytest.fixture
def operator(engine, image, workspace):
    """Makes operators; checks in the end that none left a container."""

    def make(**arguments):
        return DockerStageOperator(
            **{"task_id": "diarize", "stage": "diarize", "video_ids": ["v1"], "profile": "bundled", "image": image}
            | arguments
        )

    yield make
    found = left(engine)
    for container in found:
        engine.remove_container(container, force=True)
    assert found == []


def left(engine):
    return list(containers.of_installation(engine, get_settings().data_dir))


def execute(task, **ti):
    return task.execute({"ti": task_instance(**ti)})


def fail(task, **ti):
    with pytest.raises(AirflowException):
        execute(task, **ti)


def wait_for_container(engine, count=1):
    deadline = time.monotonic() + 180
    while len(found := [container for container in left(engine) if is_running(engine, container)]) < count:
        assert time.monotonic() < deadline, "no container started"
        time.sleep(0.05)
    return found


def is_running(engine, container):
    try:
        return engine.inspect_container(container)["State"]["Running"]
    except NotFound:  # listed a moment before it is there, or after it is gone
        return False


def test_success_returns_and_logs_as_it_goes(operator, script, monkeypatch):
    script(f"echo first; while [ ! -f $root/go ]; do sleep 0.1; done; echo second >&2; {DONE}")
    task, logged = operator(), []

    def log(message, *values):
        logged.append(message % values)
        if logged[-1] == "first":
            (get_settings().data_dir / "go").touch()  # the second line is not written before the first is read

    monkeypatch.setattr(task.log, "info", log, raising=False)
    assert execute(task) is None
    assert logged.index("second") > logged.index("first")


def test_exit_code_decides_and_the_reason_is_the_stages_own(operator, script, ending):
    code, state, expected = ending
    script(f'status v1 {state} {code} "Because of {code}."; exit {code}')
    with pytest.raises(AirflowException) as caught:
        execute(operator())
    assert (type(caught.value), str(caught.value)) == (expected, f"Because of {code}.")


def test_of_a_batch_the_bad_video_fails_alone(operator, script, workspace):
    script('status v1 done 0 "Done."; status v2 failed 65 "No audio in it."; status v3 empty 99 "Silence."; exit 65')
    with pytest.raises(AirflowFailException, match=r"^1 of 3 videos failed\. Title 2: No audio in it\.$"):
        execute(operator(video_ids=["v1", "v2", "v3"]))
    assert [workspace.read_status(v, "diarize").state for v in ("v1", "v2", "v3")] == ["done", "failed", "empty"]


def test_a_video_that_takes_the_program_down_is_the_last_of_the_next_attempt(operator, script, workspace):
    script(
        """
        for v in $videos; do
          status $v running null "Running."
          [ $v = v1 ] && exit 137 # as the kernel's SIGKILL is told; a first process can't send it to itself
          status $v done 0 "Done."
        done
        """
    )
    with pytest.raises(AirflowException, match=r"^3 of 3 videos failed\. Title 1: The program was killed"):
        execute(operator(video_ids=["v1", "v2", "v3"]))
    statuses = [workspace.read_status(v, "diarize") for v in ("v1", "v2", "v3")]
    assert [status.exit_code for status in statuses] == [137, None, None]
    assert statuses[1].reason.startswith("It was not begun. The program was killed by signal 9")
    with pytest.raises(AirflowException, match=r"^1 of 3 videos failed\. Title 1: The program was killed"):
        execute(operator(video_ids=["v1", "v2", "v3"]), try_number=2)
    assert [workspace.read_status(v, "diarize").state for v in ("v1", "v2", "v3")] == ["failed", "done", "done"]


def test_an_end_that_could_not_be_recorded_is_no_success(operator, script):
    script('status v1 running null "Running."')
    with pytest.raises(AirflowException, match="could not be recorded: is the disk full"):
        execute(operator())


def test_a_container_may_do_little(operator, script, workspace, tmp_path):
    models = get_settings().models_dir
    models.mkdir()
    script(
        f"""
        cat /proc/self/status >$root/status
        env >$root/env
        cat /proc/mounts >$root/mounts
        ls /sys/class/net >$root/net
        cd /sys/fs/cgroup
        cat memory.max pids.max >$root/limits 2>/dev/null ||
          cat memory/memory.limit_in_bytes pids/pids.max >$root/limits
        df -k /tmp /dev/shm >$root/df
        for place in / /bin /etc {models}; do touch $place/x 2>/dev/null && echo $place; done >$root/written
        touch /tmp/x || echo no /tmp >>$root/written
        {DONE}
        """
    )
    execute(operator())
    names = ("status", "env", "mounts", "net", "limits", "df")
    facts = {name: (workspace.data_root / name).read_text() for name in names}
    status = dict(line.split(":\t", 1) for line in facts["status"].splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] != "0"
    assert status["CapEff"] == status["CapBnd"] == "0000000000000000"
    assert status["NoNewPrivs"] == "1"
    assert facts["net"].split() == ["lo"]
    assert facts["limits"].split()[:2] == [str(8 * 2**30), "4096"]
    assert [int(line.split()[1]) for line in facts["df"].splitlines()[1:]] == [2**20, 2**20]
    assert (workspace.data_root / "written").read_text() == ""
    writable = [line.split()[1] for line in facts["mounts"].splitlines() if line.split()[3].startswith("rw")]
    assert str(workspace.data_root) in writable
    assert f"CHANNELSCRIBE_IMAGE={operator().image}" in facts["env"]
    assert "AIRFLOW" not in facts["env"]


def test_labels_name_the_attempt(engine, operator, script):
    script(HANG)
    task = operator()
    thread = threading.Thread(target=fail, args=(task,), kwargs={"map_index": 3, "try_number": 2})
    thread.start()
    (container,) = wait_for_container(engine)
    found = engine.inspect_container(container)
    task.on_kill()
    thread.join()
    assert {name: value for name, value in found["Config"]["Labels"].items() if "data_root" not in name} == {
        "channelscribe.dag_id": "d",
        "channelscribe.run_id": "manual__1+00:00",
        "channelscribe.task_id": "ingest_video.diarize",
        "channelscribe.map_index": "3",
        "channelscribe.try_number": "2",
    }
    host = found["HostConfig"]
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "2"}
    assert not host["Privileged"]
    assert not host["DeviceRequests"]


def test_timeout_stays_a_timeout(operator, script, workspace):
    script(HANG)

    def let_time_be_up():
        deadline = time.monotonic() + 180
        while (status := workspace.read_status("v1", "diarize")) is None or status.state != "running":
            assert time.monotonic() < deadline, "the container never began"
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)  # as Airflow's own clock does

    clock = threading.Thread(target=let_time_be_up)
    clock.start()
    with pytest.raises(AirflowTaskTimeout), timeout(200):
        execute(operator(execution_timeout=timedelta(seconds=4)))
    clock.join()
    status = workspace.read_status("v1", "diarize")
    assert (status.state, status.reason) == ("failed", "It was stopped: it took longer than 0:00:04.")


def test_a_stop_before_there_is_a_container_starts_none(engine, operator, script, workspace):
    script(f"touch $root/ran; {DONE}")
    task = operator()
    task.on_kill()
    with pytest.raises(AirflowException, match="was stopped before its end"):
        execute(task)
    assert not (workspace.data_root / "ran").exists()


def test_on_kill_ends_the_container(engine, operator, script, workspace):
    script(HANG)
    task = operator()

    def kill_when_running():
        wait_for_container(engine)
        task.on_kill()

    killer = threading.Thread(target=kill_when_running)
    killer.start()
    started = time.monotonic()
    with pytest.raises(AirflowException, match="was stopped before its end"):
        execute(task)
    killer.join()
    assert time.monotonic() - started < 60
    assert workspace.read_status("v1", "diarize").state == "failed"


def test_a_task_process_killed_outright_leaves_an_orphan_that_the_next_attempt_removes(engine, operator, script, image):
    script(HANG)
    source = f"""
from types import SimpleNamespace
from channelscribe_airflow.docker_operator import DockerStageOperator
task = DockerStageOperator(task_id="diarize", stage="diarize", video_ids=["v1"], profile="bundled", image={image!r})
task.execute({{"ti": SimpleNamespace(**{vars(task_instance())!r})}})
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    process = subprocess.Popen([sys.executable, "-c", source], env=environment, stdout=subprocess.DEVNULL)
    try:
        (orphan,) = wait_for_container(engine)
    finally:
        process.kill()
        process.wait()
    time.sleep(0.5)
    assert left(engine) == [orphan]
    assert engine.inspect_container(orphan)["State"]["Running"]
    script(DONE)
    execute(operator(), try_number=2)


def test_two_map_indexes_at_once_leave_each_other_alone(engine, operator, script, workspace):
    script(f"touch $root/here-$videos; while [ ! -f $root/go ]; do sleep 0.1; done; {DONE}")
    errors = []

    def run(index, video_id):
        try:
            execute(operator(video_ids=[video_id]), map_index=index)
        except AirflowException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(("v1", "v2"))]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    assert len(wait_for_container(engine, 2)) == 2
    (workspace.data_root / "go").touch()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [workspace.read_status(v, "diarize").state for v in ("v1", "v2")] == ["done", "done"]


def test_a_gpu_that_cannot_be_had_is_one_sentence_and_no_retry(engine, operator, script):
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has NVIDIA's runtime")
    script(DONE)
    with pytest.raises(
        AirflowFailException, match=r"can't hand GPUs to containers: install the NVIDIA Container Toolkit"
    ):
        execute(operator(profile="bundled-cuda"))


def test_gpus_are_taken_in_turn_and_never_by_a_cpu_profile(operator, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_GPUS", "0,GPU-aaaa")
    get_settings.cache_clear()
    on_gpu, on_cpu = operator(profile="bundled-cuda"), operator()
    assert [on_gpu.gpu(index) for index in (-1, 0, 1, 2)] == ["0", "0", "GPU-aaaa", "0"]
    assert on_cpu.gpu(1) is None
    # Moonshine has no code for a GPU, whatever the profile is for.
    assert operator(profile="bundled-cuda", stage="transcribe").gpu(0) is None


@pytest.mark.parametrize(
    "video_id",
    ["../v1", "--force", "v1; touch /tmp/x", "$(touch x)", "{{ 1 + 1 }}", "v1/../../v2", "", ".", "v" * 101, "unknown"],
)
def test_a_hostile_video_id_reaches_no_container(engine, operator, script, workspace, video_id):
    script(f"touch $root/ran; {DONE}")
    with pytest.raises(AirflowFailException, match=r"is not a video id|has no video"):
        execute(operator(video_ids=["v1", video_id]))
    assert not (workspace.data_root / "ran").exists()


def test_an_odd_but_valid_id_arrives_as_it_is(operator, script, workspace, add_video):
    odd = "youtube--_-e-rm_-rf"
    add_video(odd, 'A title; $(touch x) {{ 1 }} "quoted"')
    script(f'echo "$videos" >$root/seen; {DONE}')
    execute(operator(video_ids=[odd]))
    assert (workspace.data_root / "seen").read_text().split() == [odd]


def test_an_image_that_is_gone_is_said_and_not_retried(operator):
    with pytest.raises(AirflowFailException, match=r"no longer has the run's image sha256:0000.*`make images`"):
        execute(operator(image="sha256:" + "0" * 64))


def test_a_container_killed_from_outside_is_tried_again(engine, operator, script):
    script(HANG)
    killer = threading.Thread(target=lambda: engine.kill(wait_for_container(engine)[0]))
    killer.start()
    with pytest.raises(AirflowException, match=r"killed by signal 9 \(SIGKILL\)") as caught:
        execute(operator())
    killer.join()
    assert type(caught.value) is AirflowException


@pytest.mark.parametrize("code", [1, 163, 255])
def test_an_exit_code_without_a_meaning_is_said(operator, script, code):
    script(f"exit {code}")
    with pytest.raises(AirflowException, match=r"ended with exit code \S+ and gave no reason"):
        execute(operator())


def test_too_little_memory_is_said(operator, script, monkeypatch):
    monkeypatch.setattr(containers, "_GIB", 16 * 2**20)
    script("exec dd if=/dev/zero of=/dev/shm/x bs=1M count=512")
    with pytest.raises(AirflowException, match=r"ran out of its 8 GiB of memory") as caught:
        execute(operator())
    assert type(caught.value) is AirflowException


def test_an_engine_that_is_down_is_tried_again(operator, tmp_path):
    with pytest.raises(AirflowException, match=r"No Docker engine answers at unix:///nowhere.sock") as caught:
        execute(operator(docker_url="unix:///nowhere.sock"))
    assert type(caught.value) is AirflowException


def test_an_engine_that_is_down_does_not_undo_what_is_done(operator, workspace, monkeypatch):
    monkeypatch.setattr(
        Workspace, "current", lambda self, video_id, stage, profile: object() if video_id == "v1" else None
    )
    workspace.write_status(Status(video_id="v1", stage="diarize", state="done", exit_code=0, reason="Done.", at=now()))
    with pytest.raises(AirflowException, match="No Docker engine answers"):
        execute(operator(docker_url="unix:///nowhere.sock", video_ids=["v1", "v2"]), try_number=2)
    assert [workspace.read_status(v, "diarize").state for v in ("v1", "v2")] == ["done", "failed"]


def test_force_redoes_what_this_run_has_not_done(operator, script, workspace):
    script('echo "$videos" >>$root/seen; for v in $videos; do status $v done 0 "Done."; done')
    workspace.write_status(Status(video_id="v1", stage="diarize", state="done", exit_code=0, reason="Done.", at=now()))
    task = operator(force=True, video_ids=["v1", "v2"])
    for started in (now() - timedelta(hours=1), now() + timedelta(hours=1)):
        task.execute({"ti": task_instance(), "dag_run": SimpleNamespace(start_date=started, clear_number=0)})
    assert (workspace.data_root / "seen").read_text().split() == ["v2", "v1", "v2"]


def test_an_engine_restarted_in_the_middle_is_survived(private_engine, workspace, script, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", private_engine.address)
    image = private_engine.import_image()
    script(HANG)
    task = DockerStageOperator(
        task_id="diarize", stage="diarize", video_ids=["v1"], profile="bundled", image=image
    )  # fmt: skip

    def restart():
        wait_for_container(private_engine.client)
        private_engine.stop()

    stopper = threading.Thread(target=restart)
    stopper.start()
    with pytest.raises(AirflowException) as caught:
        execute(task)
    stopper.join()
    assert type(caught.value) is AirflowException
    assert workspace.read_status("v1", "diarize").state == "failed"
    private_engine.start()
    script(DONE)
    execute(
        DockerStageOperator(task_id="diarize", stage="diarize", video_ids=["v1"], profile="bundled", image=image),
        try_number=2,
    )
    assert left(private_engine.client) == []
    assert workspace.read_status("v1", "diarize").state == "done"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "Container Toolkit"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown", "nvidia-smi` says"),
        ("initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file", "nvidia-smi"),
        ("nvidia-container-cli: device error: 7: unknown device: unknown", "CHANNELSCRIBE_GPUS"),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7", "CHANNELSCRIBE_GPUS"),
    ],
)
def test_what_the_engine_says_of_a_gpu_becomes_a_remedy(text, meaning):
    from docker.errors import APIError

    code, sentence = containers.explain(APIError("500 Server Error", explanation=text), "sha256:1")
    assert code == 78
    assert meaning in sentence
    assert "\n" not in sentence


def test_commands_are_lists_that_no_shell_reads(operator, engine, script):
    script(HANG)
    task = operator(force=True)
    thread = threading.Thread(target=fail, args=(task,))
    thread.start()
    found = engine.inspect_container(wait_for_container(engine)[0])["Config"]
    task.on_kill()
    thread.join()
    assert found["Entrypoint"] is None
    assert found["Cmd"][:4] == ["python", "-m", "channelscribe.stages.diarize", "v1"]
    assert found["Cmd"][-1] == "--force"
    assert shlex.join(found["Cmd"]).count(";") == 0

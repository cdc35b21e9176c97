"""The resident embedder with the bundled model: the server as the stack starts it, asked as `search` asks it."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from channelscribe.profiles import BUNDLED
from channelscribe.settings import Settings

pytestmark = pytest.mark.stages

IDLE_S = 3
WORDS = "a season of optimism"
# As much as torch and the model take at least, and far more than a worker without them.
LOADED_BYTES = 250e6


class Server:
    """A server over a home folder, and the client's side of it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, stages_python=Path(sys.executable))
        self.said: list[str] = []
        folder = self.settings.embedder_socket.parent
        command = [sys.executable, "-m", "channelscribe.models.embedder_server"]
        command += ["--idle-s", str(IDLE_S), "--folder", os.path.relpath(folder, home)]
        self.log = home / "embedder.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
        wait_for(lambda: self.settings.embedder_socket.exists() and self.workers())

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def loaded(self) -> bool:
        return any(worker.memory_info().rss > LOADED_BYTES for worker in self.workers())

    def embed(self, words: str = WORDS) -> np.ndarray:
        from channelscribe.store.search.query_embedding import embed_query

        return embed_query(words, BUNDLED.name, self.settings, self.said.append)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def wait_for(condition, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # A socket can't be named by a path this long.
    home = tmp_path_factory.mktemp("home") / ("long" * 30)
    home.mkdir()
    result = Server(home)
    yield result
    result.stop()


def test_any_words_have_a_vector_and_no_child_is_needed(server) -> None:
    words = [WORDS, "Wie geht es dir? 🦊", "x" * 5000, " "]
    answers = [server.embed(text) for text in words]
    assert not [text for text in server.said if "Loading" in text]
    for text, answer in zip(words, answers, strict=True):
        assert answer.shape == (384,) and answer.dtype == np.float32
        assert np.linalg.norm(answer) == pytest.approx(1, abs=1e-5), text
    assert not np.allclose(answers[0], answers[1], atol=0.1)


def test_nobody_else_can_open_it(server) -> None:
    path = server.settings.embedder_socket
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_queries_at_the_same_time_are_all_answered(server) -> None:
    expected = {text: server.embed(text) for text in ("spring", "winter", "hope", "despair")}
    answers: dict[str, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda text=text: answers.update({text: server.embed(text)})) for text in expected
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(answers[text], vector) for text, vector in expected.items())


def test_when_idle_the_process_with_the_model_ends_and_the_next_query_loads_it_again(server) -> None:
    before = server.embed()
    (holder,) = server.workers()
    assert server.loaded()
    wait_for(lambda: not holder.is_running())
    wait_for(lambda: len(server.workers()) == 1)
    assert not server.loaded()
    assert server.process.poll() is None
    time.sleep(IDLE_S + 1)
    (light,) = server.workers()  # one that was never asked stays

    assert np.array_equal(server.embed(), before)
    assert server.workers() == [light] and server.loaded()


def test_a_model_that_no_profile_has_is_refused(server) -> None:
    from channelscribe.contracts import Query
    from channelscribe.store.search.resident_embedder import NoAnswerError, ask_embedder

    spec = BUNDLED.stages["embed_text"]
    for model, revision in ((spec.model, "other"), ("somebody/elses", spec.revision)):
        with pytest.raises(NoAnswerError, match="of another version"):
            ask_embedder(
                server.settings.embedder_socket, Query(model=model, revision=revision, words="x"), server.said.append
            )


def test_a_worker_that_is_killed_is_replaced(server) -> None:
    (worker,) = server.workers()
    worker.send_signal(signal.SIGKILL)
    wait_for(lambda: server.workers() and server.workers() != [worker])
    assert server.embed().shape == (384,)


def test_once_stopped_nothing_is_left_of_it_and_a_child_process_gives_the_same_vector(tmp_path) -> None:
    server = Server(tmp_path)
    expected = server.embed()
    family = [psutil.Process(server.process.pid), *server.workers()]
    server.stop()
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert not server.settings.embedder_socket.exists()

    server.said.clear()
    assert np.allclose(server.embed(), expected, atol=1e-6)
    (sentence,) = server.said
    assert sentence.startswith("Loading the text model") and "`make up`" in sentence


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "channelscribe.models.embedder_server", "--idle-s", "1"]
    command += ["--folder", str(tmp_path / "file" / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "can't be used for the embedder's socket: Not a directory." in done.stderr

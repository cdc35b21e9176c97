"""Embedding a query: the embedder's client, and the child process, with small programs in the place of the model's."""

import io
import re
import socket
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from channelscribe.contracts import Query
from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.profiles import BUNDLED
from channelscribe.settings import Settings
from channelscribe.store.search import query_embedding, resident_embedder
from channelscribe.store.search.query_embedding import embed_query as embed_and_say

SPEC = BUNDLED.stages["embed_text"]


def embed_query(words: str, profile: str, settings: Settings) -> np.ndarray:
    said: list[str] = []
    try:
        return embed_and_say(words, profile, settings, said.append)
    finally:
        assert len(said) <= 1 and all("Loading the text model" in sentence for sentence in said)


@pytest.fixture
def interpreter(tmp_path):
    """Function that makes an interpreter which runs this code, whatever module it is asked for."""

    def make(code: str) -> Settings:
        program, script = tmp_path / "program.py", tmp_path / "python"
        program.write_text("import sys, numpy as np\nout = sys.argv[sys.argv.index('--out') + 1]\n" + code)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        script.chmod(0o755)
        return Settings(home=tmp_path, stages_python=script)

    return make


def test_the_vector_comes_back_in_a_file(interpreter):
    settings = interpreter("print('noise')\nnp.save(out, np.array([len(sys.argv[-1]), 1], np.float32))")
    assert embed_query("--help me", "bundled", settings).tolist() == [9.0, 1.0]


def test_the_words_are_one_argument_behind_the_options(interpreter):
    settings = interpreter(
        "assert sys.argv[1:5] == ['-m', 'channelscribe.models.embed_query', '--profile', 'bundled'], sys.argv\n"
        "assert sys.argv[-2:] == ['--', '-x; \"y\" $(z)'], sys.argv\nnp.save(out, np.ones(2, np.float32))"
    )
    assert embed_query('-x; "y" $(z)', "bundled", settings).shape == (2,)


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        ("sys.stderr.write('warning\\nno words left\\n'); sys.exit(65)", BadInputError, "no words left"),
        ("sys.stderr.write('out of memory\\n'); sys.exit(75)", TryAgainError, "out of memory"),
        ("sys.exit(3)", MisconfiguredError, "ended with 3"),
        ("pass", MisconfiguredError, "cannot be read"),
        ("open(out, 'w').write('x')", MisconfiguredError, "cannot be read"),
        ("np.save(out, np.ones((2, 2), np.float32))", MisconfiguredError, "not one vector"),
        ("np.save(out, np.array([np.nan], np.float32))", MisconfiguredError, "not one vector"),
    ],
)
def test_a_failure_is_one_line(interpreter, code, error, reason):
    with pytest.raises(error, match=reason) as caught:
        embed_query("hope", "bundled", interpreter(code))
    assert "\n" not in str(caught.value)


def test_a_program_that_hangs_is_ended(interpreter, monkeypatch):
    monkeypatch.setattr(query_embedding, "TIMEOUT_S", 1)
    with pytest.raises(TryAgainError, match="within 1 s"):
        embed_query("hope", "bundled", interpreter("import time; time.sleep(60)"))


def test_a_missing_interpreter_names_the_remedy(tmp_path):
    with pytest.raises(MisconfiguredError, match="make setup"):
        embed_query("hope", "bundled", Settings(home=tmp_path, stages_python=tmp_path / "none"))


def test_nul_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="NUL"):
        embed_query("a\x00b", "bundled", Settings(home=tmp_path))


def test_the_vector_has_the_type_of_the_archive(interpreter):
    settings = interpreter("np.save(out, np.ones(3, np.float64))")
    assert embed_query("hope", "bundled", settings).dtype == np.float32


def as_npy(vector: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, vector)
    return file.getvalue()


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@contextmanager
def embedder(settings: Settings, reply: bytes | None, when: threading.Event | None = None):
    """What listens in the embedder's place, and answers one query by these bytes, or never. Yields what was asked."""
    path = settings.embedder_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    asked: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as request:
                head = b"".join(iter(request.readline, b"\r\n"))
                asked.append(request.read(int(re.search(rb"Content-Length: (\d+)", head)[1])))
                if when:
                    when.wait(30)
                if reply is None:
                    done.wait(30)
                else:
                    client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_running_embedder_is_asked_for_the_profiles_model_and_nothing_else_is_started(tmp_path):
    settings = Settings(home=tmp_path, stages_python=tmp_path / "none")
    said: list[str] = []
    with embedder(settings, answer("200 OK", as_npy(np.array([1, 0], np.float32)))) as asked:
        assert embed_and_say("hope", "bundled", settings, said.append).tolist() == [1.0, 0.0]
    assert said == []
    assert Query.model_validate_json(asked[0]) == Query(model=SPEC.model, revision=SPEC.revision, words="hope")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "did not answer within 1 s"),
        (b"", "failed"),
        (b"garbage\r\n", "failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "failed"),
        (answer("200 OK", b"no array"), "cannot be read"),
        (answer("200 OK", as_npy(np.array([np.nan], np.float32))), "not one vector"),
        (answer("409 Conflict", b"another"), "is of another version"),
        (answer("500 Internal Server Error", b""), "500 Internal Server Error"),
    ],
)
def test_an_embedder_that_fails_is_named_and_a_child_takes_over(interpreter, monkeypatch, reply, reason):
    monkeypatch.setattr(resident_embedder, "PATIENCE_S", 1)
    settings = interpreter("np.save(out, np.array([2, 1], np.float32))")
    said: list[str] = []
    with embedder(settings, reply):
        assert embed_and_say("hope", "bundled", settings, said.append).tolist() == [2.0, 1.0]
    assert said[-1].startswith("Loading the text model") and reason in said[-1] and "\n" not in said[-1]


def test_whoever_has_little_patience_waits_no_longer(tmp_path):
    settings = Settings(home=tmp_path, stages_python=tmp_path / "none")
    query = Query(model=SPEC.model, revision=SPEC.revision, words="hope")
    with embedder(settings, None):
        started = time.monotonic()
        with pytest.raises(resident_embedder.NoAnswerError, match=r"within 0\.2 s"):
            resident_embedder.ask_embedder(settings.embedder_socket, query, lambda _: None, patience_s=0.2)
        assert 0.2 <= time.monotonic() - started < resident_embedder.PATIENCE_S


def test_a_socket_that_a_killed_embedder_left_is_no_embedder(interpreter):
    settings = interpreter("np.save(out, np.array([2, 1], np.float32))")
    with embedder(settings, b""):
        pass  # the file stays, and nobody listens
    said: list[str] = []
    assert embed_and_say("hope", "bundled", settings, said.append).tolist() == [2.0, 1.0]
    (sentence,) = said
    assert "No embedder runs" in sentence and "make up" in sentence


def test_an_answer_that_takes_longer_is_waited_for(tmp_path):
    settings = Settings(home=tmp_path, stages_python=tmp_path / "none")
    said: list[str] = []
    told = threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        told.set()

    with embedder(settings, answer("200 OK", as_npy(np.ones(2, np.float32))), when=told):
        assert embed_and_say("hope", "bundled", settings, say).shape == (2,)
    assert said == ["Waiting for the text model, which is being loaded."]

"""The child process that embeds a query, with a small program in the place of the model's."""

import sys

import numpy as np
import pytest

from channelscribe.errors import BadInputError, MisconfiguredError, TryAgainError
from channelscribe.settings import Settings
from channelscribe.store import query_embedding
from channelscribe.store.query_embedding import embed_query


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

"""The peak of a process's own memory."""

import subprocess
import sys
from pathlib import Path

from channelscribe.telemetry import memory

MiB = 2**20


def test_it_is_what_was_held_and_not_what_is() -> None:
    before = memory.peak_memory_bytes()
    held = b"x" * (2 * before)
    del held
    assert 2 * before < memory.peak_memory_bytes() < 4 * before


def test_it_does_not_begin_with_that_of_the_process_that_started_it() -> None:
    held = b"x" * 300 * MiB
    code = "from channelscribe.telemetry.memory import peak_memory_bytes; print(peak_memory_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert MiB < int(child.stdout) < 150 * MiB
    assert len(held) == 300 * MiB


def test_a_kernel_that_does_not_say_is_asked_otherwise(monkeypatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython3\nVmRSS:\t 1 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert memory.peak_memory_bytes() > MiB

"""The log of a stage program, read from its pipe as an operator reads it."""

import re
import subprocess
import sys
import textwrap

PROGRAM = """
    import logging, sys, time, warnings
    from channelscribe.stages.logs import at_work_on, start_logging

    start_logging("diarize")
    logging.getLogger("some.library").warning("at the start")
    at_work_on("yt-one")
    try:
        raise ValueError("two\\nlines")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    warnings.warn("old", stacklevel=1)
    at_work_on(None)
    print("printed by a library")
    logging.info("last %s", "line")
    time.sleep(600)
"""


def test_every_line_names_stage_and_video_and_comes_at_once() -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    lines = []
    # Neither -u nor PYTHONUNBUFFERED: the lines come while the program runs on.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.endswith("last line\n"):
                break
        process.kill()
    printed = lines.index("printed by a library")
    del lines[printed]
    start = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) diarize"
    assert all(re.match(start, line) for line in lines)
    assert lines[0].endswith("WARNING diarize: at the start")
    assert lines[-1].endswith("INFO diarize: last line")
    within = lines[1:-1]
    assert all(re.match(start + r" yt-one: ", line) for line in within)
    assert within[0].endswith("ERROR diarize yt-one: it failed")
    assert any(line.endswith("yt-one: Traceback (most recent call last):") for line in within)
    assert any(line.endswith("yt-one: lines") for line in within)
    assert any("UserWarning: old" in line for line in within)

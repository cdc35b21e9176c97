"""RTTM against the turns."""

import pytest

from channelscribe.contracts import Turn
from channelscribe.formats import written
from channelscribe.formats.recording import Voice

TURNS = (
    Turn(start_s=0.0, end_s=2.0006, cluster="SPEAKER_00"),
    Turn(start_s=1.5, end_s=3.25, cluster="SPEAKER_01"),
    Turn(start_s=2.0004, end_s=4.0008, cluster="SPEAKER_00"),
    Turn(start_s=7200.0, end_s=7200.0, cluster="SPEAKER_02"),
)


def test_every_turn_is_a_line_of_ten_fields(recording):
    voices = (Voice("SPEAKER_00", "Ada\u00a0 Lovelace", 1.0), Voice("SPEAKER_01", None, 1.0))
    lines = written(recording(turns=TURNS, voices=voices), "rttm").splitlines()
    assert lines[0] == "SPEAKER youtube-v1 1 0.000 2.001 <NA> <NA> Ada_Lovelace <NA> <NA>"
    fields = [line.split(" ") for line in lines]
    assert [len(line) for line in fields] == [10] * len(TURNS)
    assert [line[7] for line in fields] == ["Ada_Lovelace", "SPEAKER_01", "Ada_Lovelace", "SPEAKER_02"]
    for line, turn in zip(fields, TURNS, strict=True):
        assert float(line[3]) == pytest.approx(turn.start_s, abs=0.0005)
        assert float(line[3]) + float(line[4]) == pytest.approx(round(turn.end_s, 3), abs=1e-9)


def test_a_hostile_name_stays_one_field(hostile):
    text = written(hostile, "rttm")
    assert [len(line.split()) for line in text.splitlines()] == [10, 10]
    assert text.split()[7].startswith("<b>Ada_&_Bob</b>_-->_x_2_")
    assert text.splitlines()[1].split()[7] == "SPEAKER_01"
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_without_turns_it_is_empty(recording):
    assert written(recording(), "rttm") == ""

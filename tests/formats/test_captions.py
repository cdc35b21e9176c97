"""SubRip and WebVTT, read back by a parser."""

import html
import re

import pytest

from channelscribe.formats import written

pysubs2 = pytest.importorskip("pysubs2", reason="exports are written in Airflow's environment")

TALE = (
    ("SPEAKER_00", 1.25, " ".join(f"w{n:05}" for n in range(120))),
    ("SPEAKER_01", 58.0, "It was the worst of times."),
)
NAMES = {"SPEAKER_00": "Ada Lovelace"}
# Of the name and the text in conftest.py, what people see of them.
NAME = r"<b>Ada & Bob</b> --> x 2 00:00:00·000 --> 00:00:09·000 {\an8}\N [31m"
TEXT = r"<i>1 < 2</i> & {\p1}drawn --> \N \h C:\new &amp; back"


def parse(text: str, name: str) -> list[tuple[int, int, str]]:
    subtitles = pysubs2.SSAFile.from_string(text, format_=name, keep_html_tags=True)
    return [(event.start, event.end, event.text) for event in subtitles]


def voice_and_text(payload: str) -> tuple[str, str]:
    found = re.fullmatch(r"<v ([^<>]*)>([^<>]*)", payload)
    assert found, payload
    return html.unescape(found[1]), html.unescape(found[2])


def test_srt_names_the_speaker_at_the_first_cue(recording):
    found = parse(written(recording(*TALE, names=NAMES), "srt"), "srt")
    first, second, *_, last_but_one, last = found
    assert first[:2] == (1250, 1250 + 500 * 12)
    assert first[2] == "Ada Lovelace: " + " ".join(f"w{n:05}" for n in range(12))
    assert second[2] == " ".join(f"w{n:05}" for n in range(12, 24))
    # Both voices speak there: sorted by start, each with its name.
    assert [event[0] for event in found] == sorted(event[0] for event in found)
    assert last_but_one[2].startswith("SPEAKER_01: It was") or last[2].startswith("SPEAKER_01: It was")
    assert all(end - start <= 7000 for start, end, _ in found)


def test_vtt_has_a_voice_in_every_cue(recording):
    found = parse(written(recording(*TALE, names=NAMES), "vtt"), "vtt")
    said = [voice_and_text(payload) for _, _, payload in found]
    assert " ".join(text for name, text in said if name == "Ada Lovelace") == TALE[0][2]
    assert [text for name, text in said if name == "SPEAKER_01"] == [TALE[1][2]]
    assert len(said) == 11
    assert all(len(text) <= 84 for _, text in said)


def test_hostile_vtt_is_what_people_said(hostile):
    text = written(hostile, "vtt")
    first, *more, last = parse(text, "vtt")
    assert voice_and_text(first[2]) == (NAME, TEXT)
    assert voice_and_text(last[2]) == ("SPEAKER_01", "Yes.") and not more
    assert text.count("-->") == 2
    assert text.startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:")


def test_hostile_srt_has_no_markup(hostile):
    text = written(hostile, "srt")
    found = parse(text, "srt")
    look_alikes = f"{NAME}: {TEXT}".translate(str.maketrans("<>{}", "‹›()"))  # noqa: RUF001
    assert [event[2] for event in found] == [look_alikes, "SPEAKER_01: Yes."]
    assert text.count("-->") == 2
    assert not set("<{}") & set(text)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_nothing_in_a_file_commands(hostile, name):
    text = written(hostile, name)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_a_drawing_is_text_as_any_other(recording):
    found = parse(written(recording(("SPEAKER_00", 0.0, r"{\p1}m 0 0 l 1 1")), "vtt"), "vtt")
    assert [voice_and_text(payload)[1] for *_, payload in found] == [r"{\p1}m 0 0 l 1 1"]


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_two_times_of_day_are_no_cue_and_one_is_left_alone(recording, name):
    said = "from 00:01:02.345 to 00:01:03,456"
    found = parse(written(recording(("A", 0.0, said), ("A", 9.0, "at 00:01:02.345")), name), name)
    assert len(found) == 2
    assert found[0][2].endswith("from 00:01:02·345 to 00:01:03·456")
    assert found[1][2].endswith("at 00:01:02.345")


def test_without_utterances_the_files_are_empty_but_valid(recording):
    assert written(recording(), "srt") == ""
    assert written(recording(), "vtt") == "WEBVTT\n\n"
    assert parse("WEBVTT\n\n", "vtt") == []

"""SubRip (``.srt``) and WebVTT (``.vtt``, https://www.w3.org/TR/webvtt1/)."""

import re
from collections.abc import Iterable

from channelscribe.formats.cues import Cue, cues
from channelscribe.formats.recording import Recording

# SubRip has no escapes: what players take for markup is written with its nearest look-alike.
_SRT = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})  # noqa: RUF001
_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# pysubs2 takes these three for the markup of another format and drops what they enclose, so that they pass it as
# control characters, which no text of a cue has.
_HIDDEN = str.maketrans({"\\": "\x01", "{": "\x02", "}": "\x03"})
_SHOWN = str.maketrans({"\x01": "\\", "\x02": "{", "\x03": "}"})
# The end of a time of day: some readers, pysubs2 among them, take any line with two of them for the times of a cue.
_FRACTION = re.compile(r"(:\d{1,2})[.,](?=\d)")


def srt(recording: Recording) -> str:
    """Captions as SubRip; the speaker's name stands before the text wherever the speaker may have changed."""
    return _written(
        "srt",
        (
            (cue, (f"{cue.speaker}: {cue.text}" if cue.is_first else cue.text).translate(_SRT))
            for cue in cues(recording)
        ),
    )


def vtt(recording: Recording) -> str:
    """Captions as WebVTT, each a voice span ``<v Name>``."""
    return _written(
        "vtt",
        ((cue, f"<v {cue.speaker.translate(_VTT)}>{cue.text.translate(_VTT)}") for cue in cues(recording)),
    )


def _written(name: str, shown: Iterable[tuple[Cue, str]]) -> str:
    # Only Airflow's environment has it, and the stages' imports the command line, too.
    from pysubs2 import SSAEvent, SSAFile

    subtitles = SSAFile()
    subtitles.events = [SSAEvent(cue.start_ms, cue.end_ms, _hidden(text)) for cue, text in shown]
    return subtitles.to_string(name).translate(_SHOWN)


def _hidden(text: str) -> str:
    if len(_FRACTION.findall(text)) > 1:
        text = _FRACTION.sub(r"\1·", text)
    return text.translate(_HIDDEN)

"""Writers of what a video holds, for other programs and for people: pure functions from a `Recording` to text."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from channelscribe.formats.as_json import as_json
from channelscribe.formats.captions import srt, vtt
from channelscribe.formats.prose import md, txt
from channelscribe.formats.recording import Recording
from channelscribe.formats.rttm import rttm

Format = Literal["srt", "vtt", "rttm", "json", "md", "txt"]
"""A format's name, which is also how its files' names end."""

WRITERS: Mapping[Format, Callable[[Recording], str]] = MappingProxyType(
    {"srt": srt, "vtt": vtt, "rttm": rttm, "json": as_json, "md": md, "txt": txt}
)


def written(recording: Recording, format_: Format) -> str:
    """The recording in a format: text that is encoded as UTF-8. Of a video without utterances it is valid, too."""
    return WRITERS[format_](recording)

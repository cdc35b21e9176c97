"""What people read: plain text, and Markdown with links to the second."""

import re
from datetime import UTC
from itertools import groupby
from urllib.parse import quote, urlsplit

from channelscribe.channels.identity import one_line
from channelscribe.formats.plain import REMOVED, clock, speaker_name
from channelscribe.formats.recording import Recording, SpokenUtterance
from channelscribe.store.links import link_at

# An underscore between letters marks nothing, and SPEAKER_00 stays as it is.
_MARKS = re.compile(r"[\\`*\[\]<>&|~#]|(?<![^\W_])_|_(?![^\W_])")
# What an address may hold between angle brackets; a percent sign in it is an escape already.
_SAFE = "%/:?#@!$&'*+,;=~[]()"


def txt(recording: Recording) -> str:
    """A line for every utterance: ``[h:mm:ss] Speaker: text``."""
    return "".join(
        f"[{clock(utterance.start_s)}] {_name(utterance)}: {one_line(utterance.text)}\n"
        for utterance in recording.utterances
    )


def md(recording: Recording) -> str:
    """Title, channel, day, length, link and whether the site has it no more, then a paragraph for every stretch of one
    speaker, with its second.
    """
    channel = _markdown(recording.channel)
    facts = [
        f"**{channel}**" if channel else "",
        f"{recording.published_at.astimezone(UTC):%Y-%m-%d}" if recording.published_at else "",
        clock(recording.duration_s),
        _link(_markdown(recording.url), recording.url),
        REMOVED if recording.availability == "removed" else "",
    ]
    title = _markdown(recording.title) or recording.video_id
    paragraphs = [f"# {title}", " · ".join(fact for fact in facts if fact)]
    for name, stretch in groupby(recording.utterances, _name):
        said = list(stretch)
        at = _link(clock(said[0].start_s), recording.url, said[0].start_s)
        text = _markdown(" ".join(utterance.text for utterance in said))
        paragraphs.append(f"**{_markdown(name)}** ({at}): {text}".rstrip())
    return "\n\n".join(paragraphs) + "\n"


def _name(utterance: SpokenUtterance) -> str:
    return speaker_name(utterance.speaker, utterance.cluster)


def _markdown(text: str) -> str:
    """The text on one line, such that CommonMark shows it as it is behind other text, where no list can begin."""
    return _MARKS.sub(lambda mark: "\\" + mark.group(), one_line(text))


def _link(label: str, url: str, start_s: float | None = None) -> str:
    """A link with this Markdown as its text, to a second if one is given.

    The text alone where the address is none that a browser should follow.
    """
    address = one_line(url)
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            return label
        address = address if start_s is None else link_at(address, start_s)
    except ValueError:
        return label
    return f"[{label}](<{quote(address, safe=_SAFE)}>)"

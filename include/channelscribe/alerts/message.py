"""The message about alerts of one kind and run: plain text, whatever site its titles come from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from channelscribe.alerts.alert import Alert
from channelscribe.channels.identity import one_line

# Title of a message about more than one.
_OF_SEVERAL: Mapping[str, str] = MappingProxyType(
    {
        "stage_slow": "{n} stages are slow",
        "video_failed": "{n} videos failed",
        "poll_failed": "{n} channels could not be polled",
        "channel_silent": "{n} channels have nothing new",
    }
)
# A mail may be long; a chat's message may not.
_MAX_ENTRIES = 20
_MAX_LINE = 600
# What some chats take for a call to everybody, or to a person: titles come from the sites. The @ of a URL stays.
_CALL = re.compile(r"(?<![\w/.])@(?=\w)")


@dataclass(frozen=True)
class Message:
    """What a target gets: plain text."""

    title: str
    body: str


def compose(alerts: Sequence[Alert]) -> Message:
    """One message about alerts of one kind."""
    first, *others = alerts
    if not others:
        title = first.title
    else:
        title = _OF_SEVERAL.get(first.kind, "{n} times: " + first.title.replace("{", "{{").replace("}", "}}"))
        title = title.format(n=len(alerts))
    blocks = [_block(alert, with_title=bool(others)) for alert in alerts[:_MAX_ENTRIES]]
    if len(alerts) > _MAX_ENTRIES:
        blocks.append(f"... and {len(alerts) - _MAX_ENTRIES} more: `channelscribe alerts list --limit 1000` has them.")
    return Message(f"Channelscribe: {plain(title)}", "\n\n".join(blocks))


def _block(alert: Alert, *, with_title: bool) -> str:
    lines = [alert.title] if with_title else []
    return "\n".join([*(plain(line) for line in (*lines, *alert.lines)), *([alert.link] if alert.link else [])])


def plain(text: str) -> str:
    """Text on one line, without what a terminal or a chat would take for a command."""
    return _CALL.sub("@\u200b", one_line(text)[:_MAX_LINE])

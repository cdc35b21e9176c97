"""Sending a message by Apprise, which knows mail, chats and webhooks by their URLs."""

import logging
import re

import apprise

from channelscribe.alerts.message import Message

# Of one message to one target, whatever its server does.
LIMIT_S = 15.0
# Apprise's log holds addresses and tokens, and only its detailed lines say what went wrong: it is read here, and goes
# nowhere else.
_logger = logging.getLogger("apprise")
_logger.setLevel(logging.DEBUG)
_logger.propagate = False

_DETAIL = "Socket Exception: "
_URL_PATH = re.compile(r" with url: \S+")
_MAX_REASON = 300
_LEAST_SECRET = 6


def send(url: str, message: Message) -> str | None:
    """Send one message; returns why it could not be sent, without anything secret of the URL, or None.

    Args:
        url: of the target, as Apprise has it: https://github.com/caronc/apprise/wiki.
        message: plain text.
    """
    sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Channelscribe", storage_mode="memory"))
    if not sender.add(url):
        return "its URL is none that Apprise knows"
    result = sender.notify(
        title=message.title,
        body=message.body or message.title,
        notify_type=apprise.NotifyType.WARNING,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=LIMIT_S,
        log_level=logging.DEBUG,
    )
    if result:
        return None
    lines = [
        _URL_PATH.sub("", entry.message.removeprefix(_DETAIL))
        for entry in result.logs()
        if entry.level in ("WARNING", "ERROR") or entry.message.startswith(_DETAIL)
    ]
    return _without_secrets(" ".join(dict.fromkeys(lines)) or "Apprise gives no reason", url)[:_MAX_REASON]


def _without_secrets(text: str, url: str) -> str:
    """The text without the parts of the URL that may be a password or a token: all but the scheme and the host."""
    host = re.sub(r"[:/?].*", "", url.partition("://")[2].rpartition("@")[2])
    for part in re.split(r"[/:@?&=,]+", url.partition("://")[2]):
        if len(part) >= _LEAST_SECRET and part != host:
            text = text.replace(part, "***")
    return text

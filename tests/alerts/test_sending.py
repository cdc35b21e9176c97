"""Messages to real servers: a webhook and a mail server, and to such as are down, hang, or refuse."""

import email
import email.policy
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from channelscribe.alerts.message import Message
from channelscribe.settings import PROJECT_ROOT

pytest.importorskip("apprise", reason="it is in Airflow's environment")
Controller = pytest.importorskip("aiosmtpd.controller").Controller

from channelscribe.alerts import sending  # noqa: E402
from channelscribe.alerts.sending import send  # noqa: E402

HOSTILE = Message("Channelscribe: <b>Talk</b> failed", "*It* has & <script>alert(1)</script>\n[no](http://sound)")


class Mailbox:
    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.recipients: list[str] = []

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 - aiosmtpd's names
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if address.startswith("nobody@"):
            return "550 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box.port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_webhook_gets_the_text_as_it_is(webhook) -> None:
    assert send(webhook.url, HOSTILE) is None
    (message,) = webhook.messages
    assert (message["title"], message["message"], message["type"]) == (HOSTILE.title, HOSTILE.body, "warning")


def test_a_mail_shows_the_text_and_runs_none_of_it(mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}?from=archive@example.org&to=ada@example.org"
    assert send(url, HOSTILE) is None
    (mail,) = mailbox.mails
    assert mailbox.recipients == ["ada@example.org"]
    assert mail["Subject"] == HOSTILE.title
    assert mail.get_content_type() == "text/plain"  # nothing in it is more than its letters
    assert mail.get_content().split() == HOSTILE.body.split()


def test_a_recipient_that_is_refused_is_a_reason(mailbox) -> None:
    reason = send(f"mailto://127.0.0.1:{mailbox.port}?from=archive@example.org&to=nobody@example.org", HOSTILE)
    assert reason and mailbox.mails == []


def test_one_that_is_down_is_a_reason_without_its_secrets() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # In a process whose log shows everything, as pytest's own capture goes around what keeps Apprise's log back.
    program = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)\n"
        "from channelscribe.alerts.message import Message; from channelscribe.alerts.sending import send\n"
        f"print('reason:', send('json://user:password123@127.0.0.1:{port}/token456789', Message('t', 'b')))"
    )
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert "Connection refused" in printed.partition("reason: ")[2]
    assert "password123" not in printed and "token456789" not in printed


def test_one_that_refuses_is_a_reason(webhook) -> None:
    webhook.status = 403
    reason = send(webhook.url, HOSTILE)
    assert reason and "403" in reason
    assert webhook.messages == []


def test_one_that_never_answers_is_left_after_the_limit(silent_port, monkeypatch) -> None:
    monkeypatch.setattr(sending, "LIMIT_S", 1.0)
    started = time.monotonic()
    assert send(f"json://127.0.0.1:{silent_port}/", HOSTILE)
    assert time.monotonic() - started < 14  # the usual limit is 15


@pytest.mark.parametrize("url", ["", "nonsense", "nonsense://secret", "mailto://"])
def test_what_is_no_target_is_a_reason(url: str) -> None:
    assert send(url, HOSTILE) == "its URL is none that Apprise knows"


def test_the_examples_of_the_documentation_are_targets() -> None:
    page = (PROJECT_ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    urls = re.findall(r"\| `(\w+://[^`]+)` \|", page)
    assert len(urls) == 5
    for url in urls:
        assert sending.apprise.Apprise().add(url), url

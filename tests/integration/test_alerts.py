"""A live Airflow with a feed that is throttled: who is told of what, when, and once."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.alone, pytest.mark.timeout(1800)]

# Half an hour at the feed's speed, so that the messages come before its end on a slow machine, too.
N_BYTES = 20_000_000
FEED = """<?xml version="1.0"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"><channel><title>A slow show</title>
<item><title>A slow talk</title><guid>talk</guid><itunes:duration>10</itunes:duration>
<enclosure url="{url}/talk.wav" type="audio/wav" length="20000000"/></item></channel></rss>"""


class ThrottledFeed:
    """Hands its one item out at about 10 KiB/s, until it is released; the item turns out to be no audio."""

    def __init__(self) -> None:
        self.released = threading.Event()
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                if self.path.endswith(".xml"):
                    body = FEED.format(url=feed.url).encode()
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                self.send_header("Content-Length", str(N_BYTES))
                self.end_headers()
                left = N_BYTES
                with suppress(OSError):
                    while left:
                        n_bytes = left if feed.released.wait(0.1) else min(left, 1024)
                        self.wfile.write(bytes(n_bytes))
                        left -= n_bytes

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def throttled_feed() -> Iterator[ThrottledFeed]:
    feed = ThrottledFeed()
    yield feed
    feed.released.set()
    feed.server.shutdown()
    feed.server.server_close()


def test_a_slow_run_is_told_of_while_it_runs_with_the_right_cause_once(alerting_job, throttled_feed, webhook) -> None:
    with alerting_job.api as api:
        target = {"connection_id": "hook", "conn_type": "generic", "password": webhook.url}
        api._call("POST", "/connections", json=target)
        assert alerting_job.call("alerts", "test") == "hook: it arrived\n"
        webhook.status = 403
        refused = alerting_job.call("alerts", "test", check=False)
        assert refused.startswith("hook: failed: ") and "403" in refused
        webhook.status = 200
        assert webhook.titles == ["a test"]

        api.unpause("channel_ingest")
        run_id = api.trigger("channel_ingest", {"channels": [f"{throttled_feed.url}/feed.xml"]})
        webhook.wait(lambda: len(webhook.messages) >= 3, timeout_s=900)
        assert api.run_state("channel_ingest", run_id) == "running", "it was told only afterwards"
        (slow,) = (message for message in webhook.messages if " is slow: " in message["title"])
        (late,) = (message for message in webhook.messages if "A run is late" in message["title"])
        for message in (slow, late):
            cause = message["message"].partition("Likely cause: ")[2]
            assert cause.startswith("The download is slow: "), message
            assert f"/dags/channel_ingest/runs/{run_id.replace(':', '%3A').replace('+', '%2B')}" in message["message"]
        assert slow["title"] == "Channelscribe: fetch_audio is slow: A slow talk"
        assert late["title"].startswith("Channelscribe: A run is late: 1 of 1 batches are not done after ")
        assert "A slow talk: fetch_audio is at work for" in late["message"]

        throttled_feed.released.set()
        webhook.wait(lambda: len(webhook.messages) >= 4, timeout_s=600)
        assert api.run_state("channel_ingest", run_id) == "failed"
    assert webhook.titles[3] == "A slow talk failed"
    assert len(webhook.messages) == 4

    listed = alerting_job.call("alerts", "list")
    assert listed.count("told hook at") == 3
    assert webhook.url not in listed
    for log in (alerting_job.home / "logs").rglob("*.log"):
        assert webhook.url not in log.read_text(errors="replace"), log

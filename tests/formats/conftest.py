"""Recordings as a test thinks of them: who says what, from which second on."""

from datetime import UTC, datetime

import pytest

from channelscribe.contracts import Turn, Word
from channelscribe.formats.recording import Recording, SpokenUtterance, Voice

HOSTILE_NAME = "<b>Ada & Bob</b> --> x\n\n2\n00:00:00,000 --> 00:00:09,000\u202e {\\an8}\\N\x1b[31m"
HOSTILE_TEXT = "<i>1 < 2</i> & {\\p1}drawn --> \\N \\h C:\\new &amp; \u202eback\x07"


def make(*lines: tuple[str, float, str], names=None, word_s: float = 0.5, **changes: object) -> Recording:
    """A recording of lines (cluster, start in seconds, text), each an utterance and a turn; spaces split the words."""
    names = names or {}
    utterances = []
    for index, (cluster, start_s, text) in enumerate(lines):
        words = tuple(
            Word(text=word, start_s=start_s + word_s * n, end_s=start_s + word_s * (n + 1), probability=0.5)
            for n, word in enumerate(text.split(" "))
        )
        speaker = names.get(cluster, cluster)
        utterances.append(
            SpokenUtterance(index, cluster, speaker, start_s, words[-1].end_s, text, words, ("no_speech",))
        )
    known = {
        "video_id": "youtube-v1",
        "title": "A tale",
        "url": "https://www.youtube.com/watch?v=v1",
        "channel": "Classics",
        "channel_url": "https://www.youtube.com/@classics/videos",
        "published_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "duration_s": 3725.5,
        "language": "en",
        "word_timing": "aligned",
        "availability": "public",
        "voices": tuple(Voice(c, names.get(c), 1.5) for c in sorted({line[0] for line in lines})),
        "turns": tuple(Turn(start_s=u.start_s, end_s=u.end_s, cluster=u.cluster) for u in utterances),
        "utterances": tuple(utterances),
    }
    return Recording(**{**known, **changes})


@pytest.fixture
def recording():
    """Function that makes a recording."""
    return make


@pytest.fixture
def hostile() -> Recording:
    """A recording in which every text that comes from outside tries to break out."""
    return make(
        ("SPEAKER_00", 0.0, HOSTILE_TEXT),
        ("SPEAKER_01", 9.0, "Yes."),
        names={"SPEAKER_00": HOSTILE_NAME, "SPEAKER_01": "\u202e"},
        title="# T [x](javascript:1)\n# U `",
        channel="*C*\x00",
        url="https://example.org/a b>(x)?t=1#\n<script>",
    )

"""All that is known of a video, as JSON; docs/export.md has the fields."""

import json
import re
from datetime import UTC

from channelscribe.channels.identity import is_unseen
from channelscribe.formats.recording import Recording

SCHEMA_VERSION = 1
# Cheap to find: all that is unseen is among these. JSON escapes line breaks itself: those left are the layout's.
_MAYBE_UNSEEN = re.compile(r"[^\x20-\x7e\n]")


def as_json(recording: Recording) -> str:
    """One object. Texts are the archive's, unchanged; what must not be seen of them is escaped as ``\\uXXXX``."""
    labels = {voice.cluster: voice.label for voice in recording.voices}
    published_at = recording.published_at.astimezone(UTC).isoformat() if recording.published_at else None
    content = {
        "schema_version": SCHEMA_VERSION,
        "video": {
            "video_id": recording.video_id,
            "title": recording.title,
            "url": recording.url,
            "channel": recording.channel,
            "channel_url": recording.channel_url,
            "published_at": published_at,
            "duration_s": recording.duration_s,
            "language": recording.language,
            "word_timing": recording.word_timing,
            "availability": recording.availability,
        },
        "speakers": [{**vars(voice), "label": voice.label} for voice in recording.voices],
        "turns": [{**turn.model_dump(), "speaker": labels.get(turn.cluster, turn.cluster)} for turn in recording.turns],
        "utterances": [
            {**vars(utterance), "words": [word.model_dump() for word in utterance.words]}
            for utterance in recording.utterances
        ],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    return _MAYBE_UNSEEN.sub(_escaped, text) + "\n"


def _escaped(found: re.Match[str]) -> str:
    character = found.group()
    return json.dumps(character)[1:-1] if is_unseen(character) else character

"""JSON holds all that the archive knows."""

import json

from channelscribe.formats import written


def test_it_holds_the_video_speakers_turns_and_words(recording):
    made = recording(("SPEAKER_00", 0.0, "Grüße 😀"), ("SPEAKER_01", 0.5, "x"), names={"SPEAKER_00": "Ada"})
    text = written(made, "json")
    assert "Grüße 😀" in text
    assert json.loads(text) == {
        "schema_version": 1,
        "video": {
            "video_id": "youtube-v1",
            "title": "A tale",
            "url": "https://www.youtube.com/watch?v=v1",
            "channel": "Classics",
            "channel_url": "https://www.youtube.com/@classics/videos",
            "published_at": "2026-01-02T03:04:05+00:00",
            "duration_s": 3725.5,
            "language": "en",
            "word_timing": "aligned",
            "availability": "public",
        },
        "speakers": [
            {"cluster": "SPEAKER_00", "name": "Ada", "speech_s": 1.5, "label": "Ada"},
            {"cluster": "SPEAKER_01", "name": None, "speech_s": 1.5, "label": "SPEAKER_01"},
        ],
        "turns": [
            {"start_s": 0.0, "end_s": 1.0, "cluster": "SPEAKER_00", "speaker": "Ada"},
            {"start_s": 0.5, "end_s": 1.0, "cluster": "SPEAKER_01", "speaker": "SPEAKER_01"},
        ],
        "utterances": [
            {
                "index": 0, "cluster": "SPEAKER_00", "speaker": "Ada", "start_s": 0.0, "end_s": 1.0, "text": "Grüße 😀",
                "words": [
                    {"text": "Grüße", "start_s": 0.0, "end_s": 0.5, "probability": 0.5},
                    {"text": "😀", "start_s": 0.5, "end_s": 1.0, "probability": 0.5},
                ],
                "suspicions": ["no_speech"],
            },
            {
                "index": 1, "cluster": "SPEAKER_01", "speaker": "SPEAKER_01", "start_s": 0.5, "end_s": 1.0, "text": "x",
                "words": [{"text": "x", "start_s": 0.5, "end_s": 1.0, "probability": 0.5}], "suspicions": ["no_speech"],
            },
        ],
    }  # fmt: skip


def test_hostile_texts_come_back_unchanged_and_are_not_seen_in_the_file(hostile):
    text = written(hostile, "json")
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    content = json.loads(text)
    assert content["speakers"][0]["name"] == hostile.voices[0].name
    assert content["utterances"][0]["text"] == hostile.utterances[0].text
    assert content["video"]["title"] == hostile.title


def test_characters_beyond_the_first_plane_are_escaped_in_pairs(recording):
    text = written(recording(title="a\U000e0001b"), "json")
    assert "a\\udb40\\udc01b" in text and json.loads(text)["video"]["title"] == "a\U000e0001b"


def test_without_utterances_the_video_is_there(recording):
    content = json.loads(written(recording(published_at=None), "json"))
    assert content["video"]["published_at"] is None
    assert (content["speakers"], content["turns"], content["utterances"]) == ([], [], [])

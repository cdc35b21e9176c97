import pytest

from channelscribe.alerts.budgets import Usual
from channelscribe.store.runs.stage_history import LAST_VIDEOS, usual_times

VIDEO = """
INSERT INTO channels (url, title) VALUES ('https://example.org/feed', 'Feed') ON CONFLICT DO NOTHING;
INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, covered_s)
SELECT %(id)s, channel_id, 'x', 'x', 'X', 60, 'mp3', 'english', 5, 5 FROM channels ON CONFLICT DO NOTHING;
INSERT INTO stage_runs
VALUES (%(id)s, %(stage)s, 'f', %(profile)s, 'e', 'm', 'r', '{}', 'cpu', 'cpu', %(empty)s, %(audio_s)s, 1, %(parts)s, 1,
        %(metrics)s, '0', now() - make_interval(hours => %(age_h)s));
"""


@pytest.fixture
def add(archive):
    def add_run(video_id, stage, parts, *, audio_s=60.0, profile="bundled", empty=False, metrics="{}", age_h=0):
        with archive, archive.cursor() as cursor:
            values = {"id": video_id, "stage": stage, "parts": parts, "audio_s": audio_s, "profile": profile}
            cursor.execute(VIDEO, values | {"empty": empty, "metrics": metrics, "age_h": age_h})

    return add_run


def test_medians_of_work_and_start(archive, add):
    add("v1", "diarize", '{"total": 2, "start": 1, "import": 4, "load": 1}')
    add("v2", "diarize", '{"total": 30, "container": 2, "start": 1, "import": 5}', audio_s=600)
    # The later video of a batch has no start of its own.
    add("v3", "diarize", '{"total": 100}', audio_s=60)
    assert usual_times(archive, "bundled") == {"diarize": Usual(3.0, 7.0, 3)}


def test_the_wait_for_a_turn_is_no_work_and_the_rate_is_that_of_the_download(archive, add):
    add("v1", "fetch_audio", '{"total": 100, "wait": 94, "fetch": 5, "start": 1}', metrics='{"n_bytes": 500000}')
    (usual,) = usual_times(archive, "bundled").values()
    assert (usual.work_s_per_min, usual.bytes_per_s) == (6.0, 100_000)


def test_other_profiles_empty_ones_and_those_without_audio_say_nothing(archive, add):
    add("v1", "diarize", '{"total": 2}', profile="gpu")
    add("v2", "diarize", '{"total": 2}', empty=True)
    add("v3", "diarize", '{"total": 2}', audio_s=0.0)
    assert usual_times(archive, "bundled") == {}


def test_only_the_last_videos_count(archive, add):
    for number in range(LAST_VIDEOS):
        add(f"new{number}", "diarize", '{"total": 2}', age_h=number)
    for number in range(LAST_VIDEOS + 5):
        add(f"old{number}", "diarize", '{"total": 200}', age_h=100 + number)
    assert usual_times(archive, "bundled") == {"diarize": Usual(2.0, 0.0, LAST_VIDEOS)}

"""What reports ask the archive."""

from datetime import UTC, datetime

from channelscribe.store.queries import (
    loaded_video_ids,
    record_ingest_run,
    time_by_stage,
    videos_with_first_utterances,
)

LINES = [("SPEAKER_00" if n % 2 else "SPEAKER_01", 2.0 * n, f"line number {n}") for n in range(8)]


def test_loaded_video_ids(studio, script):
    studio.add(script(LINES))
    studio.write(script(LINES, video_id="v2"))
    assert loaded_video_ids(studio.connection) == {"v1"}
    assert loaded_video_ids(studio.connection, ["v1", "v2", "'"]) == {"v1"}
    assert loaded_video_ids(studio.connection, []) == set()


def test_videos_come_newest_first_with_their_first_utterances(studio, script, voice):
    studio.enroll("Ada", voice("SPEAKER_01"))
    studio.add(script(LINES, video={"published_at": datetime(2026, 1, 1, tzinfo=UTC)}))
    studio.add(script((), video_id="v2", video={"published_at": datetime(2026, 1, 2, tzinfo=UTC)}))
    silent, spoken = videos_with_first_utterances(studio.connection, n_utterances=2)
    assert (silent.video_id, silent.n_utterances, silent.first_utterances) == ("v2", 0, ())
    assert (spoken.n_utterances, spoken.speakers) == (8, ("Ada", "SPEAKER_00"))
    assert [(said.speaker, said.start_s, said.text) for said in spoken.first_utterances] == [
        ("Ada", 0.0, "line number 0"),
        ("SPEAKER_00", 2.0, "line number 1"),
    ]
    assert [video.video_id for video in videos_with_first_utterances(studio.connection, ["v1"])] == ["v1"]
    assert videos_with_first_utterances(studio.connection, []) == []


def test_time_by_stage_is_a_ratio_of_sums_in_the_order_of_work(studio, script):
    studio.add(script(LINES))
    studio.add(script(LINES, video_id="v2"))
    times = time_by_stage(studio.connection)
    assert [time.stage for time in times] == ["fetch_audio", "diarize", "transcribe", "identify_speakers", "embed_text"]
    assert {(time.n_videos, time.audio_s, time.processing_s, time.rtfx) for time in times} == {(2, 120.0, 20.0, 6.0)}
    assert time_by_stage(studio.connection, []) == []


def test_a_run_is_noted_from_its_start_to_its_end(studio):
    record_ingest_run(studio.connection, "run", "running", params={"limit": 3})
    assert studio.rows("SELECT state, params, counts, finished_at FROM ingest_runs") == [
        ("running", {"limit": 3}, {}, None)
    ]
    record_ingest_run(studio.connection, "run", "failed", counts={"loaded": 2})
    assert studio.rows("SELECT state, params, counts, finished_at IS NOT NULL FROM ingest_runs") == [
        ("failed", {"limit": 3}, {"loaded": 2}, True)
    ]

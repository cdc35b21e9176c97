"""Who said what, when voices are enrolled before a load and long after it."""

import logging
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from channelscribe.contracts import Calibration
from channelscribe.profiles import BUNDLED
from channelscribe.store.connection import connect
from channelscribe.store.speakers import labels
from channelscribe.store.speakers.enrollments import store_calibration
from channelscribe.store.speakers.labels import BATCH_VIDEOS, Labelled, lock_voices
from channelscribe.store.speakers.names import lock_video

TWO = (("SPEAKER_00", 0.0, "It was the best of times"), ("SPEAKER_01", 5.0, "it was the worst of times"))
MODEL = (BUNDLED.stages["identify_speakers"].model, BUNDLED.stages["identify_speakers"].revision)
NAMES = "SELECT cluster, name, speaker_matched FROM clusters LEFT JOIN speakers USING (speaker_id) ORDER BY 1"


def calibration(**changes) -> Calibration:
    known = {
        "model": MODEL[0], "revision": MODEL[1], "n_speakers": 4, "n_target": 40, "n_impostor": 120, "eer": 0.02,
        "false_accept_rate": 0.01, "threshold": 0.6, "margin": 0.1, "max_variance": 0.4, "same_voice": 0.7,
    }  # fmt: skip
    return Calibration(**{**known, **changes})


@pytest.fixture(autouse=True)
def calibrated(studio):
    store_calibration(studio.connection, calibration())


def towards(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """A voice with this cosine to the first, between it and the second."""
    across = other - one * (one @ other)
    across /= np.linalg.norm(across)
    return (share * one + np.sqrt(1 - share**2) * across).astype(np.float32)


def test_enrolling_a_voice_later_names_it_in_what_is_there(studio, script, voice):
    studio.add(script(TWO))
    studio.add(script(TWO, video_id="v2", voices={"SPEAKER_01": voice("x")}))
    assert studio.relabel() == Labelled()
    studio.enroll("Ada", voice("SPEAKER_01"), towards(voice("SPEAKER_01"), voice("z"), 0.9))
    labelled = studio.relabel()
    assert (labelled.n_clusters, labelled.n_utterances) == (1, 1)
    assert studio.said_by() == {
        ("v1", 0): "SPEAKER_00", ("v1", 1): "Ada", ("v2", 0): "SPEAKER_00", ("v2", 1): "SPEAKER_01",
    }  # fmt: skip
    (score,) = studio.rows("SELECT speaker_score FROM clusters WHERE speaker_matched")[0]
    assert score == pytest.approx(np.cos(np.arccos(0.9) / 2), abs=1e-3)  # to the mean of the two directions


def test_relabelling_writes_only_what_differs_and_a_load_finds_it_done(studio, script, voice):
    video = script(TWO, variances={"SPEAKER_01": 0.9}, turn_voices={5.0: voice("a")})
    studio.add(video)
    studio.enroll("Ada", voice("a"))
    studio.enroll("Dickens", voice("SPEAKER_00"))
    assert studio.relabel().n_utterances == 2
    before = studio.snapshot()
    assert studio.relabel() == Labelled()
    assert not studio.load(video).changed
    assert studio.snapshot() == before
    studio.enroll("Bob", voice("b"))  # like nobody here: the scores' runner-up may change, no name does
    labelled = studio.relabel()
    assert (labelled.n_clusters, labelled.n_utterances) == (0, 0)
    assert studio.snapshot()["turn_voice_embeddings"] == before["turn_voice_embeddings"]


def test_a_video_that_another_model_took_over_meanwhile_is_left_to_it(studio, script, voice, archive_dsn, monkeypatch):
    studio.add(script(TWO[:1], voices={"SPEAKER_00": voice("a")}))
    studio.enroll("Ada", voice("a"))

    def loaded_by_another_model(cursor, video_id):
        with closing(connect(archive_dsn)) as connection, connection, connection.cursor() as other:
            other.execute("UPDATE stage_runs SET model = 'other' WHERE stage = 'identify_speakers'")
        lock_video(cursor, video_id)

    monkeypatch.setattr(labels, "lock_video", loaded_by_another_model)
    assert studio.relabel() == Labelled()
    assert studio.rows(NAMES) == [("SPEAKER_00", None, False)]


def test_a_load_and_a_relabelling_come_to_the_same(studio, script, voice):
    lines = [(f"SPEAKER_0{n % 4}", 5.0 * n, f"line {n}") for n in range(12)]
    voices = {f"SPEAKER_0{n}": towards(voice("a"), voice("b"), 0.55 + 0.1 * n) for n in range(4)}
    turn_voices = {5.0 * n: towards(voice("a"), voice("c"), 0.5 + 0.04 * n) for n in range(12)}
    video = script(lines, voices=voices, variances={"SPEAKER_03": 0.8}, turn_voices=turn_voices)
    studio.add(video)
    studio.enroll("Ada", voice("a"))
    studio.enroll("Cy", voice("c"))
    studio.relabel()
    relabelled, names = studio.snapshot(), set(studio.said_by().values())
    assert not studio.load(video).changed
    assert studio.snapshot() == relabelled
    assert names == {"Ada", "Cy", "SPEAKER_00"}


def test_a_voice_between_two_speakers_is_unknown_and_says_how_near_it_was(studio, script, voice):
    between = towards(voice("a"), voice("b"), 0.72)
    studio.enroll("Ada", voice("a"))
    studio.enroll("Bob", voice("b"))
    studio.add(script(TWO[:1], voices={"SPEAKER_00": between}))
    assert studio.rows(NAMES) == [("SPEAKER_00", None, False)]
    ((score, margin),) = studio.rows("SELECT speaker_score, speaker_margin FROM clusters")
    assert (score, 0.0 <= margin < 0.1) == (pytest.approx(0.72, abs=1e-5), True)


def test_a_cluster_that_mixes_voices_is_taken_utterance_by_utterance(studio, script, voice):
    lines = [("SPEAKER_00", 5.0 * n, f"line {n}") for n in range(3)]
    voices = {0.0: voice("a"), 5.0: voice("b"), 10.0: voice("stranger")}
    video = script(lines, voices={"SPEAKER_00": voice("a")}, turn_voices=voices, variances={"SPEAKER_00": 0.7})
    studio.enroll("Ada", voice("a"))
    studio.enroll("Bob", voice("b"))
    studio.add(video)
    assert studio.rows(NAMES) == [("SPEAKER_00", None, False)]
    assert studio.said_by() == {("v1", 0): "Ada", ("v1", 1): "Bob", ("v1", 2): "SPEAKER_00"}
    scores = studio.rows("SELECT speaker_score, speaker_margin FROM utterances ORDER BY utterance_index")
    assert [score for score, _ in scores[:2]] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert scores[2][0] < 0.6

    # With a greater variance allowed it is one voice: the utterances' own names go.
    store_calibration(studio.connection, calibration(max_variance=0.8))
    labelled = studio.relabel()
    assert studio.said_by() == {("v1", 0): "Ada", ("v1", 1): "Ada", ("v1", 2): "Ada"}
    assert labelled.n_clusters == 1
    assert studio.rows("SELECT count(*) FROM utterances WHERE speaker_id IS NOT NULL OR speaker_score IS NOT NULL") == [
        (0,)
    ]


def test_a_turn_too_short_for_a_voice_embedding_stays_unknown(studio, script, voice):
    video = script([("SPEAKER_00", 0.0, "a long line"), ("SPEAKER_00", 5.0, "no")], variances={"SPEAKER_00": 0.7})
    files = video.files()["identify_speakers"]
    analysis = files["analysis.json"].model_copy(update={"embedded_turns": video.turns()[:1]})
    arrays = {**files["voice_embeddings.npz"], "turns": voice("a")[None]}
    studio.write(video, {"identify_speakers": {"analysis.json": analysis, "voice_embeddings.npz": arrays}})
    studio.enroll("Ada", voice("a"))
    studio.load(video)
    assert studio.said_by() == {("v1", 0): "Ada", ("v1", 1): "SPEAKER_00"}


def test_a_name_given_by_hand_wins_over_everything_and_stays(studio, script, voice):
    lines = [("SPEAKER_00", 0.0, "one"), ("SPEAKER_00", 5.0, "two"), ("SPEAKER_01", 10.0, "three")]
    voices = {0.0: voice("a"), 5.0: voice("b")}
    video = script(lines, turn_voices=voices, variances={"SPEAKER_00": 0.7})
    studio.enroll("Ada", voice("a"))
    studio.add(video)
    assert studio.said_by()["v1", 0] == "Ada"
    studio.rows("INSERT INTO speakers (name) VALUES ('Zoe')")
    studio.rows(
        "UPDATE clusters SET speaker_matched = false, "
        "speaker_id = (SELECT speaker_id FROM speakers WHERE name = 'Zoe') WHERE cluster = 'SPEAKER_00'"
    )
    assert {studio.said_by()["v1", 0], studio.said_by()["v1", 1]} == {"Zoe"}  # at once, before anything is relabelled
    studio.enroll("Bob", voice("SPEAKER_00"), voice("b"))
    studio.relabel()
    studio.load(video)
    assert {studio.said_by()["v1", 0], studio.said_by()["v1", 1]} == {"Zoe"}
    assert studio.rows(NAMES)[0] == ("SPEAKER_00", "Zoe", False)


def test_only_videos_of_the_model_are_relabelled(studio, script, voice):
    studio.add(script(TWO))
    studio.enroll("Other", voice("SPEAKER_00"), model=("another model", "1"))
    assert studio.relabel(("another model", "1")) == Labelled()
    assert studio.relabel() == Labelled()
    assert "Other" not in studio.said_by().values()


def test_without_an_operating_point_nobody_is_named_and_one_line_says_what_to_do(studio, script, voice, caplog):
    studio.rows("DELETE FROM speaker_calibrations")
    studio.rows("UPDATE embedding_models SET revision = 'other' WHERE kind = 'voice'")
    for n in range(3):
        studio.add(script(TWO, video_id=f"v{n}"))
    studio.rows("UPDATE embedding_models SET revision = 'new' WHERE kind = 'voice'")
    studio.rows("UPDATE stage_runs SET revision = 'new' WHERE stage = 'identify_speakers'")
    studio.enroll("Ada", voice("SPEAKER_00"), model=(MODEL[0], "new"))
    with caplog.at_level(logging.WARNING):
        assert studio.relabel((MODEL[0], "new")).n_clusters == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"Nobody is named by {MODEL[0]} (new): run `channelscribe calibrate` to measure its threshold."
    ]
    store_calibration(studio.connection, calibration(revision="new"))
    assert studio.relabel((MODEL[0], "new")).n_clusters == 3


def test_the_newest_calibration_decides(studio, script, voice):
    studio.add(script(TWO[:1], voices={"SPEAKER_00": towards(voice("a"), voice("b"), 0.8)}))
    studio.enroll("Ada", voice("a"))
    for threshold, n_changed in ((0.9, 0), (0.7, 1), (0.7, 0), (0.9, 1)):
        store_calibration(studio.connection, calibration(threshold=threshold))
        assert studio.relabel().n_clusters == n_changed


def test_every_batch_of_a_large_archive_is_relabelled(studio, script, voice):
    n_videos = BATCH_VIDEOS + 2
    studio.add(script(TWO))
    for number in range(2, n_videos + 1):  # copies of the first, row by row
        for table in ("videos", "clusters", "utterances", "cluster_voice_embeddings", "stage_runs"):
            studio.rows(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, "
                f"to_jsonb(t) || jsonb_build_object('video_id', %s))).* FROM {table} t WHERE video_id = 'v1'",
                f"v{number}",
            )
    studio.enroll("Ada", voice("SPEAKER_01"))
    assert studio.relabel().n_clusters == n_videos
    assert list(studio.said_by().values()).count("Ada") == n_videos


def test_a_relabelling_says_that_the_videos_changed(studio, script, voice):
    studio.add(script(TWO))
    studio.add(script(TWO, video_id="v2", voices={"SPEAKER_00": voice("x"), "SPEAKER_01": voice("y")}))
    studio.rows("UPDATE videos SET loaded_at = '2020-01-01'")
    studio.enroll("Ada", voice("SPEAKER_01"))
    studio.relabel()
    studio.rows("UPDATE videos SET loaded_at = '2020-01-01'")
    studio.relabel()
    assert studio.rows("SELECT count(*) FROM videos WHERE loaded_at > '2021-01-01'") == [(0,)]
    studio.enroll("Bob", voice("y"))
    studio.relabel()
    assert ("v2",) in studio.rows("SELECT video_id FROM videos WHERE loaded_at > '2021-01-01'")


def test_a_load_waits_for_an_enrollment_that_is_being_written(studio, script, voice, archive_dsn):
    """The video is then labelled by the new voice, although it was not there when the archive was relabelled."""
    video = script(TWO)
    studio.add(script(TWO, video_id="warm"))
    studio.enroll("Ada", voice("SPEAKER_01"))
    studio.rows("CREATE TABLE kept AS SELECT * FROM enrollments")
    studio.rows("DELETE FROM enrollments")
    studio.write(video)
    enrolling = connect(archive_dsn)
    with enrolling.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        loading = threading.Thread(target=studio.load, args=(video,))
        loading.start()
        watcher = connect(archive_dsn)
        watcher.autocommit = True
        with watcher.cursor() as watching:
            for _ in range(200):
                watching.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                if watching.fetchone()[0]:
                    break
                loading.join(0.05)
            else:
                pytest.fail("the load did not wait")
        cursor.execute("INSERT INTO enrollments OVERRIDING SYSTEM VALUE SELECT * FROM kept")
    enrolling.commit()
    loading.join(30)
    enrolling.close()
    watcher.close()
    assert studio.said_by()["v1", 1] == "Ada"


def test_loads_and_relabellings_at_once_do_not_collide(studio, script, voice, archive_dsn):
    videos = [script(TWO, video_id=f"v{n}") for n in range(6)]
    for video in videos:
        studio.add(video)
    studio.enroll("Ada", voice("SPEAKER_01"))
    load = (
        "import sys; from pathlib import Path; from channelscribe.profiles import BUNDLED; "
        "from channelscribe.store.connection import connect; from channelscribe.store.loader import load_video; "
        "from channelscribe.workspace import Workspace\n"
        "for n in range(5, -1, -1): "
        "load_video(connect(sys.argv[1]), Workspace(Path(sys.argv[2])), f'v{n}', BUNDLED, 'run')"
    )
    relabel = (
        "import sys\nfrom channelscribe.store.connection import connect\n"
        "from channelscribe.store.speakers.labels import relabel\n"
        f"for n in range(6): relabel(connect(sys.argv[1]), {MODEL!r})"
    )
    root = str(studio.workspace.data_root)
    programs = [subprocess.Popen([sys.executable, "-c", code, archive_dsn, root]) for code in (load, relabel, relabel)]
    assert [program.wait(120) for program in programs] == [0, 0, 0]
    assert list(studio.said_by().values()).count("Ada") == 6

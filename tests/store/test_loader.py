"""The loader on the real server: one small video per defect."""

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from channelscribe.contracts import Cluster, Diarization, SpeakerAnalysis, Turn
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import BUNDLED
from channelscribe.store.connection import connect
from channelscribe.store.loader import load_video

TWO = (("SPEAKER_00", 0.0, "It was the best of times"), ("SPEAKER_01", 5.0, "it was the worst of times"))


def test_a_video_is_loaded_whole(studio, script):
    result = studio.add(script(TWO))
    assert (result.changed, result.n_clusters, result.n_turns, result.n_utterances, result.n_chunks) == (
        True, 2, 2, 2, 2,
    )  # fmt: skip
    assert studio.rows("SELECT cluster, start_s, end_s, text FROM utterances ORDER BY utterance_index") == [
        ("SPEAKER_00", 0.0, 3.0, "It was the best of times"),
        ("SPEAKER_01", 5.0, 8.0, "it was the worst of times"),
    ]
    assert studio.rows("SELECT words->0 FROM utterances WHERE utterance_index = 1") == [
        ({"text": "it", "start_s": 5.0, "end_s": 5.5, "probability": None},)
    ]
    assert studio.rows("SELECT stage, total_s FROM stage_runs ORDER BY stage") == [
        (stage, 10.0) for stage in ("diarize", "embed_text", "fetch_audio", "identify_speakers", "transcribe")
    ]
    assert studio.rows("SELECT title FROM channels") == [("Classics",)]


def test_the_date_is_that_of_the_page_where_it_is_known(studio, script):
    guess, exact = (datetime(year, 5, 6, 7, 8, 9, tzinfo=UTC) for year in (2024, 2023))
    studio.rows(
        "INSERT INTO listed_videos (video_id, source_id, url, title, published_at, kind, availability) "
        "SELECT v, v, 'u', 't', %s, 'video', 'public' FROM unnest(ARRAY['v1', 'v2']) v",
        guess,
    )
    dates = (
        "SELECT v.published_at, l.published_at FROM videos v JOIN listed_videos l USING (video_id) ORDER BY video_id"
    )
    video = script(TWO, video={"published_at": guess})
    studio.add(video)
    studio.add(script(TWO, video_id="v2", video={"published_at": None}))
    assert studio.rows(dates) == [(guess, guess), (None, guess)]
    later = replace(video, published_at=exact)
    assert studio.add(later).changed
    studio.add(script(TWO, video_id="v2", video={"published_at": None}, published_at=exact))
    assert studio.rows(dates) == [(exact, exact), (exact, exact)]
    assert not studio.load(later).changed


def test_vectors_come_back_as_they_were(studio, script):
    video = script(TWO)
    studio.add(video)
    wanted = video.files()["embed_text"]["text_embeddings.npy"]
    found = [row[0].to_numpy() for row in studio.rows("SELECT embedding FROM text_embeddings ORDER BY chunk_index")]
    assert np.array_equal(np.array(found), wanted)
    assert studio.rows("SELECT kind, dimension FROM embedding_models ORDER BY kind") == [("text", 384), ("voice", 192)]


def test_loading_twice_writes_no_row(studio, script, voice):
    studio.enroll("Dickens", voice("SPEAKER_00"))
    studio.enroll("Ada", voice("a"), voice("ada"))
    video = script(TWO, variances={"SPEAKER_01": 0.9}, turn_voices={5.0: voice("a")}, suspicions=("repetition",))
    studio.add(video)
    before = studio.snapshot()
    assert sorted(studio.said_by().values()) == ["Ada", "Dickens"]
    result = studio.load(video, "another run")
    assert not result.changed
    assert studio.snapshot() == before


def test_only_the_difference_is_written(studio, script):
    studio.add(script((*TWO, ("SPEAKER_00", 10.0, "the age of wisdom"))))
    before = studio.snapshot()
    assert studio.add(script((TWO[0], ("SPEAKER_01", 5.0, "it was the age of foolishness")))).changed
    after = studio.snapshot()
    assert len(after["utterances"]) == len(after["chunks"]) == len(after["text_embeddings"]) == 2
    assert len(set(after["utterances"]) & set(before["utterances"])) == 1  # the first line was not touched
    assert after["embedding_models"] == before["embedding_models"]


def test_a_load_that_fails_at_its_end_leaves_the_archive_as_it_was(studio, script):
    studio.add(script(TWO))
    before = studio.snapshot()
    studio.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE check_violation USING MESSAGE = 'refused'; END $$"
    )
    # The turns' voice embeddings are the last table that a load writes.
    studio.rows("CREATE TRIGGER refuse BEFORE INSERT ON turn_voice_embeddings EXECUTE FUNCTION refuse()")
    new, changed = script(TWO, video_id="v2"), script((("SPEAKER_00", 1.0, "Something else entirely"),))
    for video in (new, changed):
        studio.write(video)
        with pytest.raises(BadInputError, match="refused"):
            studio.load(video)
        assert studio.snapshot() == before


def test_a_half_loaded_video_is_not_seen(studio, script, archive_dsn):
    """A second connection looks while the first is held up by a lock in the middle of its load."""
    video = script(TWO)
    studio.write(video)
    studio.add(script(video_id="warm"))  # the models are registered, so that only the load itself waits
    blocker = connect(archive_dsn)
    blocker.cursor().execute("LOCK TABLE text_embeddings IN ACCESS EXCLUSIVE MODE")
    loading = threading.Thread(target=studio.load, args=(video,))
    watcher = connect(archive_dsn)
    watcher.autocommit = True
    cursor = watcher.cursor()
    try:
        loading.start()
        for _ in range(200):
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            if cursor.fetchone()[0]:
                break
            loading.join(0.05)
        else:
            pytest.fail("the load never came to the locked table")
        cursor.execute("SELECT count(*) FROM videos WHERE video_id = 'v1'")
        assert cursor.fetchone() == (0,)
    finally:
        blocker.rollback()
        loading.join(30)
        blocker.close()
    cursor.execute("SELECT count(*) FROM videos WHERE video_id = 'v1'")
    assert cursor.fetchone() == (1,)
    watcher.close()


def test_loaders_at_once_do_not_collide(studio, script, archive_dsn):
    videos = [script(TWO, video_id=video_id) for video_id in ("v1", "v1", "v2")]
    for video in videos:
        studio.write(video)
    program = (
        "import sys; from pathlib import Path; from channelscribe.profiles import BUNDLED; "
        "from channelscribe.store.connection import connect; from channelscribe.store.loader import load_video; "
        "from channelscribe.workspace import Workspace; "
        "load_video(connect(sys.argv[1]), Workspace(Path(sys.argv[2])), sys.argv[3], BUNDLED, 'run')"
    )
    root = str(studio.workspace.data_root)
    loaders = [subprocess.Popen([sys.executable, "-c", program, archive_dsn, root, v.video_id]) for v in videos]
    assert [loader.wait(120) for loader in loaders] == [0, 0, 0]
    assert studio.rows("SELECT video_id, count(*) FROM utterances GROUP BY 1 ORDER BY 1") == [("v1", 2), ("v2", 2)]
    assert studio.rows("SELECT count(*) FROM embedding_models") == [(2,)]


def test_a_name_given_by_hand_outlives_a_load(studio, script, voice):
    studio.enroll("Bob", voice("SPEAKER_01"))
    studio.add(script(TWO))
    assert _names(studio) == {"SPEAKER_00": None, "SPEAKER_01": "Bob"}
    _name(studio, "SPEAKER_01", "Ada")
    studio.add(script((TWO[0], ("SPEAKER_01", 5.0, "it was the age of foolishness"))))
    assert _names(studio) == {"SPEAKER_00": None, "SPEAKER_01": "Ada"}


def test_a_name_given_by_hand_follows_its_voice_to_another_label(studio, script, voice):
    studio.enroll("Bob", voice("SPEAKER_00"))
    studio.add(script(TWO))
    _name(studio, "SPEAKER_01", "Ada")
    studio.add(script((("SPEAKER_01", 0.0, TWO[0][2]), ("SPEAKER_00", 5.0, TWO[1][2]))))
    assert _names(studio) == {"SPEAKER_00": "Ada", "SPEAKER_01": None}
    studio.add(script((("SPEAKER_00", 0.0, TWO[0][2]), ("SPEAKER_01", 5.0, TWO[1][2]))))
    assert _names(studio) == {"SPEAKER_00": "Bob", "SPEAKER_01": "Ada"}


def test_a_match_is_forgotten_when_the_voice_is_another(studio, script, voice):
    studio.enroll("Dickens", voice("SPEAKER_00"))
    studio.add(script(TWO))
    assert _names(studio) == {"SPEAKER_00": "Dickens", "SPEAKER_01": None}
    studio.add(script(TWO, voices={"SPEAKER_00": voice("another")}))
    assert _names(studio) == {"SPEAKER_00": None, "SPEAKER_01": None}


def test_why_a_text_may_be_wrong_is_kept_with_it(studio, script):
    studio.add(script(TWO))
    assert studio.rows("SELECT DISTINCT suspicions FROM utterances") == [([],)]
    assert studio.add(script(TWO, suspicions=("no_speech", "repetition"))).changed
    assert studio.rows("SELECT DISTINCT suspicions FROM utterances") == [(["no_speech", "repetition"],)]


def test_hostile_text_comes_back_as_it_was(studio, script):
    text = 'a\\b \t\'; DROP TABLE videos; -- {"x",NULL} \\N \\. \r\n %s 😀'
    video = script(
        (("SPEAKER_\\00,\"{}'", 0.0, text),), video={"title": "NULL\\N\t\n'", "channel_title": "\\", "source_id": ""}
    )
    studio.add(video)
    assert studio.rows("SELECT text FROM utterances") == [(text,)]
    assert studio.rows("SELECT text, clusters FROM chunks") == [(text, ["SPEAKER_\\00,\"{}'"])]
    assert studio.rows("SELECT title, source_id FROM videos") == [("NULL\\N\t\n'", "")]
    assert not studio.load(video).changed


def test_nul_characters_are_left_out(studio, script):
    video = script((("SPEAKER_00", 0.0, "be\x00st of times"),), video={"title": "T\x00", "channel_title": "C\x00"})
    studio.add(video)
    assert studio.rows("SELECT text, words->0->>'text' FROM utterances") == [("best of times", "best")]
    assert studio.rows("SELECT v.title, c.title FROM videos v JOIN channels c USING (channel_id)") == [("T", "C")]
    assert not studio.load(video).changed


@pytest.mark.parametrize("skipped", [("identify_speakers", "embed_text"), ("embed_text",), ()])
def test_a_video_without_speech_loads_without_utterances(studio, script, skipped):
    stages = ("fetch_audio", "diarize", "transcribe", "identify_speakers", "embed_text")
    video = script(())
    studio.write(video, stages=[s for s in stages if s not in skipped], empty=stages[1:])
    result = studio.load(video)
    assert (result.changed, result.n_utterances, result.n_clusters) == (True, 0, 0)
    assert not studio.load(video).changed
    assert studio.rows("SELECT video_id, speech_s FROM videos") == [("v1", 0.0)]


def test_a_video_that_lost_its_speech_keeps_no_utterance(studio, script):
    studio.add(script(TWO))
    studio.write(script(()), empty=("diarize", "transcribe", "identify_speakers", "embed_text"))
    assert studio.load(script(())).changed
    for table in ("utterances", "turns", "clusters", "chunks", "text_embeddings", "turn_voice_embeddings"):
        assert studio.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_stage_that_was_not_done_is_named(studio, script):
    studio.write(script(TWO), stages=["fetch_audio", "diarize", "transcribe"])
    with pytest.raises(MisconfiguredError, match="identify_speakers has not been done for v1"):
        studio.load(script(TWO))


def test_a_video_that_nobody_recorded_is_refused(studio):
    with pytest.raises(BadInputError, match="has no video 'v9'"):
        load_video(studio.connection, studio.workspace, "v9", BUNDLED)


def test_a_cluster_that_only_speaks_over_others_is_kept(studio, script):
    video = script(TWO)
    turns = (*video.turns(), Turn(start_s=6.0, end_s=6.5, cluster="SPEAKER_02"))
    both = Diarization(turns=turns, exclusive_turns=video.turns(), audio_s=60.0)
    studio.write(video, {"diarize": {"diarization.json": both}})
    assert studio.load(video).n_clusters == 3
    assert studio.rows("SELECT speech_s, n_voice_embeddings FROM clusters WHERE cluster = 'SPEAKER_02'") == [(0.5, 0)]
    assert studio.rows("SELECT count(*) FROM cluster_voice_embeddings") == [(2,)]


def test_a_cluster_too_short_for_a_voice_embedding_has_none(studio, script):
    video = script((("SPEAKER_00", 0.0, "Yes"),))
    analysis = SpeakerAnalysis(
        clusters=(Cluster(cluster="SPEAKER_00", speech_s=0.5, n_turns=1, n_voice_embeddings=0, speaker_variance=None),),
        embedded_turns=(),
        utterances=tuple(video.utterances()),
    )
    arrays = {"clusters": np.zeros((1, 192), np.float32), "turns": np.zeros((0, 192), np.float32)}
    studio.write(video, {"identify_speakers": {"analysis.json": analysis, "voice_embeddings.npz": arrays}})
    assert studio.load(video).n_utterances == 1
    assert studio.rows("SELECT count(*) FROM cluster_voice_embeddings") == [(0,)]


def _vectors(n_rows: int, value: float = 1.0, dimension: int = 384) -> np.ndarray:
    vectors = np.zeros((n_rows, dimension), np.float32)
    vectors[:, 0] = value
    return vectors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_vectors(3), "shape \\(3, 384\\), but there are 2 rows"),
        (_vectors(2)[0], "shape \\(384,\\)"),
        (_vectors(2, float("nan")), "not numbers or not of length 1"),
        (_vectors(2, float("inf")), "not numbers or not of length 1"),
        (_vectors(2, 0.0), "not numbers or not of length 1"),
        (_vectors(2, 3.0), "not numbers or not of length 1"),
        (np.ones((2, 384), int), "int64, not numbers"),
        (b"not an array", "cannot be read"),
        (b"", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_bad_text_embeddings_are_refused(studio, script, content, reason):
    studio.write(script(TWO), {"embed_text": {"text_embeddings.npy": content}})
    with pytest.raises(BadInputError, match=reason):
        studio.load(script(TWO))
    assert studio.rows("SELECT count(*) FROM videos") == [(0,)]
    assert studio.rows("SELECT count(*) FROM embedding_models") == [(0,)]


def test_another_dimension_of_the_same_model_is_refused(studio, script):
    studio.add(script(TWO))
    other = script(TWO, video_id="v2", text_dimension=8)
    studio.write(other)
    with pytest.raises(BadInputError, match="have 8 dimensions, but those in the archive have 384"):
        studio.load(other)
    assert studio.rows("SELECT video_id FROM videos") == [("v1",)]


def test_voice_embeddings_of_two_dimensions_are_refused(studio, script):
    arrays = {"clusters": _vectors(2, dimension=192), "turns": _vectors(2, dimension=8)}
    studio.write(script(TWO), {"identify_speakers": {"voice_embeddings.npz": arrays}})
    with pytest.raises(BadInputError, match="192 dimensions, those of turns 8"):
        studio.load(script(TWO))


def test_a_missing_array_is_named(studio, script):
    studio.write(script(TWO), {"identify_speakers": {"voice_embeddings.npz": {"clusters": _vectors(2, dimension=192)}}})
    with pytest.raises(BadInputError, match="turns"):
        studio.load(script(TWO))


def test_an_unknown_cluster_is_refused(studio, script):
    video = script(TWO)
    stranger = [chunk.model_copy(update={"clusters": ("SPEAKER_07",)}) for chunk in video.chunks()]
    studio.write(video, {"embed_text": {"chunks.json": _chunks(stranger)}})
    with pytest.raises(BadInputError, match="chunks names 'SPEAKER_07'"):
        studio.load(video)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"last_utterance": 5}, "but there are 2"),
        ({"first_utterance": 1, "last_utterance": 0}, "has utterances 1 to 0"),
        ({"index": 7}, "numbered from 0"),
        ({"end_s": -1.0}, "A chunk goes from"),
    ],
)
def test_a_chunk_that_contradicts_the_utterances_is_refused(studio, script, change, reason):
    video = script(TWO)
    first, second = video.chunks()
    studio.write(video, {"embed_text": {"chunks.json": _chunks([first.model_copy(update=change), second])}})
    with pytest.raises(BadInputError, match=reason):
        studio.load(video)


def test_a_time_that_is_not_a_number_is_refused(studio, script):
    video = script(TWO)
    text = _chunks(video.chunks()).model_dump_json().replace('"end_s":3.0', '"end_s":NaN')
    studio.write(video, {"embed_text": {"chunks.json": text.encode()}})
    with pytest.raises(BadInputError, match=r"A chunk goes from 0\.0 to nan"):
        studio.load(video)


def test_a_file_of_another_schema_is_refused(studio, script):
    studio.write(script(TWO), {"diarize": {"diarization.json": b'{"turns": [], "extra": 1}'}})
    with pytest.raises(BadInputError, match="not a Diarization of this version"):
        studio.load(script(TWO))


def test_a_text_too_long_to_index_is_refused_in_one_line(studio, script):
    rng = np.random.default_rng(0)
    text = " ".join("w" + "".join(chr(97 + d) for d in rng.integers(0, 26, 12)) for _ in range(90_000))
    video = script((("SPEAKER_00", 0.0, "hello"),))
    studio.write(video, {"embed_text": {"chunks.json": _chunks([video.chunks()[0].model_copy(update={"text": text})])}})
    with pytest.raises(BadInputError, match="too long for tsvector") as error:
        studio.load(video)
    assert "\n" not in str(error.value)


def test_the_run_that_changed_a_video_is_noted(studio, script):
    video = script(TWO)
    studio.write(video)
    studio.load(video, "run 1")
    studio.load(video, "run 2")
    assert studio.rows("SELECT ingest_run_id FROM videos") == [("run 1",)]


def test_vectors_of_two_models_live_side_by_side(studio, script, text_model):
    other = text_model(BUNDLED, "other")
    studio.add(script(TWO))
    studio.add(script(TWO, profile=other, text_dimension=8))
    assert studio.rows("SELECT vector_dims(embedding), count(*) FROM text_embeddings GROUP BY 1 ORDER BY 1") == [
        (8, 2),
        (384, 2),
    ]


def test_of_a_video_whose_text_changed_no_vector_stays_under_another_model(studio, script, text_model):
    other = text_model(BUNDLED, "other")
    studio.add(script(TWO))
    studio.add(script((TWO[0], ("SPEAKER_01", 5.0, "it was something else")), profile=other, text_dimension=8))
    assert studio.rows("SELECT vector_dims(embedding), chunk_index FROM text_embeddings ORDER BY 1, 2") == [
        (8, 0),
        (8, 1),
    ]


def _chunks(chunks):
    from channelscribe.contracts import Chunks

    return Chunks(chunks=tuple(chunks))


def _name(studio, cluster: str, name: str) -> None:
    studio.rows("INSERT INTO speakers (name) VALUES (%s)", name)
    studio.rows(
        "UPDATE clusters SET speaker_matched = false, "
        "speaker_id = (SELECT speaker_id FROM speakers WHERE name = %s) WHERE cluster = %s",
        name,
        cluster,
    )


def _names(studio) -> dict[str, str | None]:
    return dict(studio.rows("SELECT cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id)"))


def test_what_was_fetched_by_an_older_name_of_its_channel_makes_no_second_channel(studio, script):
    studio.add(script(TWO))
    older = {"channel_url": "http://m.youtube.com/@Classics/videos/?si=x"}
    studio.add(script(TWO, video_id="v2", video=older))
    assert studio.rows("SELECT url FROM channels") == [("https://www.youtube.com/@classics/videos",)]

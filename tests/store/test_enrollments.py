"""Voices that people enroll, list and forget."""

import pytest

from channelscribe.errors import BadInputError
from channelscribe.store.speakers.edits import name_cluster, undo
from channelscribe.store.speakers.enrollments import checked_name, forget, list_speakers, where_heard

TWO = (("SPEAKER_00", 0.0, "It was the best of times"), ("SPEAKER_01", 5.0, "it was the worst of times"))
ROWS = "SELECT name, source, start_s, end_s, speech_s, snr_db FROM enrollments JOIN speakers USING (speaker_id)"


def test_a_voice_has_several_voice_embeddings_and_grows_by_more_clips(studio, voice):
    assert studio.enroll("Ada Lovelace", voice("a"), voice("b"), clip="one.wav") == "Ada Lovelace"
    studio.enroll("Ada Lovelace", voice("c"), clip="two.wav")
    assert studio.rows(f"{ROWS} ORDER BY source, start_s") == [
        ("Ada Lovelace", "one.wav", 0.0, 10.0, 20.0, 30.0),
        ("Ada Lovelace", "one.wav", 10.0, 20.0, 20.0, 30.0),
        ("Ada Lovelace", "two.wav", 0.0, 10.0, 20.0, 30.0),
    ]


def test_the_same_clip_again_takes_the_place_of_what_it_was(studio, voice):
    studio.enroll("Ada", voice("a"), voice("b"), clip="one.wav")
    studio.enroll("Ada", voice("c"), clip="one.wav")
    assert len(studio.rows(ROWS)) == 1


def test_capitals_do_not_make_another_speaker(studio, voice):
    studio.enroll("Ada", voice("a"))
    assert studio.enroll("ADA", voice("b"), clip="two.wav") == "Ada"
    assert studio.rows("SELECT name FROM speakers") == [("Ada",)]


def test_a_clip_under_another_name_is_refused_and_changes_nothing(studio, voice):
    studio.enroll("Ada", voice("a"), clip="one.wav")
    before = studio.snapshot()
    with pytest.raises(BadInputError, match=r"one\.wav is enrolled as Ada already.*channelscribe forget"):
        studio.enroll("Bob", voice("a"), clip="one.wav")
    assert studio.snapshot() == before


def test_a_voice_of_another_dimension_is_refused(studio, voice):
    studio.enroll("Ada", voice("a"))
    with pytest.raises(BadInputError, match="have 8 dimensions, but those in the archive have 192"):
        studio.enroll("Bob", voice("b")[:8])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "needs a name"),
        ("  \t", "needs a name"),
        ("a\x00b", "needs a name"),
        ("a\x1b[31m", "needs a name"),
        ("x" * 101, "too long"),
        ("SPEAKER_00", "what an unknown voice is called"),
        ("speaker_12", "what an unknown voice is called"),
    ],
)
def test_what_is_no_name_is_refused_in_one_line(name, reason):
    with pytest.raises(BadInputError, match=reason) as error:
        checked_name(name)
    assert "\n" not in str(error.value)


def test_a_name_is_put_in_order():
    assert checked_name("  Ada \n Lovelace ") == "Ada Lovelace"
    assert checked_name("SPEAKER_00 of Parliament") == "SPEAKER_00 of Parliament"


def test_the_speakers_are_listed_with_what_they_are_known_by(studio, script, voice):
    assert list_speakers(studio.connection) == []
    studio.enroll("ada", voice("SPEAKER_00"), voice("a"), clip="one.wav")
    studio.enroll("ada", voice("SPEAKER_00"), clip="two.wav")
    studio.enroll("Bob", voice("b"))
    for number in (1, 2):
        studio.add(script(TWO, video_id=f"v{number}"))
    studio.rows("INSERT INTO speakers (name) VALUES ('Zoe')")
    studio.rows(
        "UPDATE clusters SET speaker_id = 3, speaker_matched = false WHERE cluster = 'SPEAKER_01' AND video_id = 'v2'"
    )
    ada, bob, zoe = list_speakers(studio.connection)
    assert (ada.name, ada.n_clips, ada.n_voice_embeddings, ada.n_videos) == ("ada", 2, 3, 2)
    assert ada.speech_s == sum(place.speech_s for place in where_heard(studio.connection, "ada")[1]) > 0
    assert (bob.name, bob.n_clips, bob.n_videos, bob.speech_s) == ("Bob", 1, 0, 0)
    assert (zoe.name, zoe.n_clips, zoe.n_videos, zoe.models) == ("Zoe", 0, 1, ())


def test_a_forgotten_voice_leaves_no_trace(studio, script, voice):
    lines = (*TWO, ("SPEAKER_02", 10.0, "the age of wisdom"), ("SPEAKER_02", 15.0, "the age of foolishness"))
    mixed = {"variances": {"SPEAKER_02": 0.9}, "turn_voices": {10.0: voice("SPEAKER_00"), 15.0: voice("b")}}
    studio.add(script(lines, **mixed))
    studio.relabel()
    untouched = studio.snapshot()
    studio.enroll("Ada", voice("SPEAKER_00"), clip="one.wav")
    studio.enroll("Ada", voice("SPEAKER_00"), clip="two.wav")
    studio.relabel()
    assert list(studio.said_by().values()).count("Ada") == 2
    gone = forget(studio.connection, "ada")
    assert (gone.name, gone.n_clips, gone.n_clusters, gone.n_utterances, gone.n_by_hand) == ("Ada", 2, 1, 2, 0)
    assert not {"Ada"} & set(studio.said_by().values())
    studio.relabel()
    after = studio.snapshot()
    content = {table: [row[1] for row in rows] for table, rows in after.items() if table != "videos"}
    assert content == {table: [row[1] for row in rows] for table, rows in untouched.items() if table != "videos"}
    assert list_speakers(studio.connection) == []


def test_forgetting_lets_the_runner_up_have_the_voice(studio, script, voice):
    studio.enroll("Ada", voice("SPEAKER_00"), clip="one.wav")
    nearly = voice("SPEAKER_00") * 0.8 + voice("x") * 0.6
    studio.enroll("Bob", (nearly / ((nearly**2).sum() ** 0.5)).astype("float32"))
    studio.add(script(TWO))
    assert studio.said_by()["v1", 0] == "Ada"
    forget(studio.connection, "Ada")
    assert studio.said_by()["v1", 0] == "SPEAKER_00"
    studio.relabel()
    assert studio.said_by()["v1", 0] == "Bob"


def test_what_a_person_named_is_forgotten_too_and_cannot_be_undone(studio, script, voice):
    studio.enroll("Ada", voice("SPEAKER_00"))
    studio.add(script(TWO))
    name_cluster(studio.connection, ("v1", "SPEAKER_01"), "Ada")
    gone = forget(studio.connection, "Ada")
    assert (gone.n_clusters, gone.n_utterances, gone.n_by_hand) == (2, 2, 1)
    studio.relabel()
    assert studio.said_by() == {("v1", 0): "SPEAKER_00", ("v1", 1): "SPEAKER_01"}
    assert studio.rows("SELECT count(*) FROM enrollments") == [(0,)]
    with pytest.raises(BadInputError, match="nothing to undo"):
        undo(studio.connection)


def test_nobody_of_that_name(studio):
    with pytest.raises(BadInputError, match=r"Nobody is called 'Ada': `channelscribe speakers`"):
        forget(studio.connection, "Ada")

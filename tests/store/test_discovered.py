"""Unknown voices that speak in several videos, over a real archive."""

import logging

import numpy as np
import pytest

from channelscribe.store.speakers.discovered import MIN_SPEECH_S, Discovered, discover, identify_all, identify_changed
from channelscribe.store.speakers.edits import name_cluster, name_speaker
from channelscribe.store.speakers.enrollments import list_speakers
from channelscribe.store.speakers.labels import Labelled, is_identified

pytest.importorskip("scipy")

LONG = "w" + " w" * 19  # 10 s
NAMES = "SELECT video_id, cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id) ORDER BY 1, 2"


@pytest.fixture
def talk(script, voice):
    """Function that gives a video in which these voices speak 10 s each, by cluster."""

    def make(video_id: str, *names: str, **more):
        lines = tuple((f"SPEAKER_{n:02}", 20.0 * n, LONG) for n in range(len(names)))
        return script(
            lines, video_id=video_id, voices={f"SPEAKER_{n:02}": voice(name) for n, name in enumerate(names)}, **more
        )

    return make


def test_a_voice_of_two_videos_is_one_speaker_and_keeps_its_number(studio, talk, model):
    studio.add(talk("v2", "host", "guest"))
    studio.add(talk("v1", "other", "host"))
    assert discover(studio.connection, model) == Discovered(1, 1, 2)
    assert studio.rows(NAMES) == [
        ("v1", "SPEAKER_00", None), ("v1", "SPEAKER_01", "Speaker 1"),
        ("v2", "SPEAKER_00", "Speaker 1"), ("v2", "SPEAKER_01", None),
    ]  # fmt: skip
    assert studio.said_by()["v1", 1] == "Speaker 1"
    (found,) = list_speakers(studio.connection)
    assert (found.name, found.discovered, found.n_clips, found.n_videos) == ("Speaker 1", True, 0, 2)

    studio.add(talk("v0", "guest", "host", video={"published_at": None}))
    assert discover(studio.connection, model) == Discovered(2, 1, 3)
    assert studio.rows(NAMES)[:2] == [("v0", "SPEAKER_00", "Speaker 2"), ("v0", "SPEAKER_01", "Speaker 1")]


def test_looking_again_or_loading_again_writes_nothing(studio, talk, model):
    videos = [talk("v1", "host", "guest"), talk("v2", "guest", "host")]
    for video in videos:
        studio.add(video)
    identify_all(studio.connection)
    before = studio.snapshot()
    assert identify_all(studio.connection) == (Labelled(), Discovered(2, 0, 0))
    assert not any(studio.load(video).changed for video in videos)
    assert studio.snapshot() == before


def test_the_order_in_which_videos_come_makes_no_difference(studio, talk, model, voice):
    casts = {"v1": ("a", "b"), "v2": ("b", "c"), "v3": ("c", "a"), "v4": ("a", "d")}
    for video_id in ("v4", "v2", "v3", "v1"):
        studio.add(talk(video_id, *casts[video_id]))
        discover(studio.connection, model)
    one_by_one = groups(studio)
    studio.rows("UPDATE clusters SET speaker_id = NULL, speaker_matched = false")
    studio.rows("DELETE FROM speakers")
    discover(studio.connection, model)
    assert groups(studio) == one_by_one
    assert len(one_by_one) == 3
    # All at once, they are counted by when they are first heard.
    assert studio.said_by()["v1", 0] == "Speaker 1" and studio.said_by()["v1", 1] == "Speaker 2"


def groups(studio) -> set[frozenset]:
    found: dict[str, set] = {}
    for video_id, cluster, name in studio.rows(NAMES):
        if name:
            found.setdefault(name, set()).add((video_id, cluster))
    return {frozenset(group) for group in found.values()}


def test_what_cannot_be_compared_is_left_alone(studio, script, talk, voice, model):
    studio.add(talk("v1", "host"))
    studio.add(talk("v2", "host", variances={"SPEAKER_00": 0.5}))  # mixes voices
    studio.add(script((("SPEAKER_00", 0.0, "too short"),), video_id="v3", voices={"SPEAKER_00": voice("host")}))
    assert MIN_SPEECH_S > 1
    assert discover(studio.connection, model) == Discovered()


def test_without_a_measured_threshold_nobody_is_discovered_and_one_line_says_what_to_do(studio, talk, model, caplog):
    with caplog.at_level(logging.WARNING):
        discover(studio.connection, model)
        studio.add(talk("v1", "host"))
        studio.add(talk("v2", "host"))
        studio.rows("UPDATE speaker_calibrations SET same_voice = NULL")
        assert discover(studio.connection, model) == Discovered()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"No speakers are looked for by {model[0]} ({model[1]}): run `channelscribe calibrate`")


def test_an_enrolled_voice_is_not_discovered_and_takes_over_what_was(studio, talk, voice, model):
    studio.add(talk("v1", "host"))
    studio.add(talk("v2", "host"))
    discover(studio.connection, model)
    studio.enroll("Ada", voice("host"))
    labelled, found = identify_all(studio.connection, model)
    assert (labelled.n_clusters, found) == (2, Discovered())
    assert set(studio.said_by().values()) == {"Ada"}
    assert [speaker.name for speaker in list_speakers(studio.connection)] == ["Ada"]
    # The number is not given to anybody else.
    studio.add(talk("v3", "guest"))
    studio.add(talk("v4", "guest"))
    discover(studio.connection, model)
    assert studio.said_by()["v4", 0] == "Speaker 2"


def test_what_loads_could_not_know_is_identified_after_the_run(studio, talk, model):
    studio.add(talk("v1", "host"))
    studio.add(talk("v2", "guest"))
    identify_all(studio.connection)
    assert is_identified(studio.connection, model)
    before = studio.snapshot()
    assert identify_changed(studio.connection, model) == (Labelled(), Discovered())
    assert studio.snapshot() == before
    # An edit whose identification was cut off, or a voice that came to be known after this video was loaded.
    name_cluster(studio.connection, ("v2", "SPEAKER_00"), "Ada")
    studio.rows("UPDATE cluster_voice_embeddings SET embedding = (SELECT embedding FROM cluster_voice_embeddings "
                "WHERE video_id = 'v1') WHERE video_id = 'v2'")  # fmt: skip
    assert not is_identified(studio.connection, model)
    labelled, _ = identify_changed(studio.connection, model)
    assert labelled.n_clusters == 1
    assert studio.said_by() == {("v1", 0): "Ada", ("v2", 0): "Ada"}


def test_a_new_diarization_takes_discovered_speakers_off_until_they_are_found_again(studio, talk, model):
    studio.add(talk("v1", "host", "guest"))
    studio.add(talk("v2", "host"))
    discover(studio.connection, model)
    studio.add(talk("v1", "guest", "host", "third"))  # the labels are numbered otherwise
    assert {name for video, _, name in studio.rows(NAMES) if video == "v1"} == {None}
    discover(studio.connection, model)
    assert studio.said_by()["v1", 1] == studio.said_by()["v2", 0] == "Speaker 1"


def test_a_named_speaker_is_known_in_videos_to_come_and_never_found_anew(studio, script, talk, voice, model):
    studio.add(talk("v1", "host"))
    studio.add(talk("v2", "host"))
    discover(studio.connection, model)
    name_speaker(studio.connection, "speaker 1", "Ada Lovelace")
    nearly = voice("host") * 0.8 + voice("x") * 0.6
    voices = {"SPEAKER_00": nearly / np.linalg.norm(nearly)}
    studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id="v3", voices=voices))
    assert studio.said_by()["v3", 0] == "Ada Lovelace"  # by the load itself
    assert identify_all(studio.connection) == (Labelled(), Discovered())
    assert set(studio.said_by().values()) == {"Ada Lovelace"}
    # A diarization that numbers its voices otherwise keeps the name where the voice is.
    lines = (("SPEAKER_00", 40.0, LONG), ("SPEAKER_01", 0.0, LONG))
    studio.add(script(lines, video_id="v1", voices={"SPEAKER_00": voice("new"), "SPEAKER_01": voice("host")}))
    assert studio.rows(NAMES)[:2] == [("v1", "SPEAKER_00", None), ("v1", "SPEAKER_01", "Ada Lovelace")]

"""What the pages ask the archive, over a real one: lists, transcripts in parts, kept audio, speakers and near pairs."""

import numpy as np
import pytest

from channelscribe.contracts import Audio
from channelscribe.store import transcripts
from channelscribe.store.browsing import channel_titles, speaker_names
from channelscribe.store.kept_audio import kept_audio
from channelscribe.store.speakers.discovered import identify_all
from channelscribe.store.speakers.edits import (
    is_somebody_else,
    last_edit,
    merge_speakers,
    name_cluster,
    speaker_of,
    tell_apart,
    undo,
)
from channelscribe.store.speakers.enrollments import forget, where_heard
from channelscribe.store.speakers.overview import greatest_variance, near_speakers, speaker_summaries
from channelscribe.store.transcripts import read_transcript
from channelscribe.store.videos import list_videos

LONG = "w" + " w" * 19  # 10 s
TALK = (("SPEAKER_00", 0.0, "one two"), ("SPEAKER_01", 2.0, LONG), ("SPEAKER_00", 20.0, "three"))


@pytest.fixture
def near(voice):
    """Function that gives a voice that is so alike another one, by cosine similarity."""

    def make(label: str, similarity: float) -> np.ndarray:
        one, other = voice(label), voice(f"not {label}")
        other = other - (one @ other) * one
        vector = similarity * one + np.sqrt(1 - similarity**2) * other / np.linalg.norm(other)
        return vector.astype(np.float32)

    return make


def test_videos_are_listed_newest_first_with_who_speaks_most_first(studio, script) -> None:
    for number, video_id in enumerate(("a", "b", "c")):
        studio.add(script(TALK, video_id=video_id, video={"published_at": f"2026-01-0{number + 1}T00:00:00Z"}))
    name_cluster(studio.connection, ("b", "SPEAKER_01"), "Ada")
    videos = list_videos(studio.connection, limit=2)
    assert [video.video_id for video in videos] == ["c", "b"]
    assert [video.video_id for video in list_videos(studio.connection, limit=2, offset=2)] == ["a"]
    assert (videos[1].speakers, videos[1].channel) == (("Ada", "SPEAKER_00"), "Classics")
    assert channel_titles(studio.connection) == ["Classics"]
    assert speaker_names(studio.connection) == ["Ada"]


def test_a_transcript_has_voices_turns_and_words(studio, script) -> None:
    studio.add(script(TALK, variances={"SPEAKER_00": 0.2}, suspicions=("repetition",)))
    name_cluster(studio.connection, ("v1", "SPEAKER_00"), "Ada")
    video = read_transcript(studio.connection, "v1")
    assert [(voice.label, voice.n_clusters) for voice in video.voices] == [("SPEAKER_01", 0), ("Ada", 1)]
    assert video.voices[1].speaker_variance == 0.2
    assert video.turns == (("SPEAKER_00", 0.0, 1.0), ("SPEAKER_01", 2.0, 12.0), ("SPEAKER_00", 20.0, 20.5))
    assert [(line.label, line.text) for line in video.lines] == [
        ("Ada", "one two"), ("SPEAKER_01", LONG), ("Ada", "three"),
    ]  # fmt: skip
    assert video.lines[0].word_starts_s == (0.0, 0.5) and video.lines[0].suspicions == ("repetition",)
    assert (video.part, video.n_parts, video.title) == (1, 1, "Title of v1")


def test_a_long_transcript_is_read_in_parts(studio, script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "PART_UTTERANCES", 2)
    studio.add(script([("SPEAKER_00", 10.0 * n, f"w{n}") for n in range(5)]))

    def part(**where) -> tuple[int, list[str]]:
        video = read_transcript(studio.connection, "v1", **where)
        assert video.n_parts == 3
        assert (video.from_s, video.until_s) == {1: (None, 20.0), 2: (20.0, 40.0), 3: (40.0, None)}[video.part]
        return video.part, [line.text for line in video.lines]

    assert part() == (1, ["w0", "w1"])
    assert part(part=3) == part(part=99) == (3, ["w4"])
    assert part(at_s=0) == (1, ["w0", "w1"])
    assert part(at_s=19.9) == (1, ["w0", "w1"])
    assert part(at_s=20) == (2, ["w2", "w3"])
    assert part(at_s=1e9, part=1) == (3, ["w4"])


def test_a_video_without_speech_has_an_empty_transcript(studio, script) -> None:
    studio.add(script(()))
    video = read_transcript(studio.connection, "v1", at_s=5)
    assert (video.lines, video.voices, video.part, video.n_parts) == ((), (), 1, 1)
    assert (video.from_s, video.until_s) == (None, None)
    assert read_transcript(studio.connection, "none") is None


def test_kept_audio_is_the_file_that_the_archive_was_made_from(studio, script) -> None:
    studio.add(script(video_id="kept"))
    studio.add(script(video_id="gone"))
    found = kept_audio(studio.connection, studio.workspace, ["kept", "gone", "none"])
    assert found["kept"].read_bytes() == b"sound" and set(found) == {"kept", "gone"}
    found["gone"].unlink()
    assert set(kept_audio(studio.connection, studio.workspace, ["kept", "gone"])) == {"kept"}


@pytest.mark.parametrize("name", ["../../../../secret.mp3", "link.mp3"])
def test_audio_that_leads_out_of_the_workspace_is_not_handed_out(studio, script, tmp_path, name: str) -> None:
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(b"secret")
    audio = Audio(file_name=name, codec="mp3", sample_rate_hz=1, n_channels=1, duration_s=60.0)
    studio.write(script(), {"fetch_audio": {"audio.json": audio, "link.mp3": b"secret"}})
    studio.load(script())
    assert name != "link.mp3" or len(kept_audio(studio.connection, studio.workspace, ["v1"])) == 1
    (link,) = studio.workspace.stage_dir("v1", "fetch_audio").glob("*/link.mp3")
    link.unlink()
    link.symlink_to(secret)
    assert kept_audio(studio.connection, studio.workspace, ["v1"]) == {}


def test_speakers_are_summed_up_with_a_sample_of_their_voice(studio, script, voice, model) -> None:
    for video_id in ("a", "b"):
        studio.add(script(TALK, video_id=video_id, variances={"SPEAKER_01": 0.1}))
        name_cluster(studio.connection, (video_id, "SPEAKER_01"), "Ada")
    studio.enroll("Grace 100%", voice("Grace"))
    ada, grace = speaker_summaries(studio.connection, limit=10)
    assert (ada.name, ada.n_videos, ada.speech_s, ada.speaker_variance, ada.n_clips) == ("Ada", 2, 20.0, 0.1, 0)
    assert (ada.sample.video_id, ada.sample.start_s, ada.sample.end_s) == ("a", 2.0, 12.0)
    assert (grace.name, grace.n_videos, grace.n_clips, grace.sample) == ("Grace 100%", 0, 1, None)
    assert [s.name for s in speaker_summaries(studio.connection, part="DA", limit=10)] == ["Ada"]
    assert [s.name for s in speaker_summaries(studio.connection, part="0%", limit=10)] == ["Grace 100%"]
    assert speaker_summaries(studio.connection, part="_", limit=10) == []
    assert [s.name for s in speaker_summaries(studio.connection, limit=1, offset=1)] == ["Grace 100%"]
    assert greatest_variance(studio.connection, model) == 0.4
    assert greatest_variance(studio.connection, ("none", "1")) is None
    _, places = where_heard(studio.connection, "ada")
    assert [(p.video_id, p.longest_s, p.speaker_variance) for p in places] == [
        ("a", (2.0, 12.0), 0.1), ("b", (2.0, 12.0), 0.1),
    ]  # fmt: skip


def test_near_speakers_are_found_and_merging_them_leaves_none(studio, script, voice, near, model) -> None:
    voices = {"a": voice("Ada"), "b": near("Ada", 0.65), "c": near("Ada", 0.55)}
    for video_id, vector in voices.items():
        studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id=video_id, voices={"SPEAKER_00": vector}))
        name_cluster(studio.connection, (video_id, "SPEAKER_00"), f"Ada {video_id}")
    # c is nearer to b than the threshold, too: both lean to the same side.
    pairs = near_speakers(studio.connection, model)
    assert [{p.first.name, p.second.name} for p in pairs] == [{"Ada b", "Ada c"}, {"Ada a", "Ada b"}]
    assert pairs[1].similarity == pytest.approx(0.65, abs=1e-3)
    merge_speakers(studio.connection, "Ada b", "Ada a")
    merge_speakers(studio.connection, "Ada c", "Ada a")
    assert near_speakers(studio.connection, model) == []


def test_two_of_whom_somebody_said_so_are_no_pair_until_that_is_undone(studio, script, voice, near, model) -> None:
    for video_id, vector in {"a": voice("Ada"), "b": near("Ada", 0.9), "c": near("Ada", 0.8)}.items():
        studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id=video_id, voices={"SPEAKER_00": vector}))
        name_cluster(studio.connection, (video_id, "SPEAKER_00"), video_id.upper())

    def pairs() -> list[set[str]]:
        return [{pair.first.name, pair.second.name} for pair in near_speakers(studio.connection, model)]

    before = pairs()
    assert {"A", "B"} in before and {"A", "C"} in before
    assert tell_apart(studio.connection, "b", "A") == "B and A are two"
    assert pairs() == [pair for pair in before if pair != {"A", "B"}]
    assert tell_apart(studio.connection, "A", "C") == "A and C are two"
    assert undo(studio.connection) == "A and C are two"
    assert pairs() == [pair for pair in before if pair != {"A", "B"}]
    # Who is told apart can be made one all the same.
    merge_speakers(studio.connection, "B", "A")
    assert pairs() == [{"A", "C"}]
    undo(studio.connection)
    assert pairs() == [pair for pair in before if pair != {"A", "B"}]


def test_who_is_not_one_of_two_that_become_one_is_not_that_one_until_it_is_undone(
    studio, script, voice, near, model
) -> None:
    for video_id, vector in {"a": voice("Ada"), "b": near("Ada", 0.9), "c": near("Ada", 0.8)}.items():
        studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id=video_id, voices={"SPEAKER_00": vector}))
        name_cluster(studio.connection, (video_id, "SPEAKER_00"), video_id.upper())

    def pairs() -> set[str]:
        return {"".join(sorted(p.first.name + p.second.name)) for p in near_speakers(studio.connection, model)}

    assert pairs() == {"AB", "AC", "BC"}
    tell_apart(studio.connection, "A", "B")
    merge_speakers(studio.connection, "A", "C")
    assert pairs() == set()
    undo(studio.connection)
    assert pairs() == {"AC", "BC"}
    undo(studio.connection)
    assert pairs() == {"AB", "AC", "BC"}
    tell_apart(studio.connection, "A", "B")
    forget(studio.connection, "A")
    assert studio.rows("SELECT * FROM distinct_speakers") == []


def test_two_that_nobody_named_stay_two_once_somebody_said_so(studio, script, voice, near, model) -> None:
    pytest.importorskip("scipy")
    for video_id, vector in {
        "a": voice("Ada"),
        "b": voice("Ada"),
        "c": near("Ada", 0.65),
        "d": near("Ada", 0.65),
    }.items():
        studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id=video_id, voices={"SPEAKER_00": vector}))

    def identified() -> list[str]:
        identify_all(studio.connection)
        return [label for _, label in sorted(studio.said_by().items())]

    two = ["Speaker 1", "Speaker 1", "Speaker 2", "Speaker 2"]
    assert identified() == two
    tell_apart(studio.connection, "Speaker 2", "Speaker 1")
    studio.rows("UPDATE speaker_calibrations SET same_voice = 0.6")  # which makes them one
    assert identified() == two
    assert undo(studio.connection) == "Speaker 2 and Speaker 1 are two"
    assert identified() == ["Speaker 1"] * 4


def test_two_who_speak_in_one_video_and_mixed_clusters_are_no_pair(studio, script, voice, near, model) -> None:
    both = {"SPEAKER_00": voice("Ada"), "SPEAKER_01": near("Ada", 0.9)}
    studio.add(script((("SPEAKER_00", 0.0, LONG), ("SPEAKER_01", 20.0, LONG)), video_id="a", voices=both))
    studio.add(script((("SPEAKER_00", 0.0, LONG),), video_id="b", voices=both, variances={"SPEAKER_00": 0.41}))
    for key, name in ((("a", "SPEAKER_00"), "A"), (("a", "SPEAKER_01"), "B"), (("b", "SPEAKER_00"), "C")):
        name_cluster(studio.connection, key, name)
    assert near_speakers(studio.connection, model) == []
    assert near_speakers(studio.connection, ("none", "1")) is None


def test_undo_is_of_the_edit_that_was_meant(studio, script) -> None:
    from channelscribe.errors import BadInputError

    assert last_edit(studio.connection) is None
    studio.add(script(TALK))
    name_cluster(studio.connection, ("v1", "SPEAKER_00"), "Ada")
    first = last_edit(studio.connection)
    assert first.description == "v1/SPEAKER_00 is Ada"
    name_cluster(studio.connection, ("v1", "SPEAKER_01"), "Grace")
    with pytest.raises(BadInputError, match="Something else was said since"):
        undo(studio.connection, first.edit_id)
    assert undo(studio.connection, last_edit(studio.connection).edit_id) == "v1/SPEAKER_01 is Grace"
    assert last_edit(studio.connection) == first


def test_whose_a_cluster_is_and_whether_a_name_is_somebody_elses(studio, script) -> None:
    studio.add(script(TALK))
    assert speaker_of(studio.connection, ("v1", "SPEAKER_00")) is None
    name_cluster(studio.connection, ("v1", "SPEAKER_00"), "Ada")
    name_cluster(studio.connection, ("v1", "SPEAKER_01"), "Grace")
    assert speaker_of(studio.connection, ("v1", "SPEAKER_00")) == "Ada"
    assert is_somebody_else(studio.connection, "Ada", " grace ")
    assert not is_somebody_else(studio.connection, "Ada", "ADA")
    assert not is_somebody_else(studio.connection, "Ada", "Nobody")

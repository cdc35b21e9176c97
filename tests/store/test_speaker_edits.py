"""What people say of speakers: it holds, in every re-run, and can be undone."""

import pytest
from typer.testing import CliRunner

from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings
from channelscribe.store.speakers.commands import app
from channelscribe.store.speakers.discovered import identify_all
from channelscribe.store.speakers.edits import (
    cluster_key,
    merge_speakers,
    name_cluster,
    name_speaker,
    split_speaker,
    tell_apart,
    undo,
)
from channelscribe.store.speakers.enrollments import forget, list_speakers

pytest.importorskip("scipy")

LONG = "w" + " w" * 19  # 10 s


@pytest.fixture
def filled(studio, script, voice):
    """Three videos: the host is in all of them, the guest in two, and in one each somebody else."""
    for video_id, cast in {"v1": ("host", "guest"), "v2": ("host", "a"), "v3": ("guest", "host")}.items():
        lines = tuple((f"SPEAKER_{n:02}", 20.0 * n, LONG) for n in range(len(cast)))
        voices = {f"SPEAKER_{n:02}": voice(name) for n, name in enumerate(cast)}
        studio.add(script(lines, video_id=video_id, voices=voices))
    identify_all(studio.connection)
    assert said(studio) == ["Speaker 1", "Speaker 2", "Speaker 1", "SPEAKER_01", "Speaker 2", "Speaker 1"]
    return studio


def said(studio) -> list[str]:
    """Who says v1's, v2's and v3's two utterances."""
    return [label for _, label in sorted(studio.said_by().items())]


def content(studio) -> dict[str, list[str]]:
    """Every row, but for edits and when things changed."""
    tables = {name: [row[1] for row in rows] for name, rows in studio.snapshot().items()}
    return {name: rows for name, rows in tables.items() if name != "videos" and not name.startswith("speaker_edit")}


def identified(studio) -> list[str]:
    identify_all(studio.connection)
    return said(studio)


def test_naming_names_everywhere(filled):
    before = content(filled)
    assert name_speaker(filled.connection, "speaker 1", "Ada Lovelace") == "Speaker 1 is called Ada Lovelace"
    named = ["Ada Lovelace", "Speaker 2", "Ada Lovelace", "SPEAKER_01", "Speaker 2", "Ada Lovelace"]
    assert said(filled) == identified(filled) == named
    assert undo(filled.connection) == "Speaker 1 is called Ada Lovelace"
    assert identified(filled)[0] == "Speaker 1"
    assert content(filled) == before


def test_merging_makes_one_of_two(filled):
    before = content(filled)
    name_speaker(filled.connection, "Speaker 1", "Ada")
    merge_speakers(filled.connection, "Speaker 2", "ada")
    assert identified(filled) == ["Ada", "Ada", "Ada", "SPEAKER_01", "Ada", "Ada"]
    assert [speaker.name for speaker in list_speakers(filled.connection)] == ["Ada"]
    assert undo(filled.connection) == "Speaker 2 is Ada"
    assert identified(filled) == ["Ada", "Speaker 2", "Ada", "SPEAKER_01", "Speaker 2", "Ada"]
    undo(filled.connection)
    identify_all(filled.connection)
    assert content(filled) == before


def test_two_that_nobody_named_can_be_merged_and_stay_one(filled):
    merge_speakers(filled.connection, "Speaker 1", "Speaker 2")
    assert identified(filled) == ["Speaker 2", "Speaker 2", "Speaker 2", "SPEAKER_01", "Speaker 2", "Speaker 2"]


def test_merging_an_enrolled_voice_takes_its_clips_along_and_undoing_brings_them_back(filled, voice):
    filled.enroll("Grace", voice("a"))
    filled.enroll("Ada", *[voice("host")] * 3)  # so that the two voices' mean is still nearer to this one
    assert identified(filled) == ["Ada", "Speaker 2", "Ada", "Grace", "Speaker 2", "Ada"]
    owners = "SELECT DISTINCT s.name, e.source FROM enrollments e JOIN speakers s USING (speaker_id) ORDER BY 2"
    before = content(filled), filled.rows(owners)
    merge_speakers(filled.connection, "Grace", "Ada")
    assert identified(filled) == ["Ada", "Speaker 2", "Ada", "Ada", "Speaker 2", "Ada"]
    assert filled.rows(owners) == [("Ada", "Ada.wav"), ("Ada", "Grace.wav")]
    undo(filled.connection)
    identify_all(filled.connection)
    assert (content(filled), filled.rows(owners)) == before


def test_splitting_takes_voices_out_and_they_stay_out(filled):
    before = content(filled)
    what = split_speaker(filled.connection, "Speaker 1", [("v2", "SPEAKER_00")], None)
    assert what == "1 cluster of Speaker 1 is Speaker 3"
    apart = ["Speaker 1", "Speaker 2", "Speaker 3", "SPEAKER_01", "Speaker 2", "Speaker 1"]
    assert identified(filled) == identified(filled) == apart
    undo(filled.connection)
    identify_all(filled.connection)
    rows = content(filled)
    assert rows.pop("speakers") != before["speakers"]  # the number 3 stays taken
    assert rows == {table: row for table, row in before.items() if table != "speakers"}


def test_splitting_can_give_the_voices_to_somebody_known(filled):
    name_speaker(filled.connection, "Speaker 2", "Bob")
    split_speaker(filled.connection, "Speaker 1", [("v1", "SPEAKER_00"), ("v2", "SPEAKER_00")], "bob")
    assert identified(filled) == ["Bob", "Bob", "Bob", "SPEAKER_01", "Bob", "Speaker 1"]


def test_one_voice_of_a_video_can_be_named(filled):
    name_cluster(filled.connection, ("v2", "SPEAKER_01"), "Cy")
    assert identified(filled)[3] == "Cy"
    undo(filled.connection)
    assert identified(filled)[3] == "SPEAKER_01"
    assert "Cy" not in {speaker.name for speaker in list_speakers(filled.connection)}


def test_naming_one_voice_names_the_others_that_are_the_same(filled):
    name_cluster(filled.connection, ("v1", "SPEAKER_00"), "Ada")
    assert identified(filled) == ["Ada", "Speaker 2", "Ada", "SPEAKER_01", "Speaker 2", "Ada"]


def test_undoing_spares_whoever_was_enrolled_since(filled, voice):
    name_cluster(filled.connection, ("v2", "SPEAKER_01"), "Cy")
    filled.enroll("Cy", voice("elsewhere"))
    undo(filled.connection)
    assert "Cy" in {speaker.name for speaker in list_speakers(filled.connection)}


def test_undoing_finds_the_voice_again_after_a_new_diarization(filled, script, voice):
    name_cluster(filled.connection, ("v2", "SPEAKER_01"), "Cy")
    lines = (("SPEAKER_00", 20.0, LONG), ("SPEAKER_01", 0.0, LONG))
    filled.add(script(lines, video_id="v2", voices={"SPEAKER_00": voice("a"), "SPEAKER_01": voice("host")}))
    names = "SELECT cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id) WHERE video_id = 'v2' ORDER BY 1"
    assert filled.rows(names)[0] == ("SPEAKER_00", "Cy")
    undo(filled.connection)
    identify_all(filled.connection)
    assert filled.rows(names) == [("SPEAKER_00", None), ("SPEAKER_01", "Speaker 1")]


def test_a_name_that_is_taken_meanwhile_comes_back_with_a_number(filled, voice):
    filled.enroll("Grace", voice("a"))
    name_speaker(filled.connection, "Grace", "Hopper")
    filled.enroll("Grace", voice("elsewhere"), clip="other.wav")
    assert undo(filled.connection).endswith("but Grace is somebody else's name now: it is Grace (2)")
    assert {speaker.name for speaker in list_speakers(filled.connection)} >= {"Grace", "Grace (2)"}


def test_undoing_a_name_spares_the_clips_that_were_enrolled_under_it(filled, voice):
    name_speaker(filled.connection, "Speaker 1", "Ada")
    filled.enroll("Ada", voice("host"))
    assert undo(filled.connection).endswith("but clips were enrolled since, so Speaker 1 keeps the name")
    assert identified(filled)[0] == "Ada"
    assert forget(filled.connection, "Ada").n_clips == 1


def test_what_is_forgotten_comes_back_by_no_undoing(filled):
    name_cluster(filled.connection, ("v1", "SPEAKER_00"), "Grace")
    name_cluster(filled.connection, ("v1", "SPEAKER_00"), "Bob")
    name_speaker(filled.connection, "Grace", "Grace Hopper")
    merge_speakers(filled.connection, "Grace Hopper", "Bob")
    forget(filled.connection, "Bob")
    with pytest.raises(BadInputError, match="nothing to undo"):
        undo(filled.connection)


def test_a_number_that_no_voice_has_any_more_is_nobody(filled, voice):
    filled.enroll("Ada", voice("host"))
    assert identified(filled)[0] == "Ada"  # takes over Speaker 1
    with pytest.raises(BadInputError, match="Nobody is called 'Speaker 1'"):
        name_speaker(filled.connection, "Speaker 1", "Bob")
    with pytest.raises(BadInputError, match="Nobody is called 'Speaker 1'"):
        merge_speakers(filled.connection, "Ada", "Speaker 1")


def test_the_only_cluster_of_an_enrolled_voice_can_be_split_off(filled, voice):
    filled.enroll("Grace", voice("a"))
    assert identified(filled)[3] == "Grace"
    split_speaker(filled.connection, "Grace", [("v2", "SPEAKER_01")], "Dora")
    assert identified(filled)[3] == "Dora"
    assert filled.rows("SELECT name FROM enrollments JOIN speakers USING (speaker_id)") == [("Grace",)]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c: name_speaker(c, "Nobody", "Ada"), "Nobody is called 'Nobody': `channelscribe speakers` lists"),
        (lambda c: name_speaker(c, "Speaker 1", "Speaker 9"), "is what an unknown voice is called"),
        (lambda c: name_speaker(c, "Speaker 1", "bob"), "Bob is a speaker already: `channelscribe speakers merge`"),
        (lambda c: name_cluster(c, ("v9", "SPEAKER_00"), "Ada"), "The archive has no voice v9/SPEAKER_00"),
        (lambda c: merge_speakers(c, "Bob", "bob"), "Bob is one speaker already"),
        (lambda c: tell_apart(c, "Bob", "bob"), "Bob is one speaker: name two"),
        (lambda c: tell_apart(c, "Bob", "Nobody"), "Nobody is called 'Nobody'"),
        (lambda c: split_speaker(c, "Bob", [("v1", "SPEAKER_00")], None), "v1/SPEAKER_00 is not Bob"),
        (lambda c: split_speaker(c, "Bob", [("v2", "SPEAKER_01")], None), "That is all of Bob"),
        (
            lambda c: split_speaker(c, "Speaker 1", [("v2", "SPEAKER_00")], "speaker 1"),
            "is what an unknown voice is called",
        ),
    ],
)
def test_what_cannot_be_said_is_one_line_with_the_remedy_and_changes_nothing(filled, edit, reason):
    name_cluster(filled.connection, ("v2", "SPEAKER_01"), "Bob")
    before = filled.snapshot()
    with pytest.raises(BadInputError, match=reason) as error:
        edit(filled.connection)
    assert "\n" not in str(error.value)
    assert filled.snapshot() == before


def test_a_voice_of_a_video_in_words():
    assert cluster_key("youtube-abc/speaker_01") == ("youtube-abc", "SPEAKER_01")
    assert cluster_key("Ada/Bob") is None and cluster_key("SPEAKER_01") is None


def test_the_commands(filled, archive_dsn, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    get_settings.cache_clear()

    def run(*arguments: str) -> list[str]:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    assert [line.split()[:2] for line in run()] == [["name", "clips"], ["Speaker", "1"], ["Speaker", "2"]]
    shown = run("show", "speaker 2")
    assert shown[0] == "Speaker 2 speaks in 2 videos."
    assert shown[1].startswith("v1/SPEAKER_01  0:10  Title of v1")
    assert shown[2] == "https://www.youtube.com/watch?v=v1&t=20s"
    assert run("name", "Speaker 2", "Bob") == [
        "Speaker 2 is called Bob. `channelscribe speakers undo` takes it back.",
        "No label in the archive changed.",
    ]
    assert run("split", "Bob", "v3/SPEAKER_00", "--into", "Cy")[0].startswith("1 cluster of Bob is Cy.")
    assert run("merge", "Cy", "Bob")[0].startswith("Cy is Bob.")
    assert run("name", "v2/SPEAKER_01", "Dora")[0].startswith("v2/SPEAKER_01 is Dora.")
    assert said(filled) == ["Speaker 1", "Bob", "Speaker 1", "Dora", "Bob", "Speaker 1"]
    undone = ["v2/SPEAKER_01 is Dora", "Cy is Bob", "1 cluster of Bob is Cy", "Speaker 2 is called Bob"]
    assert [run("undo")[0] for _ in undone] == [f"Undone: {what}." for what in undone]
    assert said(filled)[1] == "Speaker 2"
    assert run("distinct", "Speaker 2", "speaker 1")[0].startswith("Speaker 2 and Speaker 1 are two.")
    with pytest.raises(BadInputError, match="Speaker 1 and Speaker 2 are two already"):
        run("distinct", "Speaker 1", "Speaker 2")
    assert run("undo")[0] == "Undone: Speaker 2 and Speaker 1 are two."
    with pytest.raises(BadInputError, match="There is nothing to undo"):
        run("undo")
    with pytest.raises(BadInputError, match="'v1' is no voice of a video"):
        run("split", "Speaker 1", "v1")

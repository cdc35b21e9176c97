"""Export of a real archive, and the command that does it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from channelscribe.contracts import Diarization, Turn, Word
from channelscribe.errors import BadInputError
from channelscribe.formats.recording import Voice
from channelscribe.settings import get_settings
from channelscribe.store.export_commands import app as export_app
from channelscribe.store.exporting import read_recording, recordings_of_channel

pysubs2 = pytest.importorskip("pysubs2", reason="exports are written in Airflow's environment")

TALE = (
    ("SPEAKER_00", 0.0, "It was the best of times"),
    ("SPEAKER_01", 10.0, " ".join(f"w{n:05}" for n in range(120))),
)
HOSTILE = "<b>Ada & Bob</b> --> x\n\u202e y"
CLASSICS = "https://www.youtube.com/@classics"


@pytest.fixture
def tale(studio, script, voice):
    """A video with an enrolled voice, an unknown one, and turns that overlap."""
    studio.enroll("Ada Lovelace", voice("SPEAKER_00"))
    made = script(TALE)
    turns = (*made.turns(), Turn(start_s=2.0, end_s=3.5, cluster="SPEAKER_01"))
    turns = tuple(sorted(turns, key=lambda turn: turn.start_s))
    diarization = Diarization(turns=turns, exclusive_turns=made.turns(), audio_s=60.0)
    studio.write(made, {"diarize": {"diarization.json": diarization}})
    studio.load(made)
    return studio


@pytest.fixture
def call(archive_dsn, monkeypatch):
    """Function that calls the command: its exit code, and what it wrote or the error that it raised."""
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    get_settings.cache_clear()
    app = typer.Typer()
    app.add_typer(export_app)

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
        said = str(result.exception) if isinstance(result.exception, BadInputError) else result.output
        return result.exit_code, said

    yield run
    get_settings.cache_clear()


def test_a_recording_is_all_that_the_archive_has_of_a_video(tale):
    recording = read_recording(tale.connection, "v1")
    assert (recording.video_id, recording.title, recording.channel) == ("v1", "Title of v1", "Classics")
    assert recording.url == "https://www.youtube.com/watch?v=v1"
    assert (recording.channel_url, recording.published_at) == (f"{CLASSICS}/videos", datetime(2026, 1, 1, tzinfo=UTC))
    assert (recording.duration_s, recording.language, recording.word_timing) == (60.0, "en", "interpolated")
    assert recording.voices == (Voice("SPEAKER_00", "Ada Lovelace", 3.0), Voice("SPEAKER_01", None, 60.0))
    # Those that overlap, not the exclusive ones.
    assert [(turn.start_s, turn.cluster) for turn in recording.turns] == [
        (0.0, "SPEAKER_00"), (2.0, "SPEAKER_01"), (10.0, "SPEAKER_01"),
    ]  # fmt: skip
    assert [(said.index, said.cluster, said.speaker, said.text) for said in recording.utterances] == [
        (0, "SPEAKER_00", "Ada Lovelace", TALE[0][2]),
        (1, "SPEAKER_01", "SPEAKER_01", TALE[1][2]),
    ]
    first, second = recording.utterances
    assert (first.start_s, first.end_s, len(second.words)) == (0.0, 3.0, 120)
    assert first.words[1] == Word(text="was", start_s=0.5, end_s=1.0)


def test_what_the_site_said_last_goes_with_it(tale):
    assert read_recording(tale.connection, "v1").availability is None
    tale.rows(
        "INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability) "
        "VALUES ('v1', 'v1', 'u', 't', 'video', 'removed')"
    )
    assert read_recording(tale.connection, "v1").availability == "removed"


def test_an_utterance_of_a_mixed_cluster_has_its_own_speaker(tale):
    tale.rows("UPDATE clusters SET speaker_id = NULL")
    tale.rows("UPDATE utterances SET speaker_id = (SELECT speaker_id FROM speakers) WHERE utterance_index = 1")
    recording = read_recording(tale.connection, "v1")
    assert [voice.label for voice in recording.voices] == ["SPEAKER_00", "SPEAKER_01"]
    assert [said.speaker for said in recording.utterances] == ["SPEAKER_00", "Ada Lovelace"]


def test_suspicions_are_kept(studio, script):
    studio.add(script(TALE, suspicions=("no_speech", "repetition")))
    assert read_recording(studio.connection, "v1").utterances[0].suspicions == ("no_speech", "repetition")


def test_a_channel_is_known_by_title_address_and_handle(tale, script):
    elsewhere = {"channel_url": "https://example.org/feed/", "channel_title": "Feed @classics"}
    tale.add(script(TALE, video_id="v2", video={"published_at": datetime(2026, 2, 1, tzinfo=UTC)}))
    tale.add(script(TALE, video_id="v3", video=elsewhere))
    tale.add(script(TALE, video_id="v4", video={"channel_url": f"{CLASSICS}/streams", "channel_title": "Other"}))

    def ids(channel):
        return [recording.video_id for recording in recordings_of_channel(tale.connection, channel)]

    # As when a channel is followed: its bare address stands for its tab of videos; a handle for all its tabs.
    assert ids("classics") == ids(CLASSICS) == ids(CLASSICS + "/videos") == ["v2", "v1"]
    assert ids("@Classics") == ["v2", "v1", "v4"]
    assert ids(CLASSICS + "/streams") == ids("other") == ["v4"]
    assert ids("https://example.org/feed") == ids("HTTPS://EXAMPLE.ORG/feed/") == ["v3"]
    for unknown in ("@class", "@", "feed", "www.youtube.com", "%", "", " ", "\udcff", "\x00"):
        with pytest.raises(BadInputError, match="has no channel") as error:
            ids(unknown)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("video_id", ["v2", "", "'", "\udcff", "\x00", "a\nb"])
def test_an_unknown_video_says_where_ids_are(tale, video_id):
    with pytest.raises(BadInputError, match=r"`channelscribe videos` lists the ids") as error:
        read_recording(tale.connection, video_id)
    assert "\n" not in str(error.value)


def test_a_load_in_between_does_not_mix(tale, archive_dsn, script, monkeypatch):
    """What is read is of one moment, even if another connection changes the video meanwhile."""
    from channelscribe.store import exporting
    from channelscribe.store.connection import connect

    before = read_recording(tale.connection, "v1")
    other = connect(archive_dsn)

    def change_then_read(cursor, row):
        with other, other.cursor() as writing:
            writing.execute("UPDATE utterances SET text = 'new'")
        return read(cursor, row)

    read = exporting._recording
    monkeypatch.setattr(exporting, "_recording", change_then_read)
    try:
        assert read_recording(tale.connection, "v1") == before
        monkeypatch.undo()
        assert [said.text for said in read_recording(tale.connection, "v1").utterances] == ["new", "new"]
    finally:
        other.close()


def test_text_goes_to_standard_output_byte_for_byte(tale, call):
    assert call("v1", "--format", "txt") == (
        0, f"[0:00:00] Ada Lovelace: {TALE[0][2]}\n[0:00:10] SPEAKER_01: {TALE[1][2]}\n",
    )  # fmt: skip
    code, text = call("v1", "--format", "rttm")
    assert (code, text.splitlines()[1]) == (0, "SPEAKER v1 1 2.000 1.500 <NA> <NA> SPEAKER_01 <NA> <NA>")


def test_hostile_names_of_the_archive_are_escaped(tale, call):
    tale.rows("UPDATE speakers SET name = %s", HOSTILE)
    tale.rows("UPDATE videos SET title = %s", HOSTILE)
    _, vtt = call("v1", "--format", "vtt")
    assert "<v &lt;b&gt;Ada &amp; Bob&lt;/b&gt; --&gt; x y>It was the best of times\n" in vtt
    cues = pysubs2.SSAFile.from_string(vtt, format_="vtt")
    assert vtt.count("-->") == len(cues) == 11
    _, text = call("v1", "--format", "json")
    assert json.loads(text)["speakers"][0]["name"] == json.loads(text)["video"]["title"] == HOSTILE
    assert "\u202e" not in text


@pytest.mark.parametrize("name", ["srt", "vtt", "rttm", "json", "md", "txt"])
def test_a_file_holds_what_standard_output_would(tale, call, tmp_path, name):
    path = tmp_path / "new" / f"tale.{name}"
    assert call("v1", "--format", name, "--out", path) == (0, f"Wrote {path}.\n")
    assert path.read_bytes() == call("v1", "--format", name)[1].encode()
    assert path.stat().st_size > 100
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_silent_video_is_an_empty_file(studio, script, call, tmp_path):
    studio.add(script(()))
    assert call("v1", "--format", "srt") == (0, "")
    assert call("v1", "--format", "rttm") == (0, "")
    assert call("v1", "--format", "vtt") == (0, "WEBVTT\n\n")
    assert json.loads(call("v1", "--format", "json")[1])["utterances"] == []
    assert call("v1", "--format", "txt", "--out", tmp_path / "x.txt")[0] == 0
    assert (tmp_path / "x.txt").read_bytes() == b""


def test_a_channel_is_a_folder_of_files(tale, script, call, tmp_path):
    tale.add(script(TALE[:1], video_id="v2"))
    folder = tmp_path / "a folder"
    assert call("--channel", "@classics", "--format", "txt", "--out", folder) == (0, f"Wrote 2 files to {folder}.\n")
    assert sorted(item.name for item in folder.iterdir()) == ["v1.txt", "v2.txt"]
    assert (folder / "v2.txt").read_text() == "[0:00:00] Ada Lovelace: It was the best of times\n"
    (folder / "v2.txt").write_text("old")
    call("--channel", "@classics", "--format", "txt", "--out", folder)
    assert (folder / "v2.txt").read_text() != "old"


def test_a_channel_of_which_nothing_was_loaded_writes_nothing(studio, call, tmp_path):
    studio.rows("INSERT INTO channels (url, title) VALUES ('https://example.org/feed', 'Feed')")
    code, said = call("--channel", "Feed", "--format", "md", "--out", tmp_path / "folder")
    assert code == 0 and "nothing was written" in said and not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["v9"], "has no video 'v9'"),
        ([], "give the id of a VIDEO, or a --channel"),
        (["v1", "--channel", "Classics", "--out", "folder"], "give the id of a VIDEO, or a --channel"),
        (["--channel", "Classics"], "--out FOLDER"),
        (["--channel", "Nobody", "--out", "folder"], "has no channel 'Nobody'"),
        (["--channel", "Classics", "--out", "file"], "file is a file: name a folder"),
        (["--channel", "Classics", "--out", "file/below"], "can't be written (Not a directory)"),
        (["v1", "--out", "."], ". is a folder: name a file"),
        (["v1", "--out", "file/below"], "file/below can't be written"),
        (["v1", "--out", "/dev/null"], "is no plain file"),
    ],
)
def test_wrong_uses_are_one_line(tale, call, tmp_path: Path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    code, said = call(*arguments, "--format", "txt")
    assert code != 0 and says in said and "\n" not in said
    assert Path("file").read_text() == "mine" and not Path("folder").exists()


def test_an_unknown_format_is_refused(tale, call):
    code, said = call("v1", "--format", "doc")
    assert code == 2 and "doc" in said


def test_a_recording_is_compared_as_a_value(tale):
    first, second = (read_recording(tale.connection, "v1") for _ in range(2))
    assert first == second != replace(first, title="other")

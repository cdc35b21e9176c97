"""Filling an archive at once, on the real server: what comes of it is what loading video by video gives."""

import gc
from contextlib import closing

import numpy as np
import psycopg2
import pytest
from typer.testing import CliRunner

from channelscribe.cli import app
from channelscribe.errors import BadInputError
from channelscribe.profiles import BUNDLED
from channelscribe.settings import get_settings
from channelscribe.store.bulk import fill, finished_records
from channelscribe.store.connection import connect
from channelscribe.store.search.hybrid import search
from channelscribe.store.staging import VECTOR_COLUMN, Table, copy

MODEL = (BUNDLED.stages["embed_text"].model, BUNDLED.stages["embed_text"].revision)
LINES = (
    ("SPEAKER_00", 0.0, "It was the best of times, it was the worst of times"),
    ("SPEAKER_01", 10.0, "a tab\t, a \\ and what \x00 no text may hold"),
    ("SPEAKER_00", 20.0, "we had everything before us"),
)
DEFINITIONS = """
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1
"""
# Numbers and times that a load gives by itself.
CONTENT = {
    "videos": "to_jsonb(t) - 'loaded_at' - 'channel_id'",
    "text_embeddings": "to_jsonb(t) - 'model_id'",
    "cluster_voice_embeddings": "to_jsonb(t) - 'model_id'",
    "turn_voice_embeddings": "to_jsonb(t) - 'model_id'",
    **dict.fromkeys(("clusters", "turns", "utterances", "chunks", "stage_runs"), "to_jsonb(t)"),
}


@pytest.fixture
def empty(postgres_server, migrated_template):
    """A second archive."""
    name = postgres_server.create_database(migrated_template)
    connection = connect(postgres_server.dsn(name))
    yield connection
    connection.close()
    postgres_server.drop_database(name)


def rows(connection, statement: str) -> list[tuple]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def content(connection) -> dict[str, list[tuple]]:
    return {
        name: rows(connection, f"SELECT ({columns})::text FROM {name} t ORDER BY 1")
        for name, columns in CONTENT.items()
    }


def refuse(video_id: str, error: Exception) -> None:
    raise AssertionError(f"{video_id}: {error}")


def test_a_filled_archive_is_that_of_loads_one_by_one(studio, script, empty):
    for number in range(3):
        studio.add(script(LINES, video_id=f"v{number}", lines_per_chunk=1 + number))
    studio.add(script((), video_id="silent"))
    before = rows(empty, "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
    filled = fill(empty, finished_records(studio.workspace, BUNDLED, refuse), BUNDLED)
    assert (filled.n_videos, filled.n_utterances, before) == (4, 9, [])
    assert content(empty) == content(studio.connection)
    assert rows(empty, DEFINITIONS) == rows(studio.connection, DEFINITIONS)
    # And it goes on as any other: the same again changes nothing, something new is added.
    studio.connection = empty
    assert not studio.load(script(LINES, video_id="v1")).changed
    assert studio.add(script(LINES, video_id="v4")).changed
    assert [hit.start_s for hit in search(empty, "everything", None, MODEL, video="v4")] == [21.0]


def test_an_archive_with_videos_is_not_filled(studio, script):
    studio.add(script(LINES))
    before = studio.snapshot()
    with pytest.raises(BadInputError, match="The archive has videos"):
        fill(studio.connection, finished_records(studio.workspace, BUNDLED, refuse), BUNDLED)
    assert studio.snapshot() == before


def test_a_fill_that_fails_leaves_the_archive_as_it_was(studio, script, empty):
    studio.write(script(LINES))
    record = next(finished_records(studio.workspace, BUNDLED, refuse))
    before = rows(empty, DEFINITIONS)
    with pytest.raises(BadInputError, match="could not create unique index"):
        fill(empty, [record, record], BUNDLED)
    assert rows(empty, DEFINITIONS) == before
    assert content(empty) == {name: [] for name in CONTENT}


def test_cycles_are_not_searched_for_while_records_are_read(studio, script, empty):
    studio.write(script(LINES))

    def watched():
        for record in finished_records(studio.workspace, BUNDLED, refuse):
            assert not gc.isenabled()
            yield record

    assert fill(empty, watched(), BUNDLED).n_videos == 1 and gc.isenabled()
    with pytest.raises(BadInputError, match="The archive has videos"):
        fill(empty, watched(), BUNDLED)
    assert gc.isenabled()


def test_what_is_not_finished_is_named_and_passed_over(studio, script):
    studio.write(script(LINES))
    studio.write(script(LINES, video_id="half"), stages=("fetch_audio", "diarize"))
    refused = {}
    records = list(finished_records(studio.workspace, BUNDLED, refused.__setitem__))
    assert [record.video.video_id for record in records] == ["v1"]
    assert list(refused) == ["half"] and "transcribe" in str(refused["half"])


def test_the_command_makes_the_archive_and_names_what_it_leaves_out(studio, script, empty_dsn, monkeypatch):
    studio.write(script(LINES))
    studio.write(script(LINES, video_id="half"), stages=("fetch_audio",))
    monkeypatch.setenv("CHANNELSCRIBE_DATA_ROOT", str(studio.workspace.data_root))
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", empty_dsn)
    get_settings.cache_clear()
    try:
        first, second = (CliRunner().invoke(app, ["refill"]) for _ in range(2))
    finally:
        get_settings.cache_clear()
    assert first.exit_code == 0, first.output
    assert "half: " in first.output and "The archive has 1 video: 3 utterances" in first.output
    assert isinstance(second.exception, BadInputError)
    with closing(connect(empty_dsn)) as connection:
        assert len(search(connection, "everything", None, MODEL)) == 1


def test_vectors_arrive_as_they_are(archive):
    vectors = np.random.default_rng(0).normal(size=(100, 384)).astype(np.float32)
    with archive, archive.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE sent (number integer, share float8, {VECTOR_COLUMN} vector, name text)")
        sent = [(n, n / 3, vector, f"é{n}") for n, vector in enumerate(vectors)]
        copy(cursor, Table("sent", ("number",), ("share", VECTOR_COLUMN, "name")), sent)
        cursor.execute("SELECT * FROM sent ORDER BY number")
        found = cursor.fetchall()
    assert [(row[0], row[1], row[3]) for row in found] == [(row[0], row[1], row[3]) for row in sent]
    assert np.array_equal(np.array([row[2].to_numpy() for row in found]), vectors)


def test_a_broken_stream_is_an_error(archive):
    with pytest.raises(psycopg2.Error), archive, archive.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE sent (number integer, {VECTOR_COLUMN} vector)")
        copy(cursor, Table("sent", ("number",), (VECTOR_COLUMN,)), [(1, "no vector")])

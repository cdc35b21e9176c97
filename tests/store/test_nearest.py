"""The nearest chunks under filters, by both ways of finding them, against all vectors compared in numpy."""

import numpy as np
import pytest
from psycopg2 import sql

from channelscribe.profiles import BUNDLED
from channelscribe.store.models import find_model
from channelscribe.store.search import hybrid as search
from channelscribe.store.search import narrowing
from channelscribe.store.search.narrowing import narrow
from channelscribe.store.search.nearest import by_comparing, by_index, nearest_chunks

SPEC = BUNDLED.stages["embed_text"]
MODEL = (SPEC.model, SPEC.revision)
N_VIDEOS, N_LINES, RARE_EVERY = 4, 300, 20
NO_FILTER = dict.fromkeys(("speaker", "channel", "video", "since", "until"))


@pytest.fixture
def crowd(studio, script, voice):
    """1200 chunks; the rare speaker has every twentieth of two videos, and the host all others of all four."""
    studio.enroll("Host", voice("SPEAKER_00"))
    studio.enroll("Rare", voice("SPEAKER_01"))
    for number in range(N_VIDEOS):
        rare_every = RARE_EVERY if number < 2 else N_LINES + 1
        lines = [
            (f"SPEAKER_0{int(index % rare_every == rare_every - 1)}", 2.0 * index, f"word {number} {index}")
            for index in range(N_LINES)
        ]
        channel = {"channel_title": f"C{number % 2}", "channel_url": f"https://example.org/{number % 2}"}
        studio.add(script(lines, video_id=f"v{number}", video=channel))
    studio.rows("ANALYZE")
    return studio


def query() -> np.ndarray:
    vector = np.random.default_rng(1).normal(size=384)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def exact(studio, condition: str, n: int) -> list[tuple[str, int]]:
    rows = studio.rows(
        "SELECT video_id, chunk_index, embedding FROM text_embeddings e JOIN chunks c USING (video_id, chunk_index) "
        f"JOIN videos v USING (video_id) JOIN channels h USING (channel_id) WHERE {condition}"
    )
    similarity = [float(row[2].to_numpy() @ query()) for row in rows]
    return [rows[index][:2] for index in np.argsort(similarity)[::-1][:n]]


FILTERS = [
    ({"speaker": "rare"}, "'SPEAKER_01' = ANY(c.clusters)"),
    ({"speaker": "SPEAKER_01"}, "'SPEAKER_01' = ANY(c.clusters)"),
    ({"speaker": "Host"}, "'SPEAKER_00' = ANY(c.clusters)"),
    ({"channel": "C1"}, "h.title = 'C1'"),
    ({"video": "v2"}, "v.video_id = 'v2'"),
    ({"speaker": "Rare", "channel": "C1"}, "h.title = 'C1' AND 'SPEAKER_01' = ANY(c.clusters)"),
    ({"speaker": "Rare", "video": "v3"}, "false"),
    ({}, "true"),
]


def test_both_ways_find_what_comparing_all_finds(crowd, monkeypatch):
    crowd.rows("SET enable_seqscan = off")
    crowd.rows("SET enable_sort = off")
    for few_chunks in (1_000_000, 0):
        monkeypatch.setattr(narrowing, "FEW_CHUNKS", few_chunks)
        for given, condition in FILTERS:
            with crowd.connection, crowd.connection.cursor() as cursor:
                model = find_model(cursor, "text", *MODEL)
                found = nearest_chunks(cursor, model, query(), narrow(cursor, **{**NO_FILTER, **given}), 10)
            expected = exact(crowd, condition, 10)
            # Comparing finds all; by the index one of ten may be missed.
            if (few_chunks and given) or len(expected) < 10:
                assert found == expected, (few_chunks, given)
            else:
                assert len(found) == 10 and len(set(found) & set(expected)) >= 9, (few_chunks, given)


def test_few_are_compared_and_many_looked_up_each_by_its_index(crowd, monkeypatch):
    monkeypatch.setattr(narrowing, "FEW_CHUNKS", 350)
    with crowd.connection, crowd.connection.cursor() as cursor:
        few = [narrow(cursor, **{**NO_FILTER, **given}).few for given, _ in FILTERS]
        assert few == [True, True, False, False, True, True, True, False]
        cursor.execute("SET LOCAL enable_seqscan = off")
        model = find_model(cursor, "text", *MODEL)
        plans = []
        for speaker, statement in (("Rare", by_comparing), ("Host", by_index)):
            narrowed = narrow(cursor, **{**NO_FILTER, "speaker": speaker})
            parameters = {**narrowed.parameters, "vector": query(), "candidates": 10}
            cursor.execute(sql.SQL("EXPLAIN ") + statement(model, narrowed), parameters)
            plans.append("\n".join(row[0] for row in cursor))
        cursor.execute(f"EXPLAIN {narrowing._CHUNKS}", {**narrowed.parameters, "voices": ["v0 SPEAKER_01"]})
        plans.append("\n".join(row[0] for row in cursor))
    assert "text_embeddings_pkey" in plans[0] and "hnsw" not in plans[0]
    assert "text_embeddings_hnsw" in plans[1]
    assert "chunks_voices" in plans[2]


def test_of_words_that_stand_everywhere_some_are_ranked(crowd, monkeypatch):
    assert len(search.search(crowd.connection, "word", None, MODEL, limit=50)) == 50
    monkeypatch.setattr(search, "RANK_AT_MOST", 20)
    assert len(search.search(crowd.connection, "word", None, MODEL, limit=50)) == 20
    # Filters come before the bound.
    hits = search.search(crowd.connection, "word", None, MODEL, limit=50, speaker="Rare")
    assert len(hits) == 20 and {hit.speakers for hit in hits} == {("Rare",)}

"""The search box and the stack's embedder, with a small server in its place; the real one is in tests/models."""

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
from types import SimpleNamespace

import numpy as np
import pytest

from channelscribe.contracts import Query
from channelscribe.profiles import BUNDLED, PROFILES

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

USUAL, OTHER = (PROFILES[name].stages["embed_text"] for name in (BUNDLED.name, "gpu"))
SEARCH = "/?q=zzzyx"  # which nobody says
SCENES = ("near", "nearer")
EMBEDDED_BY = """
UPDATE text_embeddings SET model_id = (SELECT model_id FROM embedding_models WHERE name = %s) WHERE video_id = 'nearer'
"""


@pytest.fixture
def embedder(live) -> Iterator[SimpleNamespace]:
    """An embedder that gives the same vector for all words, by those of its models."""
    served = SimpleNamespace(models={USUAL.model, OTHER.model}, vector=None, asked=[], words=[], takes_s=0.0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = Query.model_validate_json(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(query.model)
            served.words.append(query.words)
            time.sleep(served.takes_s)
            file = io.BytesIO()
            np.save(file, served.vector)
            self.send_response(200 if query.model in served.models else 409)
            self.send_header("Content-Length", str(len(file.getvalue())))
            self.end_headers()
            self.wfile.write(file.getvalue())

        def log_message(self, *_: object) -> None:
            pass

    path = live.settings.embedder_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    with UnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()
    path.unlink()


@pytest.fixture
def in_the_middle_of_a_change(embedder, add_scene, archive_rows) -> Iterator[None]:
    """Of two videos with the same chunk, one has its embedding by another model."""
    for name in SCENES:
        add_scene(name, "Reader: Two households, both alike in dignity.")
    archive_rows(
        "INSERT INTO embedding_models (kind, name, revision, dimension) VALUES ('text', %s, %s, 384)",
        OTHER.model, OTHER.revision,
    )  # fmt: skip
    archive_rows(EMBEDDED_BY, OTHER.model)
    ((text,),) = archive_rows("SELECT embedding::text FROM text_embeddings WHERE video_id = 'near'")
    embedder.vector = np.array(text.strip("[]").split(","), np.float32)
    yield
    archive_rows(EMBEDDED_BY, USUAL.model)
    archive_rows("DELETE FROM embedding_models WHERE name = %s", OTHER.model)


def answered(live, embedder) -> str:
    """The page of a search for which the embedder answered as quickly as a page waits for it."""
    for _ in range(20):
        embedder.asked.clear()
        page = live.client("viewer").get(SEARCH).text
        if "search again" not in page:
            return page
    raise AssertionError(page)


def test_without_an_embedder_the_page_says_that_it_searched_by_words(live) -> None:
    page = live.client("viewer").get(SEARCH).text
    assert "Searched by words only, not by meaning: No embedder runs:" in page


def test_videos_of_another_model_are_found_by_their_meaning(live, embedder, in_the_middle_of_a_change) -> None:
    page = answered(live, embedder)
    assert sorted(embedder.asked) == sorted([USUAL.model, OTHER.model])
    assert all(f"/videos/{name}?" in page for name in SCENES)
    assert "by words" not in page


def test_what_must_not_be_there_is_neither_embedded_nor_found(live, embedder, in_the_middle_of_a_change) -> None:
    page = live.client("viewer").get("/?q=zzzyx+-households").text
    assert set(embedder.words) == {"zzzyx"}
    assert not any(f"/videos/{name}?" in page for name in SCENES)
    assert "The words only say what to leave out" in live.client("viewer").get("/?q=-households").text


def test_of_models_of_which_one_cannot_be_had_the_other_finds_its_videos(live, embedder, in_the_middle_of_a_change):
    embedder.models = {USUAL.model}
    page = answered(live, embedder)
    assert "/videos/near?" in page and "/videos/nearer?" not in page
    assert f"text embeddings of {OTHER.model} ({OTHER.revision}) are found by their words alone: The embedder" in page
    embedder.models = {OTHER.model}
    page = answered(live, embedder)
    assert "/videos/nearer?" in page and "/videos/near?" not in page
    assert "Searched by words only, not by meaning: The embedder is of another version" in page


def test_a_model_that_is_not_in_memory_yet_is_not_waited_for(live, embedder, in_the_middle_of_a_change) -> None:
    embedder.takes_s = 1.0
    page = live.client("viewer").get(SEARCH).text
    assert "Searched by words only, not by meaning: the text model is not in memory yet: search again" in page

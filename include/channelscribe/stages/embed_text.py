"""Stage ``embed_text``: chunks of utterances and their text embeddings.

Writes ``chunks.json`` and ``text_embeddings.npy``.
"""

import logging

import numpy as np

from channelscribe.contracts import Chunks, SpeakerAnalysis
from channelscribe.models import TextEmbedder
from channelscribe.stages.chunking import build_chunks
from channelscribe.stages.runner import Job, Outcome, Stage, main

logger = logging.getLogger(__name__)


class EmbedText(Stage[TextEmbedder]):
    """Text embeddings for search by meaning."""

    name = "embed_text"

    def process(self, job: Job, engine: TextEmbedder) -> Outcome:
        """Write the chunks and their text embeddings; without utterances both are empty."""
        source = job.inputs["identify_speakers"]
        analysis = source.read("analysis.json", SpeakerAnalysis)
        with job.clock.part("chunking"):
            max_tokens = int(job.spec.parameters["max_tokens"])
            chunks = build_chunks(analysis.utterances, engine.count_tokens, max_tokens=max_tokens)
        with job.clock.part("text_embedding"):
            embeddings = engine.embed([chunk.text for chunk in chunks])
        n_tokens = sum(chunk.n_tokens for chunk in chunks)
        seconds = max(job.clock.seconds["text_embedding"], 1e-9)
        if chunks:
            logger.info(
                "%s on %s: %d texts of %d tokens in %.2f s, %.0f texts/s, %.0f tokens/s.",
                job.spec.model, engine.device, len(chunks), n_tokens, seconds, len(chunks) / seconds,
                n_tokens / seconds,
            )  # fmt: skip
        (job.out / "chunks.json").write_text(Chunks(chunks=tuple(chunks)).model_dump_json(), encoding="utf-8")
        np.save(job.out / "text_embeddings.npy", embeddings)
        return Outcome(
            audio_s=source.manifest.audio_s,
            summary=f"Embedded {len(chunks)} chunks." if chunks else "No text to embed.",
            empty=not chunks,
            metrics={
                "n_chunks": len(chunks),
                "n_tokens": n_tokens,
                "texts_per_s": len(chunks) / seconds if chunks else None,
                "tokens_per_s": n_tokens / seconds if chunks else None,
            },
        )


if __name__ == "__main__":
    main(EmbedText())

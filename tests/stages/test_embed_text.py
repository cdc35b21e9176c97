"""The stage over a video's utterances, with the bundled model."""

import logging
from pathlib import Path

import numpy as np
import pytest

from channelscribe.contracts import Chunks, Manifest, SpeakerAnalysis, Utterance, Video, Word
from channelscribe.profiles import BUNDLED
from channelscribe.stages.clock import Clock
from channelscribe.stages.embed_text import EmbedText
from channelscribe.stages.engines import load_engine
from channelscribe.stages.runner import Job
from channelscribe.workspace import Artifact, Workspace, read_contract

pytestmark = pytest.mark.stages

SPEC = BUNDLED.stages["embed_text"]


def test_rates_and_the_device_are_in_the_log_and_the_rates_in_the_metrics(tmp_path: Path, caplog) -> None:
    words = tuple(Word(text=text, start_s=0, end_s=1) for text in ("spring " * 200).split())
    utterance = Utterance(index=0, cluster="A", start_s=0, end_s=1, words=words)
    analysis = SpeakerAnalysis(clusters=(), embedded_turns=(), utterances=(utterance,))
    (tmp_path / "analysis.json").write_text(analysis.model_dump_json())
    source = Artifact(tmp_path, Manifest.model_construct(audio_s=1.0))
    video = Video.model_construct(video_id="v")
    with caplog.at_level(logging.INFO):
        engine = load_engine(SPEC, "cpu", Clock())
        clock = Clock()
        job = Job(video, SPEC, {"identify_speakers": source}, tmp_path, Workspace(tmp_path), clock)
        outcome = EmbedText().process(job, engine)
    assert "all-MiniLM-L6-v2: asked for cpu, all its parameters are on cpu." in caplog.text
    assert "all-MiniLM-L6-v2 on cpu: 2 texts of 200 tokens in " in caplog.text
    chunks = read_contract(tmp_path / "chunks.json", Chunks).chunks
    assert [chunk.n_tokens for chunk in chunks] == [128, 72]
    assert np.load(tmp_path / "text_embeddings.npy").shape == (2, 384)
    assert outcome.metrics["n_tokens"] == 200
    assert outcome.metrics["texts_per_s"] == pytest.approx(2 / clock.seconds["text_embedding"])
    assert outcome.metrics["tokens_per_s"] == pytest.approx(200 / clock.seconds["text_embedding"])

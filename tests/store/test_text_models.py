"""Two text models side by side, on the real server: what is found in the middle of a change, and removing the old."""

import logging

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from channelscribe.cli import app
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import BUNDLED, PROFILES
from channelscribe.settings import get_settings
from channelscribe.store.search import text_model_commands
from channelscribe.store.search.hybrid import search
from channelscribe.store.search.text_models import embed_for_other_models, list_text_models, remove_text_model

SPEC = BUNDLED.stages["embed_text"]
OLD, NEW = (SPEC.model, SPEC.revision), ("other", "1")
LINES = (("SPEAKER_00", 0.0, "the spring of hope"), ("SPEAKER_00", 10.0, "the winter of despair"))
# Another tokeniser packs the same utterances otherwise.
DIMENSIONS = {OLD: 384, NEW: 8}


def axis(number: int, dimension: int) -> np.ndarray:
    vector = np.zeros(dimension, np.float32)
    vector[number] = 1
    return vector


@pytest.fixture
def other(text_model, monkeypatch):
    profile = text_model(BUNDLED, NEW[0])
    monkeypatch.setattr("channelscribe.profiles.PROFILES", {**PROFILES, "other": profile})
    return profile


@pytest.fixture
def add(studio, script, other):
    """Load a video by the old model or the new one: every line of it lies along an axis, counted from `first` on."""

    def load(video_id, model, first=0, lines_per_chunk=1):
        profile, dimension = (BUNDLED, 384) if model == OLD else (other, 8)
        made = script(
            LINES, video_id, profile=profile, text_dimension=dimension, lines_per_chunk=lines_per_chunk,
            video={"title": video_id},
        )  # fmt: skip
        vectors = {chunk.text: axis(first + n, dimension) for n, chunk in enumerate(made.chunks())}
        made.text_vectors = vectors
        studio.add(made)

    return load


def embed(profile: str) -> np.ndarray:
    return axis(0, 8 if profile == "other" else 384)


def found(connection, model, limit=50):
    """Videos that a query finds by its meaning alone, best first, as the command searches."""
    others = embed_for_other_models(connection, model, embed)
    hits = search(connection, "zzz", axis(0, DIMENSIONS[model]), model, others=others, limit=limit)
    return [(hit.video_id, hit.start_s) for hit in hits]


def asked(connection, model):
    return [name for name, _ in embed_for_other_models(connection, model, embed)]


def test_in_the_middle_of_a_change_every_video_is_found_by_either_profile(studio, add):
    for video_id in ("v1", "v2", "v3"):
        add(video_id, OLD)
    assert asked(studio.connection, OLD) == []
    assert asked(studio.connection, NEW) == [OLD]
    add("v2", NEW, lines_per_chunk=2)
    everything = {("v1", 0.0), ("v1", 10.0), ("v2", 0.0), ("v3", 0.0), ("v3", 10.0)}
    for model in (OLD, NEW):
        assert set(found(studio.connection, model)) == everything
    # The best of each model's videos comes before the second best of either.
    assert {video_id for video_id, _ in found(studio.connection, OLD)[:2]} >= {"v2"}
    assert found(studio.connection, OLD)[-1][1] == 10.0
    for video_id in ("v1", "v3"):
        add(video_id, NEW, lines_per_chunk=2)
    assert asked(studio.connection, NEW) == []
    assert set(found(studio.connection, NEW)) == {("v1", 0.0), ("v2", 0.0), ("v3", 0.0)}
    assert set(found(studio.connection, OLD)) == {("v1", 0.0), ("v2", 0.0), ("v3", 0.0)}


def test_of_a_video_that_has_both_each_chunk_is_found_once_and_by_the_model_that_searches(studio, add):
    add("v1", OLD)
    add("v1", NEW, first=4)  # the same chunks, so that both models' text embeddings stay
    add("v2", OLD, first=4)
    assert studio.rows("SELECT count(*) FROM text_embeddings WHERE video_id = 'v1'") == [(4,)]
    assert asked(studio.connection, OLD) == []
    assert asked(studio.connection, NEW) == [OLD]
    assert found(studio.connection, OLD)[0] == ("v1", 0.0)
    others = embed_for_other_models(studio.connection, NEW, embed)
    hits = search(studio.connection, "zzz", axis(0, 8), NEW, others=others)
    assert len(hits) == 4
    # Of two lists, each chunk stands in one: the old model, by which v1 is the nearest, is not asked for it.
    assert max(hit.score for hit in hits) == pytest.approx(1 / 61)


def test_a_filter_holds_for_the_other_models_too(studio, add):
    add("v1", OLD)
    add("v2", OLD)
    add("v3", NEW)
    others = embed_for_other_models(studio.connection, NEW, embed)
    hits = search(studio.connection, "zzz", axis(0, 8), NEW, others=others, video="v2")
    assert {hit.video_id for hit in hits} == {"v2"}


def test_a_video_without_speech_asks_for_no_other_model(studio, add, script, other):
    add("v1", NEW)
    silent = script((), "silent")
    studio.write(silent, empty=("diarize", "transcribe", "identify_speakers", "embed_text"))
    studio.load(silent)
    assert asked(studio.connection, NEW) == []


def test_a_model_that_cannot_be_had_costs_only_its_meaning(studio, add, caplog, monkeypatch):
    add("v1", OLD)
    add("v2", NEW)

    def refuse(profile: str) -> np.ndarray:
        raise MisconfiguredError("The model other is missing.")

    with caplog.at_level(logging.WARNING):
        assert embed_for_other_models(studio.connection, OLD, refuse) == []
    assert "text embeddings of other (1) are found by their words alone: The model other is missing." in caplog.text
    monkeypatch.setattr("channelscribe.profiles.PROFILES", PROFILES)
    caplog.clear()
    assert embed_for_other_models(studio.connection, OLD, embed) == []
    assert "no profile has this model any more" in caplog.text
    hits = search(studio.connection, "spring", axis(0, 384), OLD, others=[])
    assert {hit.video_id for hit in hits} == {"v1", "v2"}


def test_the_old_model_is_removed_when_nothing_needs_it(studio, add):
    add("v1", OLD)
    add("v1", NEW)
    add("v2", OLD)
    (old, new) = list_text_models(studio.connection)
    assert (old.name, old.n_videos, old.n_alone) == (OLD[0], 2, 1)
    assert (new.name, new.n_videos, new.n_alone, new.profiles) == ("other", 1, 0, ["other"])
    before = studio.snapshot()
    for name, keep, reason in (
        (OLD[0], NEW, "1 of the videos have text embeddings of all-MiniLM-L6-v2 alone"),
        (OLD[0], OLD, "is the model that search uses"),
        ("nobody", NEW, "those that it has: all-MiniLM-L6-v2, other"),
    ):
        with pytest.raises(BadInputError, match=reason):
            remove_text_model(studio.connection, name, None, keep)
        assert studio.snapshot() == before
    add("v2", NEW)
    assert remove_text_model(studio.connection, OLD[0], None, NEW).n_videos == 2
    assert [model.name for model in list_text_models(studio.connection)] == ["other"]
    assert studio.rows("SELECT count(*) FROM text_embeddings") == [(4,)]
    (index,) = studio.rows("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'text_embeddings_hnsw_%%'")
    assert index[0].endswith(f"_{studio.rows('SELECT model_id FROM embedding_models WHERE name = %s', 'other')[0][0]}")
    assert {video_id for video_id, _ in found(studio.connection, NEW)} == {"v1", "v2"}
    add("v3", OLD)  # and it may come back
    assert len(list_text_models(studio.connection)) == 2


@pytest.fixture
def call(archive_dsn, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setattr(text_model_commands, "_console", Console(width=200))
    get_settings.cache_clear()

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["text-models", *arguments])
        return result.exit_code, result.output if result.exit_code == 0 else str(result.exception)

    yield run
    get_settings.cache_clear()


def test_the_commands_show_and_remove(call, add):
    assert "no text embeddings yet" in call("list")[1]
    add("v1", NEW)
    add("v1", OLD)
    code, listed = call("list")
    assert code == 0 and "uses it" in listed
    (line,) = [line for line in listed.splitlines() if line.startswith("other")]
    assert line.split()[1:] == ["8", "1", "0", "other"]
    assert call("remove", "other") == (0, "Removed the text embeddings of other (1).\n")
    assert "other" not in call("list")[1]
    code, said = call("remove", "other")
    assert code != 0 and "has no text embeddings of 'other'" in said and "\n" not in said

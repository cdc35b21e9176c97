"""ECAPA in its true format, through the true loader, with random weights."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import BUNDLED, StageSpec

pytestmark = pytest.mark.stages

LENGTHS_S = (60.0, 0.3, 7.123, 0.305, 1.0, 0.5, 3.3, 0.1, 12.0, 0.55)


@pytest.fixture(scope="module")
def items(reading: NDArray[np.float32], dialogue: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Real speech, each from another place; the shortest beside the longest."""
    speech = np.concatenate([reading, dialogue[6 * 16000 :]])
    return [speech[4000 * index :][: int(length * 16000)] for index, length in enumerate(LENGTHS_S)]


@pytest.fixture(scope="module")
def alone(ecapa_folder: Path, items) -> NDArray[np.float32]:
    """What speechbrain itself gives for each item by itself."""
    import torch

    model = encoder(ecapa_folder)._model
    with torch.inference_mode():
        found = [model.encode_batch(torch.from_numpy(item)[None], torch.ones(1))[0, 0].numpy() for item in items]
    return np.stack([embedding / np.linalg.norm(embedding) for embedding in found])


def encoder(folder: Path, batch_frames: int | None = None):
    from channelscribe.models.ecapa import Ecapa

    return Ecapa(folder, "cpu", batch_frames)


@pytest.mark.parametrize("batch_frames", [1, 800, 100_000])
def test_an_embedding_does_not_depend_on_what_shares_its_batch(ecapa_folder: Path, items, alone, batch_frames) -> None:
    embedded = encoder(ecapa_folder, batch_frames).embed(items)
    assert embedded.shape == (len(items), 192) and embedded.dtype == np.float32
    assert (embedded * alone).sum(1).min() >= 0.9999  # the goal is 0.998
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(np.ones(len(items)), abs=1e-5)


def test_on_a_gpu_its_products_would_be_in_tf32(ecapa_folder: Path) -> None:
    """As its docstring says: by a switch of speechbrain's, which another version may not have."""
    import torch
    from speechbrain.utils.quirks import applied_quirks

    assert next(encoder(ecapa_folder)._model.mods.parameters()).dtype == torch.float32
    assert "allow_tf32" in applied_quirks


def test_plain_padding_would_be_noticed(ecapa_folder: Path, items, alone) -> None:
    import torch

    longest = max(map(len, items))
    padded = torch.zeros(len(items), longest)
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = torch.from_numpy(item)
    model = encoder(ecapa_folder)._model
    for wav_lens, worst in (
        (torch.ones(len(items)), 0.75),
        (torch.tensor([len(item) / longest for item in items]), 0.99),
    ):
        with torch.inference_mode():
            embedded = torch.nn.functional.normalize(model.encode_batch(padded, wav_lens)[:, 0], dim=1).numpy()
        assert (embedded * alone).sum(1).min() < worst
    assert (alone @ alone.T - np.eye(len(items))).max() < 0.98  # and one item's embedding is not another's


def test_batches_are_bounded_with_their_padding_and_hold_every_item_once() -> None:
    from channelscribe.models.ecapa import _batches

    lengths = [*np.random.default_rng(0).integers(10, 6000, 500).tolist(), 9000]
    batches = _batches(lengths, 7000)
    assert sorted(index for batch in batches for index in batch) == list(range(501))
    assert [500] in batches  # longer than a batch may be: alone
    padded = [max(lengths[index] for index in batch) * len(batch) for batch in batches if batch != [500]]
    assert max(padded) <= 7000
    assert sum(padded) < 1.3 * sum(lengths)  # of like length: little of it is padding


def test_each_is_alone_on_a_cpu_and_many_go_together_on_a_gpu(ecapa_folder: Path, items, monkeypatch) -> None:
    from channelscribe.models import ecapa

    sizes: list[int] = []
    real = ecapa.Ecapa._embed_batch
    monkeypatch.setattr(ecapa.Ecapa, "_embed_batch", lambda self, items: sizes.append(len(items)) or real(self, items))
    encoder(ecapa_folder).embed(items)
    assert sizes == [1] * len(items)
    sizes.clear()
    encoder(ecapa_folder, ecapa._BATCH_FRAMES["cuda"]).embed(items[1:])
    assert sizes == [len(items) - 1]


def test_none_silent_and_too_short(ecapa_folder: Path) -> None:
    model = encoder(ecapa_folder, 1000)
    assert model.embed([]).shape == (0, 192)
    silent = model.embed([np.zeros(16000, np.float32), np.zeros(8000, np.float32)])
    assert np.linalg.norm(silent, axis=1) == pytest.approx([1, 1], abs=1e-5)
    with pytest.raises(BadInputError, match="900 samples are too few"):
        model.embed([np.zeros(16000, np.float32), np.zeros(900, np.float32)])


def test_loading_writes_nothing_and_asks_nobody(ecapa_folder: Path, tmp_path: Path, monkeypatch, side_effects) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in ecapa_folder.iterdir())
    assert [name for name, _ in before] == ["embedding_model.ckpt", "hyperparams.yaml"]
    monkeypatch.chdir(tmp_path)
    with side_effects() as found:
        encoder(ecapa_folder)
    assert found == []
    assert sorted((path.name, path.stat().st_mtime_ns) for path in ecapa_folder.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_its_weights_and_a_profile_with_windows_are_sentences(tmp_path: Path) -> None:
    from channelscribe.models.ecapa import load

    with pytest.raises(
        MisconfiguredError, match=r"embedding_model\.ckpt missing in .*: run `channelscribe models pull`"
    ):
        (tmp_path / "hyperparams.yaml").touch()
        encoder(tmp_path)
    windows = StageSpec("speechbrain", "speechbrain/x", "1", BUNDLED.stages["identify_speakers"].parameters)
    with pytest.raises(MisconfiguredError, match="takes whole turns"):
        load(windows, "cpu")


def test_a_part_that_is_elsewhere_is_found_out(ecapa_folder: Path) -> None:
    model = encoder(ecapa_folder)
    assert model.device == "cpu"
    model._model.mods.embedding_model.fc.to("meta")
    assert model.device == "cpu and meta"

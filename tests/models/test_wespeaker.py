"""community-1's voice embeddings, with random weights, beside those of stock pyannote.audio, which they must equal."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Turn
from channelscribe.profiles import GPU

pytestmark = pytest.mark.stages


@pytest.fixture(scope="module")
def stock(community_folder: Path):
    """pyannote's own pipeline of the same folder."""
    from pyannote.audio import Pipeline

    return Pipeline.from_pretrained(community_folder)


@pytest.fixture(scope="module")
def diarizer(community_folder: Path):
    from channelscribe.models.diarization import load
    from channelscribe.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(community_folder.parents[1]))
        get_settings.cache_clear()
        yield load(GPU.stages["diarize"], "cpu")
    get_settings.cache_clear()


def file_of(waveform: NDArray[np.float32]) -> dict[str, Any]:
    import torch

    return {"waveform": torch.from_numpy(waveform)[None], "sample_rate": SAMPLE_RATE_HZ, "uri": "talk"}


def cosines(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each pair along the last axis."""
    products = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    return np.asarray((ours * theirs).sum(axis=-1) / products)


# Of whole windows; shorter than one; with a last one that is filled up in part.
@pytest.mark.parametrize(("start_s", "n_samples"), [(7, 224_000), (10, 68_800), (14, 168_001)])
def test_voice_embeddings_are_those_of_stock(stock, diarizer, dialogue, start_s: int, n_samples: int) -> None:
    waveform = dialogue[start_s * SAMPLE_RATE_HZ :][:n_samples]
    segmentations = diarizer._pipeline.get_segmentations(file_of(waveform))
    # Somebody who is heard for a moment, alone and with others; at times nobody at all.
    segmentations.data[0] = 0
    segmentations.data[0, 100:103, 0] = segmentations.data[0, 200:203, 1] = 1
    segmentations.data[0, 202:300, 2] = 1
    segmentations.data[3:] = 0
    theirs = stock.get_embeddings(file_of(waveform), segmentations, exclude_overlap=True)
    ours = diarizer._pipeline.get_embeddings(file_of(waveform), segmentations, exclude_overlap=True)
    assert ours.shape == theirs.shape == (*segmentations.data.shape[::2], 256) and ours.dtype == np.float32
    assert cosines(ours, theirs).min() >= 0.9999
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())
    heard = segmentations.data.any(axis=1)
    assert heard.sum() > 2
    # Another's would be noticed.
    assert cosines(ours[heard][1:], theirs[heard][:-1]).min() < 0.99


@pytest.mark.filterwarnings("ignore:std")  # stock tries shorter and shorter noise
def test_who_is_heard_alone_for_long_enough_is_told_as_by_stock(stock) -> None:
    from channelscribe.models.wespeaker import WeSpeaker

    assert stock._embedding.min_num_samples == WeSpeaker.min_alone_s * SAMPLE_RATE_HZ


def test_turns_are_those_of_stock(stock, diarizer, dialogue) -> None:
    from pyannote.core import Segment

    waveform = dialogue[7 * SAMPLE_RATE_HZ :][: 18 * SAMPLE_RATE_HZ]
    output = stock(file_of(waveform))
    audio = Segment(0.0, len(waveform) / SAMPLE_RATE_HZ)
    turns, exclusive, _ = diarizer.diarize(waveform, "talk")
    assert len({turn.cluster for turn in turns}) > 1
    for ours, theirs in ((turns, output.speaker_diarization), (exclusive, output.exclusive_speaker_diarization)):
        assert_same(ours, theirs.crop(audio))


def assert_same(ours: list[Turn], annotation: Any) -> None:
    """The same turns of the same voices, to a frame of the segmentation."""
    tracks = annotation.itertracks(yield_label=True)
    theirs = sorted((segment.start, segment.end, label) for segment, _, label in tracks)
    assert [turn.cluster for turn in ours] == [label for *_, label in theirs]
    for turn, (start_s, end_s, _) in zip(ours, theirs, strict=True):
        assert (turn.start_s, turn.end_s) == pytest.approx((start_s, end_s), abs=0.018)


def test_windows_without_speech_do_not_go_through_the_network(diarizer, dialogue, monkeypatch) -> None:
    network = diarizer._networks[1]
    seen: list[int] = []
    real = network.resnet.forward_frames
    monkeypatch.setattr(network.resnet, "forward_frames", lambda features: seen.append(len(features)) or real(features))
    masks = np.zeros((21, 3, 589), bool)
    encoder = diarizer._pipeline._encoder
    assert not np.isnan(encoder.embed_windows(dialogue, masks)).any() and seen == []
    masks[::3, 1, 50:300] = True
    encoder.embed_windows(dialogue, masks)
    assert sorted(seen) == [3, 4]  # each of the seven windows once, in batches


def test_they_do_not_depend_on_the_batch(diarizer, dialogue) -> None:
    from channelscribe.models.wespeaker import WeSpeaker

    masks = np.zeros((7, 2, 589), bool)
    masks[:, 0, :300] = masks[:, 1, 250:] = True
    one, many = (WeSpeaker(diarizer._networks[1], size).embed_windows(dialogue, masks) for size in (1, 5))
    assert cosines(one, many).min() >= 0.9999

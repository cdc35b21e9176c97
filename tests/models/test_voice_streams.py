"""Voice embeddings from shared streams, beside those of each speaker of each window by itself."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.stages

N_FRAMES = 589


@pytest.fixture(autouse=True)
def as_long_recordings(monkeypatch) -> None:
    """A fifth of the dialogue's 20 windows are bases, as of a recording of five minutes."""
    from channelscribe.models import voice_streams

    monkeypatch.setattr(voice_streams, "_ENOUGH_BASES", 4)


@pytest.fixture(scope="module")
def encoder():
    from channelscribe.models.campplus import CampPlus

    return CampPlus("cpu")


@pytest.fixture(scope="module")
def masks(segmentation_weights: Path, dialogue: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n_windows, n_speakers, n_frames): where each speaker of the dialogue's windows is heard alone."""
    import torch
    from pyannote.audio import Model

    from channelscribe.models.sliding_segmentation import segment_windows

    model = Model.from_pretrained(segmentation_weights).eval()
    heard = segment_windows(model, torch.from_numpy(dialogue), step_s=1, batch_size=4) > 0.5
    return np.ascontiguousarray((heard & (heard.sum(axis=2, keepdims=True) < 2)).transpose(0, 2, 1))


def heard_s(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n_windows, n_speakers) seconds in which each is heard."""
    return np.asarray(masks.sum(axis=2) * 10.0 / masks.shape[2])


def by_itself(encoder, waveform: NDArray[np.float32], mask: NDArray[np.bool_], window: int) -> NDArray[np.float32]:
    """What the whole network gives for one speaker of one window, as stock code would ask it for that."""
    import torch

    piece = waveform[window * 16000 :][:160_000]
    mask = mask[: round(len(mask) * len(piece) / 160_000)]
    with torch.inference_mode():
        features = encoder.features(piece)
        heard = torch.from_numpy(mask[np.arange(len(features)) * len(mask) // len(features)])
        return np.asarray(encoder.embed([features[heard]])[0])


def embed_some(encoder, waveform, masks, chosen) -> NDArray[np.float32]:
    from channelscribe.models.voice_streams import embed_speakers

    return embed_speakers(encoder, waveform, masks, chosen)


def embed(encoder, waveform, masks) -> NDArray[np.float32]:
    from channelscribe.models.voice_streams import embed_windows

    return embed_windows(encoder, waveform, masks)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_they_are_like_those_of_each_speaker_by_itself(encoder, dialogue, masks) -> None:
    embedded = embed(encoder, dialogue, masks)
    assert embedded.dtype == np.float32 and embedded.shape[:2] == masks.shape[:2]
    found = ~np.isnan(embedded).any(axis=2)
    pairs = list(np.argwhere(found & (heard_s(masks) >= 1.0)))[::2]
    alone = [by_itself(encoder, dialogue, masks[window, speaker], int(window)) for window, speaker in pairs]
    own = [embedded[window, speaker] for window, speaker in pairs]
    assert len(pairs) > 10
    assert np.mean([cosine(*both) for both in zip(own, alone, strict=True)]) >= 0.95
    others = [cosine(a, b) for index, a in enumerate(own) for b in alone[index + 1 :]]
    assert np.percentile(others, 10) < 0.8  # another voice's would not do


def test_those_of_bases_are_those_of_each_speaker_by_itself(encoder, dialogue, masks) -> None:
    from channelscribe.models.voice_streams import base_windows

    embedded = embed(encoder, dialogue, masks)
    bases = base_windows(encoder, len(masks))
    assert bases == list(range(0, 21, encoder.base_step_s))
    pairs = [(base, speaker) for base in bases[:-1] for speaker in np.flatnonzero(heard_s(masks)[base] >= 1.0)]
    assert len(pairs) >= 4
    likeness = [
        cosine(embedded[base, speaker], by_itself(encoder, dialogue, masks[base, speaker], base))
        for base, speaker in pairs
    ]
    # An audio's last window is filled up differently.
    assert min(likeness) >= 0.95 and np.median(likeness) >= 0.99


def test_a_short_recording_has_more_bases(encoder) -> None:
    from channelscribe.models.voice_streams import base_windows

    assert base_windows(encoder, 1) == [0]
    assert base_windows(encoder, 7) == list(range(7))
    assert len(base_windows(encoder, 14)) == 6
    assert len(base_windows(encoder, 1000)) == 201


def test_some_can_be_embedded_by_themselves(encoder, dialogue, masks) -> None:
    chosen = np.zeros(masks.shape[:2], bool)
    chosen[::3] = True
    chosen &= masks.any(axis=2)
    found = embed_some(encoder, dialogue, masks, chosen)
    seconds = heard_s(masks)[chosen]
    assert len(found) == chosen.sum() > 8
    assert np.array_equal(np.isnan(found).any(axis=1), np.isnan(found).all(axis=1))
    assert not np.isnan(found[seconds > 0.5]).any() and np.isnan(found[seconds < 0.3]).all()
    likeness = [
        cosine(embedding, by_itself(encoder, dialogue, masks[window, speaker], int(window)))
        for (window, speaker), embedding in zip(np.argwhere(chosen), found, strict=True)
        if not np.isnan(embedding).any()
    ]
    assert min(likeness) >= 0.95 and np.median(likeness) >= 0.99
    nobody = np.zeros((1, 2, N_FRAMES), bool)
    assert np.isnan(embed_some(encoder, dialogue, nobody, np.ones((1, 2), bool))).all()


def test_those_who_are_heard_too_little_have_none(encoder, dialogue, masks) -> None:
    seconds = heard_s(masks)
    embedded = embed(encoder, dialogue, masks)
    missing = np.isnan(embedded)
    assert (missing.all(axis=2) == missing.any(axis=2)).all()
    assert missing[seconds == 0].all() and (seconds == 0).any()
    assert not missing[seconds >= 0.45].any()
    short = np.zeros((1, 2, N_FRAMES), bool)
    short[0, 0, 100] = True
    short[0, 1, 100:300] = True
    assert np.isnan(embed(encoder, dialogue, short)).any(axis=2).tolist() == [[True, False]]


def test_audio_shorter_than_a_window_is_embedded_as_far_as_it_goes(encoder, dialogue) -> None:
    waveform = dialogue[8 * 16000 :][: int(4.3 * 16000)]
    masks = np.zeros((1, 3, N_FRAMES), bool)
    masks[0, 0] = True  # beyond the end, too
    masks[0, 1, 300:] = True  # there only
    embedded = embed(encoder, waveform, masks)
    assert np.isnan(embedded).any(axis=2).tolist() == [[False, True, True]]
    mask = np.zeros(N_FRAMES, bool)
    mask[: int(N_FRAMES * 0.425)] = True
    assert cosine(embedded[0, 0], by_itself(encoder, waveform, mask, 0)) >= 0.98


def spy(encoder, monkeypatch) -> list[int]:
    """Lengths of all that goes into the network from now on."""
    lengths: list[int] = []
    real = type(encoder).frames
    monkeypatch.setattr(
        type(encoder), "frames", lambda self, items: lengths.extend(map(len, items)) or real(self, items)
    )
    return lengths


def test_without_speech_the_network_is_not_asked(encoder, dialogue, monkeypatch) -> None:
    lengths = spy(encoder, monkeypatch)
    for n_windows in (1, 25):
        embedded = embed(encoder, dialogue, np.zeros((n_windows, 3, N_FRAMES), bool))
        assert embedded.shape[:2] == (n_windows, 3) and np.isnan(embedded).all()
    assert lengths == []


def test_the_network_hears_much_less_than_every_speaker_of_every_window(encoder, dialogue, masks, monkeypatch) -> None:
    lengths = spy(encoder, monkeypatch)
    embed(encoder, dialogue, masks)
    # Stock pyannote would put in the speech of each speaker.
    assert 0 < sum(lengths) < 0.6 * heard_s(masks).sum() * 100


def test_they_do_not_depend_on_the_batch(encoder, dialogue, masks, monkeypatch) -> None:
    before = embed(encoder, dialogue, masks[:8])
    monkeypatch.setattr(encoder, "batch_size", 1)
    after = embed(encoder, dialogue, masks[:8])
    found = ~np.isnan(before).any(axis=2)
    assert found.any() and np.array_equal(found, ~np.isnan(after).any(axis=2))
    assert min(cosine(a, b) for a, b in zip(before[found], after[found], strict=True)) >= 0.9999

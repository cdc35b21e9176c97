"""Our pipeline's steps beside those of stock pyannote.audio, which they must equal."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.profiles import BUNDLED

pytestmark = pytest.mark.stages

N_FRAMES = 589


@pytest.fixture(scope="module")
def model(segmentation_weights: Path):
    from pyannote.audio import Model

    return Model.from_pretrained(segmentation_weights).eval()


@pytest.fixture(scope="module")
def pipeline(model):
    from channelscribe.models.bounded_diarization import (
        BoundedDiarization,
        SharedStreams,
        ThinnedAgglomerativeClustering,
    )
    from channelscribe.models.campplus import DIMENSION, CampPlus

    clustering = ThinnedAgglomerativeClustering(metric="cosine")
    return BoundedDiarization(model, SharedStreams(CampPlus("cpu"), clustering), DIMENSION, clustering, batch_size=4)


def windows_of(data: NDArray[np.float32]):
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    return SlidingWindowFeature(data, SlidingWindow(start=0.0, duration=10.0, step=1.0))


def tracks(annotation) -> list[tuple[float, float, object]]:
    return [(segment.start, segment.end, label) for segment, _, label in annotation.itertracks(yield_label=True)]


def spells(random: np.random.Generator, shape: tuple[int, ...], length: int) -> NDArray[np.float32]:
    """Zeros and ones that stay what they are for about ``length`` along the last axis but one."""
    changes = random.random(shape) < 1 / length
    return (np.cumsum(changes, axis=-2) % 2).astype(np.float32)


# All of it, shorter than a window, with a last window of 0.77 s and silence, and of a number of samples that no stride
# divides.
@pytest.mark.parametrize(("start_s", "n_samples"), [(0, 480_000), (10, 68_800), (6, 284_320), (14, 160_001)])
def test_segmentation_is_that_of_stock_windows(model, dialogue, start_s: int, n_samples: int) -> None:
    import torch
    from pyannote.audio import Inference

    from channelscribe.models.sliding_segmentation import segment_windows

    waveform = torch.from_numpy(dialogue[start_s * 16000 :][:n_samples])
    stock = Inference(model, duration=10.0, step=1.0, skip_aggregation=True, batch_size=32)(
        {"waveform": waveform[None], "sample_rate": 16000}
    )
    ours = segment_windows(model, waveform, step_s=1, batch_size=4)
    assert ours.shape == stock.data.shape and ours.dtype == np.float32
    assert set(np.unique(ours)) <= {0.0, 1.0} and ours.any()
    assert (ours == stock.data).all(axis=2).mean() >= 0.999
    assert (ours[:, 1:] == stock.data[:, :-1]).all(axis=2).mean() < 0.999  # a frame's shift would be noticed


def test_segmentation_does_not_depend_on_the_batch(model, dialogue) -> None:
    import torch

    from channelscribe.models.sliding_segmentation import segment_windows

    waveform = torch.from_numpy(dialogue[: 20 * 16000])
    one, many = (segment_windows(model, waveform, step_s=1, batch_size=size) for size in (1, 11))
    assert (one == many).all(axis=2).mean() >= 0.999


@pytest.mark.parametrize("seed", range(6))
def test_reconstruction_is_stock(pipeline, model, seed: int) -> None:
    from pyannote.audio.pipelines import SpeakerDiarization
    from pyannote.core import SlidingWindowFeature

    random = np.random.default_rng(seed)
    n_windows, n_clusters = int(random.integers(1, 25)), int(random.integers(1, 6))
    segmentations = windows_of(spells(random, (n_windows, N_FRAMES, 3), 90))
    clusters = random.integers(0, n_clusters, (n_windows, 3))
    clusters[random.random(clusters.shape) < 0.3] = -2
    clusters[0, 0] = n_clusters - 1
    counted = SpeakerDiarization.speaker_count(segmentations, model.receptive_field, warm_up=(0.0, 0.0))
    # As counted; more than there are clusters; one at most, as for exclusive turns.
    for data in (counted.data, random.integers(0, n_clusters + 3, counted.data.shape), np.minimum(counted.data, 1)):
        count = SlidingWindowFeature(data.astype(np.int8), counted.sliding_window)
        stock = SpeakerDiarization.reconstruct(pipeline, segmentations, clusters, count)
        ours = pipeline.reconstruct(segmentations, clusters, count)
        assert ours.data.shape == stock.data.shape
        assert ours.data.any() and np.array_equal(ours.data, stock.data)
        assert vars(ours.sliding_window) == vars(stock.sliding_window)
        assert tracks(pipeline.to_annotation(ours)) == tracks(SpeakerDiarization.to_annotation(stock))


@pytest.mark.parametrize("min_duration_off", [0.0, 0.5])
def test_stretches_are_stock(pipeline, model, min_duration_off: float) -> None:
    from pyannote.audio.pipelines import SpeakerDiarization
    from pyannote.core import SlidingWindowFeature

    data = spells(np.random.default_rng(1), (900, 7), 40)
    data[:, 0] = 1  # from end to end
    data[:, 1] = 0  # nowhere
    data[:, 2] = np.arange(900) >= 898  # the last frames
    data[:, 3] = np.arange(900) < 1  # the first one
    data[:, 4] = np.arange(900) % 2  # every other one
    data[:, 5] = np.arange(900) == 899  # the last one, which is no time at all
    discrete = SlidingWindowFeature(data, model.receptive_field)
    ours = tracks(pipeline.to_annotation(discrete, min_duration_off=min_duration_off))
    assert ours == tracks(SpeakerDiarization.to_annotation(discrete, min_duration_off=min_duration_off))
    assert {label for *_, label in ours} == {0, 2, 3, 4, 6}


def voices(random: np.random.Generator, sizes: tuple[int, ...], dimension: int = 256):
    """Voice embeddings of as many voices, as many windows of each, mixed; and whose they are."""
    own = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(own)
    centres = random.normal(size=(len(sizes), dimension))
    embeddings = centres[own] + random.normal(scale=0.3, size=(len(own), dimension))
    return embeddings[:, None].astype(np.float32), own, windows_of(np.ones((len(own), N_FRAMES, 1), np.float32))


def same_voices(clusters: NDArray[np.int_], own: NDArray[np.int_], n: int) -> bool:
    """Whether voices and clusters correspond one to one."""
    return len({*zip(clusters.tolist(), own.tolist(), strict=True)}) == len(set(clusters.tolist())) == n


def agglomerative():
    from channelscribe.models.bounded_diarization import ThinnedAgglomerativeClustering

    clustering = ThinnedAgglomerativeClustering(metric="cosine")
    clustering.instantiate({"method": "centroid", "min_cluster_size": 12, "threshold": 0.7})
    return clustering


@pytest.mark.parametrize("most", [5000, 100])
def test_of_many_embeddings_a_selection_is_clustered_and_all_are_assigned(monkeypatch, most: int) -> None:
    from channelscribe.models import bounded_diarization

    monkeypatch.setattr(bounded_diarization, "MAX_CLUSTERED", most)
    embeddings, own, segmentations = voices(np.random.default_rng(2), (250, 120, 30))
    clustering = agglomerative()
    chosen, windows, speakers = clustering.filter_embeddings(embeddings, segmentations=segmentations)
    assert len(chosen) == len(windows) == len(speakers) == min(most, 400)
    assert windows[0] == 0 and windows[-1] == 399 and np.diff(windows).max() <= 5  # evenly
    assert np.array_equal(embeddings[windows, speakers], chosen)
    clusters, _, _ = clustering(embeddings, segmentations=segmentations)
    # Of the voice with 30 windows about 8 are clustered: fewer than 12, or than a tenth of 100, but it is no small one.
    assert same_voices(clusters[:, 0], own, 3)
    assert clustering.min_cluster_size == 12


@pytest.mark.parametrize("most", [5000, 100])
def test_a_voice_too_small_for_a_cluster_is_none_when_thinned_either(monkeypatch, most: int) -> None:
    from channelscribe.models import bounded_diarization

    monkeypatch.setattr(bounded_diarization, "MAX_CLUSTERED", most)
    embeddings, _, segmentations = voices(np.random.default_rng(3), (250, 146, 4))
    clusters, _, _ = agglomerative()(embeddings, segmentations=segmentations)
    assert len(np.unique(clusters)) == 2


def with_shared(n_windows: int, again: NDArray[np.float32]):
    """Clustering in which every fifth window is a base, and the windows that it asked to embed again."""
    asked: list[NDArray[np.int_]] = []

    def embed_again(chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        asked.append(np.argwhere(chosen)[:, 0])
        return again[chosen]

    clustering = agglomerative()
    clustering.shared = np.arange(n_windows) % 5 > 0
    clustering.embed = embed_again
    return clustering, asked


def between(embeddings: NDArray[np.float32], own: NDArray[np.int_], windows: NDArray[np.int_]) -> NDArray[np.float32]:
    """The embeddings, with those of some windows as near to the next voice as to their own, or a bit nearer."""
    n = own.max() + 1
    centres = np.stack([embeddings[own == voice, 0].mean(axis=0) for voice in range(n)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    mixed = embeddings.copy()
    mixed[windows, 0] = (centres[(own + 1) % n] * 0.51 + centres[own] * 0.49)[windows]
    return mixed


def test_what_is_unclear_is_embedded_again() -> None:
    truth, own, segmentations = voices(np.random.default_rng(5), (120, 110, 70))
    clustering, asked = with_shared(len(own), truth)
    unclear = np.arange(7, 300, 20)
    mixed = between(truth, own, np.append(unclear, 20))  # a base is as good as it gets
    mixed[12] = np.nan
    given = mixed.copy()
    clusters, _, _ = clustering(mixed, segmentations=segmentations)
    assert [places.tolist() for places in asked] == [unclear.tolist()]
    assert same_voices(np.delete(clusters[:, 0], [12, 20]), np.delete(own, [12, 20]), 3)
    assert np.array_equal(mixed, given, equal_nan=True)


def test_what_makes_a_small_cluster_is_embedded_again() -> None:
    truth, own, segmentations = voices(np.random.default_rng(8), (150, 130))
    strange = np.arange(6, 6 + 15 * 10, 10)  # 15 windows, which would be a third voice
    mixed = truth.copy()
    mixed[strange, 0] = np.random.default_rng(9).normal(size=truth.shape[2])
    assert len(np.unique(agglomerative()(mixed.copy(), segmentations=segmentations)[0])) == 3
    clustering, asked = with_shared(len(own), truth)
    clusters, _, _ = clustering(mixed, segmentations=segmentations)
    assert [places.tolist() for places in asked] == [strange.tolist()]
    assert same_voices(clusters[:, 0], own, 2)


def test_what_cannot_be_embedded_again_stays_where_it_is() -> None:
    truth, own, segmentations = voices(np.random.default_rng(6), (150, 120))
    clustering, asked = with_shared(len(own), np.full_like(truth, np.nan))
    clusters, _, _ = clustering(between(truth, own, np.array([7])), segmentations=segmentations)
    assert len(asked) == 1
    assert clusters[7, 0] == clusters[own != own[7], 0][0]
    assert same_voices(np.delete(clusters[:, 0], 7), np.delete(own, 7), 2)


@pytest.mark.parametrize("most", [5000, 60])
def test_bayesian_clustering_is_thinned_too(monkeypatch, community_folder: Path, most: int) -> None:
    from pyannote.audio.core.plda import PLDA

    from channelscribe.models import bounded_diarization

    monkeypatch.setattr(bounded_diarization, "MAX_CLUSTERED", most)
    clustering = bounded_diarization.ThinnedVBxClustering(
        PLDA.from_pretrained(community_folder, subfolder="plda"), metric="cosine"
    )
    clustering.instantiate({"threshold": 0.6, "Fa": 0.07, "Fb": 0.8})
    embeddings, own, segmentations = voices(np.random.default_rng(4), (150, 90))
    assert len(clustering.filter_embeddings(embeddings, segmentations=segmentations)[0]) == min(most, 240)
    clusters, _, _ = clustering(
        embeddings, segmentations=segmentations, min_clusters=1, max_clusters=np.inf
    )  # as the pipeline calls it
    assert same_voices(clusters[:, 0], own, 2)


def test_a_dialogue_of_which_little_is_clustered_still_has_two_voices(monkeypatch, dialogue) -> None:
    from channelscribe.models import bounded_diarization
    from channelscribe.models.diarization import load

    clustered: list[int] = []
    real = bounded_diarization.ThinnedAgglomerativeClustering.cluster
    monkeypatch.setattr(bounded_diarization, "MAX_CLUSTERED", 15)
    monkeypatch.setattr(
        bounded_diarization.ThinnedAgglomerativeClustering,
        "cluster",
        lambda self, embeddings, **options: clustered.append(len(embeddings)) or real(self, embeddings, **options),
    )
    turns, _, _ = load(BUNDLED.stages["diarize"], "cpu").diarize(dialogue, "sample")
    assert clustered == [15]
    assert {turn.cluster for turn in turns} == {"SPEAKER_00", "SPEAKER_01"}

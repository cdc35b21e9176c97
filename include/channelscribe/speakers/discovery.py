"""Unknown voices that are one person's, across videos: arrays alone."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

# As in identification: sums differ in their last bits with the number of rows at once, decisions must not.
_DECIMALS = 6
# Bounds the memory of the comparison of all with all: so many rows at once.
_BLOCK = 1024
# Farther than any two voices can be, and still when averaged over as many clusters as an archive has.
_NEVER = 1e12


def group_voices(embeddings: NDArray[np.float32], videos: NDArray[np.int64], same_voice: float) -> NDArray[np.int64]:
    """Group clusters of different videos that are one voice.

    Average-linkage clustering (UPGMA: R. R. Sokal and C. D. Michener, 1958) over cosine similarity, in which two
    clusters of one video are never one voice: diarization held them apart. Two groups whose average similarity reaches
    `same_voice` have a pair that does, so each connected part of the graph of such pairs is clustered by itself. The
    result depends on the voices alone, not on when they came.

    Time grows with the square of the number of clusters, memory with that of the largest connected part.

    Args:
        embeddings: (n, dim) float32, L2-normalised: mean voices of clusters.
        videos: (n,) number of the video of each.
        same_voice: average cosine similarity from which on two groups are one.

    Returns:
        (n,) int64 number of the group of each, counted from 0 in the order of their first rows; -1 for a voice that
        is in no other video.
    """
    labels = np.full(len(embeddings), -1)
    n_groups = 0
    for rows in _connected(embeddings, same_voice):
        groups = _average_linkage(embeddings[rows], videos[rows], same_voice)
        for group in dict.fromkeys(groups.tolist()):
            members = rows[groups == group]
            if len(members) > 1:
                labels[members] = n_groups
                n_groups += 1
    found, firsts = np.unique(labels, return_index=True)
    order = {group: place for place, group in enumerate(found[found >= 0][np.argsort(firsts[found >= 0])].tolist())}
    return np.array([order.get(label, -1) for label in labels.tolist()], np.int64)


def _connected(embeddings: NDArray[np.float32], same_voice: float) -> list[NDArray[np.intp]]:
    """Rows of each part of two or more that a chain of similar pairs holds together."""
    parts = np.arange(len(embeddings))
    for start in range(0, len(embeddings), _BLOCK):
        similar = np.round(embeddings[start : start + _BLOCK] @ embeddings.T, _DECIMALS) >= same_voice
        for neighbours in similar:
            joined = np.unique(parts[neighbours])
            if len(joined) > 1:
                parts[np.isin(parts, joined)] = joined[0]
    return [rows for part in np.unique(parts) if len(rows := np.flatnonzero(parts == part)) > 1]


def _average_linkage(
    embeddings: NDArray[np.float32], videos: NDArray[np.int64], same_voice: float
) -> NDArray[np.int64]:
    """(n,) number of the group of each row."""
    distances = 1.0 - np.round(embeddings.astype(np.float64) @ embeddings.T.astype(np.float64), _DECIMALS)
    distances[videos[:, None] == videos[None, :]] = _NEVER
    tree = linkage(squareform(distances, checks=False).clip(0.0), "average")
    # A hair wider: the tree's averages are sums in another order than a threshold's.
    return np.asarray(fcluster(tree, 1.0 - same_voice + 10**-_DECIMALS, "distance"), np.int64)

"""Speaker variance: does a cluster hold one voice?"""

import numpy as np
from numpy.typing import NDArray


def weighted_centroid(embeddings: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean direction of voice embeddings.

    Args:
        embeddings: (n, dim) float32, L2-normalised, n >= 1.
        weights: (n,) positive, seconds of speech behind each.

    Returns:
        (dim,) float32, L2-normalised.
    """
    mean = np.average(embeddings, axis=0, weights=weights)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def speaker_variance(embeddings: NDArray[np.float32], weights: NDArray[np.float64]) -> float | None:
    """Spread of the voice embeddings of a cluster, weighted by seconds of speech.

    For unit vectors e_i with weights w_i that sum to 1 and mean m, the total variance is
    ``sum_i w_i |e_i - m|^2 = 1 - |m|^2``, between 0 (all alike) and 1. It equals one minus the mean cosine
    similarity over all pairs. It is the circular variance of directional statistics, with |m|^2 in the place
    of |m| (K. V. Mardia and P. E. Jupp, "Directional Statistics", 2000, chapters 2 and 9).

    Args:
        embeddings: (n, dim) float32, L2-normalised.
        weights: (n,) positive.

    Returns:
        The variance, or None where fewer than two embeddings leave it undefined.
    """
    if len(embeddings) < 2:
        return None
    mean = np.average(embeddings.astype(np.float64), axis=0, weights=weights)
    return float(np.clip(1.0 - mean @ mean, 0.0, 1.0))

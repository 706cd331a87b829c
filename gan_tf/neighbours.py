"""Distances between the rows of two matrices, a block at a time: 10,000 x 10,000 of them never stand in memory.

The fast formula |x|² - 2 x·y + |y|² rounds badly where a distance is small, so that a copy would not be at distance 0.
Wherever rounding could decide, the difference itself is squared.
"""

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 22  # entries in memory at once: 32 MB of float64


def parts(left: np.ndarray, right: np.ndarray) -> Iterator[slice]:
    """Cut the rows of `left` so that each part, against all of `right`, fills one block."""
    size = max(1, BLOCK // len(right))
    return (slice(start, start + size) for start in range(0, len(left), size))


def squared_distances(
    left: np.ndarray, right: np.ndarray, left_limits: np.ndarray, right_limits: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield all squared distances in blocks, exact where they are close to a limit that they will be compared with.

    Args:
        left: float64 (n, d).
        right: float64 (m, d).
        left_limits: (n,) squared distances, one for each row of `left`.
        right_limits: (m,) likewise for `right`, or None.

    Yields:
        A slice of the rows of `left`, and float64 (rows, m).
    """
    middle = left.mean(axis=0)
    tolerance = 1e-12 * (_lengths(left - middle).max() + _lengths(right - middle).max())
    for part in parts(left, right):
        distances = _fast(left[part] - middle, right - middle)
        for limits in (left_limits[part, np.newaxis], right_limits):
            if limits is not None:
                i, j = np.nonzero(np.abs(distances - limits) <= tolerance)
                distances[i, j] = _lengths(left[part][i] - right[j])
        yield part, distances


def radii(rows: np.ndarray, k: int) -> np.ndarray:
    """Return each row's squared distance to its k-th nearest neighbour among the others, float64 (n,)."""
    centred = rows - rows.mean(axis=0)
    squared = np.empty(len(rows))
    for part in parts(rows, rows):
        distances = _fast(centred[part], centred)
        own = np.arange(len(distances))
        distances[own, own + part.start] = np.inf
        neighbours = np.argpartition(distances, k - 1, axis=1)[:, k - 1]
        squared[part] = _lengths(rows[part] - rows[neighbours])
    return squared


def nearest(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return each row's distance to the nearest row of `reference`, float64 (n,)."""
    middle = reference.mean(axis=0)
    found = np.empty(len(rows))
    for part in parts(rows, reference):
        neighbours = _fast(rows[part] - middle, reference - middle).argmin(axis=1)
        found[part] = np.sqrt(_lengths(rows[part] - reference[neighbours]))
    return found


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.square(rows).sum(axis=1)


def _fast(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    distances = left @ (-2.0 * right.T)
    distances += _lengths(left)[:, np.newaxis]
    distances += _lengths(right)
    return distances

"""Distances between the rows of two matrices, a block at a time: 10,000 x 10,000 of them never stand in memory.

`left` and `rows` are float64 (n, d), `right` and `reference` (m, d).

The fast formula |x|² - 2 x·y + |y|² rounds badly where a distance is small, so that a copy would not be at distance 0.
Wherever rounding could decide, the difference itself is squared.
"""

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 20  # entries in memory at once: 8 MB of float64, which a processor keeps near
FEWEST_ROWS = 64  # below which a matrix product is slow


def parts(left: np.ndarray, right: np.ndarray) -> Iterator[slice]:
    """Cut the rows of `left` so that each part, against all of `right`, about fills one block."""
    size = max(FEWEST_ROWS, BLOCK // len(right))
    return (slice(start, start + size) for start in range(0, len(left), size))


def squared_distances(
    left: np.ndarray, right: np.ndarray, left_limits: np.ndarray, right_limits: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a slice of the rows of `left` and their squared distances (rows, m) to all of `right`, and so on.

    They are exact where they are close to a limit that they will be compared with: a squared distance for each row of
    `left`, (n,), or of `right`, (m,).
    """
    left_factor, right_factor = _factors(left, right)
    tolerance = 1e-12 * (left_factor[:, -2].max() + right_factor[-1].max())

    for part in parts(left, right):
        distances = left_factor[part] @ right_factor
        for limits in (left_limits[part, np.newaxis], right_limits):
            if limits is not None:
                i, j = np.nonzero(np.abs(distances - limits) <= tolerance)
                distances[i, j] = _lengths(left[part][i] - right[j])
        yield part, distances


def radii(rows: np.ndarray, k: int) -> np.ndarray:
    """Return each row's squared distance to its k-th nearest neighbour among the others, float64 (n,)."""
    left_factor, right_factor = _factors(rows, rows)

    squared = np.empty(len(rows))
    for part in parts(rows, rows):
        distances = left_factor[part] @ right_factor
        own = np.arange(len(distances))
        distances[own, own + part.start] = np.inf  # not its own neighbour

        neighbours = np.argpartition(distances, k - 1, axis=1)[:, k - 1]
        squared[part] = _lengths(rows[part] - rows[neighbours])

    return squared


def nearest(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return each row's distance to the nearest row of `reference`, float64 (n,); 0 for exact copies."""
    rows, reference = (np.asarray(each, np.float64) for each in (rows, reference))
    left_factor, right_factor = _factors(rows, reference)

    found = np.empty(len(rows))
    for part in parts(rows, reference):
        neighbours = (left_factor[part] @ right_factor).argmin(axis=1)
        found[part] = np.sqrt(_lengths(rows[part] - reference[neighbours]))

    return found


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.square(rows).sum(axis=1)


def _factors(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two matrices whose product is |x|² - 2 x·y + |y|²: rows of [x, |x|², 1], columns of [-2 y, 1, |y|²]."""
    middle = right.mean(axis=0)  # short vectors round less
    left, right = left - middle, right - middle

    left_factor = np.column_stack([left, _lengths(left), np.ones(len(left))])
    return left_factor, np.column_stack([-2.0 * right, np.ones(len(right)), _lengths(right)]).T

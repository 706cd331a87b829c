"""Features or class probabilities -> scores. NumPy and SciPy only: nothing here knows of images or networks.

`real` and `fake` are features, (n, d) and (m, d), of at least two rows each; `probabilities` are (n, classes), each row
a p(y|x). Any real dtype will do, and all is computed in float64. What has no answer is a ValueError: NaN, an empty set,
other shapes, logits. A score means something only beside the name of the network that made the features, and n.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from gan_tf.neighbours import nearest, parts, radii, squared_distances


class KernelDistance(NamedTuple):
    """The squared maximum mean discrepancy, as estimated, and the standard deviation of that estimate."""

    value: float
    standard_error: float


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]: fakes that look real, and real rows that the fakes reach."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How crowded with reals the places are where fakes lie (1 is expected of reals), and the reals reached, [0, 1]."""

    density: float
    coverage: float


class Memorisation(NamedTuple):
    """Do fakes lie nearer to the training set than held-out rows do?

    `z_score` is far below 0 for copies and far above for rows that are unlike the training set. `copied` is the share
    of fakes nearer to the training set than 99 % of the held-out rows are: 0.01 is expected of new rows, and more where
    fewer than some hundreds are held out (`copied_by_chance`).
    """

    z_score: float
    copied: float


def frechet_distance(real, fake) -> float:
    """Measure |μ_r − μ_f|² + Tr(Σ_r + Σ_f − 2 (Σ_r Σ_f)^½), in squared units of the features; too large for few rows.

    Heusel et al. 2017, equation 6. With centred features Q R, the root's trace is the sum of the singular values of
    R_r R_fᵀ: exact for singular covariances, and never complex.
    """
    real, fake = _features(real=real, fake=fake)
    (real_mean, real_root), (fake_mean, fake_root) = _moments(real), _moments(fake)

    overlap = np.linalg.svd(real_root @ fake_root.T, compute_uv=False).sum()
    spread = np.square(real_root).sum() + np.square(fake_root).sum() - 2.0 * overlap
    return float(np.square(real_mean - fake_mean).sum() + max(spread, 0.0))


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and a root of the covariance: rootᵀ root = Σ, with the denominator n − 1."""
    mean = rows.mean(axis=0)
    return mean, np.linalg.qr(rows - mean, mode="r") / math.sqrt(len(rows) - 1)


def kernel_distance(real, fake) -> KernelDistance:
    """Estimate E k(x, x') + E k(y, y') − 2 E k(x, y) for real x, fake y and k(x, y) = (x·y / d + 1)³, without bias.

    Bińkowski et al. 2018, section 4. One estimate from all rows in place of their mean over subsets: the same
    expectation, a smaller variance. For equal distributions it scatters around 0, also below.
    """
    real, fake = _features(real=real, fake=fake)
    real_real, fake_fake, real_fake = _kernel(real, real), _kernel(fake, fake), _kernel(real, fake)
    value = real_real.mean + fake_fake.mean - 2.0 * real_fake.mean

    # The error sums both terms of Hoeffding's decomposition: for equal distributions the first vanishes.
    n, m = len(real), len(fake)
    second = 2 * real_real.interaction / (n * (n - 1)) + 2 * fake_fake.interaction / (m * (m - 1))
    second += 4 * real_fake.interaction / (n * m)
    first = 0.0
    for own, across, size, other in ((real_real, real_fake.rows, n, m), (fake_fake, real_fake.columns, m, n)):
        noise = own.interaction / (size - 1) + real_fake.interaction / other  # of the row means themselves
        first += 4 * (np.var(own.rows - across, ddof=1) - noise) / size

    return KernelDistance(float(value), math.sqrt(max(first, -second / 2) + second))  # first is 0 or more, up to noise


class _Kernel(NamedTuple):
    """Sums over a kernel matrix, the diagonal left out where both sides are the same rows."""

    mean: float
    rows: np.ndarray  # mean of each row
    columns: np.ndarray  # mean of each column
    interaction: float  # variance of what is left of an entry when its row's and its column's mean are taken off


def _kernel(left: np.ndarray, right: np.ndarray) -> _Kernel:
    """Sum the cubic kernel over all pairs, a block at a time."""
    same = left is right
    width = left.shape[1]
    # With a further column of ones the matrix product is x·y / d + 1 itself.
    left, right = (np.column_stack([rows / math.sqrt(width), np.ones(len(rows))]) for rows in (left, right))

    rows, columns, squares = np.zeros(len(left)), np.zeros(len(right)), 0.0
    for part in parts(left, right):
        product = left[part] @ right.T
        kernel = product * product
        kernel *= product
        rows[part] = kernel.sum(axis=1)
        columns += kernel.sum(axis=0)
        squares += np.vdot(kernel, kernel)

    if same:
        diagonal = np.square(left).sum(axis=1) ** 3
        rows, columns, squares = rows - diagonal, columns - diagonal, squares - np.vdot(diagonal, diagonal)

    pairs = len(left) * (len(right) - same)
    mean = rows.sum() / pairs
    rows, columns = rows / (len(right) - same), columns / (len(left) - same)
    interaction = squares / pairs - mean**2 - rows.var() - columns.var()
    return _Kernel(mean, rows, columns, max(interaction, 0.0))


def precision_recall(real, fake, k: int = 3) -> PrecisionRecall:
    """Measure the share of fakes within the reals' neighbourhoods, and of reals within the fakes'.

    A row's neighbourhood is the ball around it that reaches to its k-th nearest neighbour in its own set, itself not
    counted. Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    real, fake = _features(k, real=real, fake=fake)
    real_radii, fake_radii = radii(real, k), radii(fake, k)

    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, distances in squared_distances(real, fake, real_radii, fake_radii):
        precise |= (distances <= real_radii[rows, np.newaxis]).any(axis=0)
        recalled[rows] = (distances <= fake_radii).any(axis=1)

    return PrecisionRecall(float(precise.mean()), float(recalled.mean()))


def density_coverage(real, fake, k: int = 5) -> DensityCoverage:
    """Measure how many reals' neighbourhoods hold a fake on average, over k, and the share of those that hold any.

    Naeem et al. 2020, equations 5 and 6; but a fake on the edge of a ball is inside, which only exact copies notice.
    """
    real, fake = _features(k, real=real, fake=fake)
    real_radii = radii(real, k)

    held = np.zeros(len(real), np.int64)
    for rows, distances in squared_distances(real, fake, real_radii):
        held[rows] = (distances <= real_radii[rows, np.newaxis]).sum(axis=1)

    return DensityCoverage(float(held.sum() / (k * len(fake))), float((held > 0).mean()))


def memorisation(train, held_out, fake) -> Memorisation:
    """Test whether fakes lie nearer to the training set than held-out rows of the same distribution do.

    The z-score is that of the Mann-Whitney U statistic of the distances to the nearest training row: Meehan et al.
    2020, section 3, with one cell in place of a partition of the space. `copied` is ours, for a few copies among many
    new rows, which the z-score misses when the new ones lie far out.

    Args:
        train: features (n, d) of the training set.
        held_out: features (l, d), or their distances (l,) to the nearest training row, which `neighbours.nearest`
            computes once for many sets of fakes. `copied` rests on the nearest hundredth of them: of fewer than a
            hundred, on about the nearest one, so that a single odd row decides.
        fake: features (m, d).
    """
    train, fake = _features(train=train, fake=fake)
    if np.ndim(held_out) == 1:
        held_out_distances = _features(held_out=np.reshape(held_out, (-1, 1)))[0][:, 0]
    else:
        held_out_distances = nearest(_features(train=train, held_out=held_out)[1], train)
    fake_distances = nearest(fake, train)

    m, n = len(fake), len(held_out)
    ranks = stats.rankdata([*fake_distances, *held_out_distances])  # equal distances share the mean of their ranks
    u = ranks[:m].sum() - m * (m + 1) / 2
    variance = m * n * (m + n + 1) / 12 * stats.tiecorrect(ranks)
    z_score = (u - m * n / 2) / math.sqrt(variance) if variance > 0 else 0.0

    copied = fake_distances <= np.quantile(held_out_distances, 0.01)
    return Memorisation(float(z_score), float(copied.mean()))


def copied_by_chance(held_out: int) -> float:
    """Return the share `copied` that is expected of new rows where so many are held out: 0.07 of 16, 0.02 of 100.

    The quantile lies at the place 1 + 0.01 (l − 1) among l ordered distances, and a new one is equally likely to fall
    into each of the l + 1 gaps between them.
    """
    return (1 + 0.01 * (held_out - 1)) / (held_out + 1)


def classifier_score(probabilities) -> float:
    """Compute exp E KL(p(y|x) ‖ p(y)): from 1 to the number of classes; high when each row is sure and all differ.

    Salimans et al. 2016, section 4: the Inception score, if ImageNet's network says p(y|x). One estimate from all rows
    in place of the mean over ten parts.
    """
    probabilities = _probabilities(probabilities)
    marginal = probabilities.mean(axis=0)
    return float(np.exp(special.rel_entr(probabilities, marginal).sum(axis=1).mean()))


def mode_histogram(probabilities) -> np.ndarray:
    """Count each class's share of the rows, (classes,), a row going to its most probable class."""
    probabilities = _probabilities(probabilities)
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)


def jensen_shannon_divergence(first, second) -> float:
    """Compute (KL(p ‖ m) + KL(q ‖ m)) / 2, m = (p + q) / 2, of two histograms (classes,) with the sum 1, in nats.

    Lin 1991, equation 4.1 with equal weights: 0 where they are equal, log 2 where disjoint.
    """
    first, second = _probabilities([first])[0], _probabilities([second])[0]
    if first.shape != second.shape:
        raise ValueError(f"the histograms must have the same length, got {len(first)} and {len(second)}")

    middle = (first + second) / 2
    return float((special.rel_entr(first, middle).sum() + special.rel_entr(second, middle).sum()) / 2)


LARGEST = 1e20  # features beyond it do not fit into float64 once the cubic kernel is squared: their 12th power


def _features(k: int = 1, **named) -> list[np.ndarray]:
    """Return all as float64 matrices of the same width, or say which is wrong and why."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number of at least 1, got {k!r}")

    matrices = {}
    for name, rows in named.items():
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.dtype.kind not in "fiub" or rows.shape[1] == 0:
            raise ValueError(f"{name} must be a matrix of numbers (rows, features), got {rows.dtype} {rows.shape}")
        if len(rows) <= k:
            raise ValueError(f"{name} must have at least {k + 1} rows, got {len(rows)}")

        matrices[name] = rows.astype(np.float64)
        if not np.abs(matrices[name]).max() <= LARGEST:  # False for NaN
            raise ValueError(f"{name} holds NaN or infinity, or more than 1e20: look at the images that it comes from")

    widths = [rows.shape[1] for rows in matrices.values()]
    if len(set(widths)) > 1:
        raise ValueError(f"{' and '.join(named)} must have the same features, got {' and '.join(map(str, widths))}")
    return list(matrices.values())


def _probabilities(probabilities) -> np.ndarray:
    """Return them as a float64 matrix whose rows have the sum 1, or say what is wrong."""
    rows = np.asarray(probabilities)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or 0 in rows.shape:
        raise ValueError(f"probabilities must be a matrix of numbers (rows, classes), got {rows.dtype} {rows.shape}")

    rows = rows.astype(np.float64)
    sums = rows.sum(axis=1, keepdims=True)
    if not (np.isfinite(rows).all() and (rows >= 0).all() and np.abs(sums - 1).max() < 0.01):  # float16 has 3 digits
        raise ValueError("each row must hold probabilities, not negative and with the sum 1: are these logits, or NaN?")

    return rows / sums

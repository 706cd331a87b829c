"""Features or class probabilities -> scores. NumPy and SciPy only: nothing here knows of images or networks.

Every function computes in float64, takes any real dtype, and refuses what has no answer (NaN, empty, other shapes). A
score on features means something only beside the name of the network that made them, and the number of rows.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from gan_tf.neighbours import nearest, parts, radii, squared_distances


class KernelDistance(NamedTuple):
    """An estimate of the squared maximum mean discrepancy, and the standard deviation of that estimate."""

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
    of fakes nearer to the training set than 99 % of the held-out rows are: 0.01 is expected of new rows.
    """

    z_score: float
    copied: float


def frechet_distance(real, fake) -> float:
    """Measure the squared Fréchet distance between the Gaussians that two sets of features have for their moments.

    |μ_r − μ_f|² + Tr(Σ_r + Σ_f − 2 (Σ_r Σ_f)^½), with the covariances' denominator n − 1.

    Args:
        real: features (n, d), n of at least 2; n may be less than d, and the covariance singular.
        fake: features (m, d), m of at least 2.

    Returns:
        At least 0, in squared units of the features. With few rows it is too large even for equal distributions.

    Raises:
        ValueError: the features are not two finite matrices of the same width.

    Source: Heusel et al. 2017, equation 6. Differs: the root's trace is the sum of the singular values of R_r R_fᵀ,
    where the centred features are Q R: exact for singular covariances, and never complex.
    """
    real, fake = _features(real=real, fake=fake)
    means, roots = [], []
    for rows in (real, fake):
        means.append(rows.mean(axis=0))
        roots.append(np.linalg.qr(rows - means[-1], mode="r") / math.sqrt(len(rows) - 1))  # rootᵀ root = covariance
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = np.square(roots[0]).sum() + np.square(roots[1]).sum() - 2.0 * overlap
    return float(np.square(means[0] - means[1]).sum() + max(spread, 0.0))


def kernel_distance(real, fake) -> KernelDistance:
    """Estimate the squared maximum mean discrepancy with the kernel (x·y / d + 1)³, without bias.

    Args:
        real: features (n, d), n of at least 2.
        fake: features (m, d), m of at least 2.

    Returns:
        The estimate from all rows, which may be a little below 0, and its standard error.

    Raises:
        ValueError: the features are not two finite matrices of the same width.

    Source: Bińkowski et al. 2018, section 4 and appendix; the estimate is equation 3 of Gretton et al. 2012 for n = m.
    Differs: one estimate from all rows in place of the mean over random subsets, with the same expectation and a
    smaller variance. The standard error sums both terms of the estimate's Hoeffding decomposition, so that it holds for
    equal distributions (where the first vanishes) and for different ones.
    """
    real, fake = _features(real=real, fake=fake)
    n, m = len(real), len(fake)
    real_real, fake_fake, real_fake = _kernel(real, real), _kernel(fake, fake), _kernel(real, fake)
    value = real_real.mean + fake_fake.mean - 2.0 * real_fake.mean
    second = 2 * real_real.interaction / (n * (n - 1)) + 2 * fake_fake.interaction / (m * (m - 1))
    second += 4 * real_fake.interaction / (n * m)
    first = 0.0
    for own, across, size, other in (
        (real_real, real_fake.rows, n, m),
        (fake_fake, real_fake.columns, m, n),
    ):
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
    pairs = len(left) * (len(right) - same)
    if same:
        diagonal = np.square(left).sum(axis=1) ** 3
        rows, columns, squares = rows - diagonal, columns - diagonal, squares - np.vdot(diagonal, diagonal)
    mean = rows.sum() / pairs
    rows, columns = rows / (len(right) - same), columns / (len(left) - same)
    interaction = squares / pairs - mean**2 - rows.var() - columns.var()
    return _Kernel(mean, rows, columns, max(interaction, 0.0))


def precision_recall(real, fake, k: int = 3) -> PrecisionRecall:
    """Measure the share of fakes within the reals' neighbourhoods, and of reals within the fakes'.

    A row's neighbourhood is the ball around it that reaches to its k-th nearest neighbour in its own set.

    Args:
        real: features (n, d), n greater than k.
        fake: features (m, d), m greater than k.
        k: neighbours, itself not counted.

    Raises:
        ValueError: the features are not two finite matrices of the same width, or have too few rows for `k`.

    Source: Kynkäänniemi et al. 2019, equations 1 and 2. Differs: none.
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

    Args:
        real: features (n, d), n greater than k.
        fake: features (m, d).
        k: neighbours, itself not counted.

    Raises:
        ValueError: the features are not two finite matrices of the same width, or have too few rows for `k`.

    Source: Naeem et al. 2020, equations 5 and 6. Differs: a fake on the edge of a ball counts as inside, as in
    `precision_recall`; it matters only for exact copies.
    """
    real, fake = _features(k, real=real, fake=fake)
    real_radii = radii(real, k)
    held = np.zeros(len(real), np.int64)
    for rows, distances in squared_distances(real, fake, real_radii):
        held[rows] = (distances <= real_radii[rows, np.newaxis]).sum(axis=1)
    return DensityCoverage(float(held.sum() / (k * len(fake))), float((held > 0).mean()))


def memorisation(train, held_out, fake) -> Memorisation:
    """Test whether fakes lie nearer to the training set than held-out rows of the same distribution do.

    Args:
        train: features (n, d) of the training set.
        held_out: features (l, d), or their distances (l,) to the nearest training row, which `neighbours.nearest`
            computes once for many sets of fakes. `copied` rests on the nearest hundredth of them.
        fake: features (m, d).

    Raises:
        ValueError: the features are not finite matrices of the same width, or the distances not finite.

    Source: Meehan et al. 2020, section 3: the z-score of the Mann-Whitney U statistic of the distances to the nearest
    training row. Differs: one cell in place of a partition of the space; `copied` is ours, for a few copies among many
    new rows, which the z-score misses when the new ones lie far out.
    """
    train, fake = _features(train=train, fake=fake)
    if np.ndim(held_out) == 1:
        held_out_distances = _features(held_out=np.reshape(held_out, (-1, 1)))[0][:, 0]
    else:
        held_out_distances = nearest(_features(train=train, held_out=held_out)[1], train)
    fake_distances = nearest(fake, train)
    m, n = len(fake), len(held_out)
    both = np.concatenate([fake_distances, held_out_distances])
    _, place, ties = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]  # equal distances share the mean of their ranks
    u = ranks[:m].sum() - m * (m + 1) / 2
    variance = m * n / 12 * (m + n + 1 - (ties.astype(float) ** 3 - ties).sum() / ((m + n) * (m + n - 1)))
    z_score = (u - m * n / 2) / math.sqrt(variance) if variance > 0 else 0.0
    return Memorisation(float(z_score), float((fake_distances <= np.quantile(held_out_distances, 0.01)).mean()))


def classifier_score(probabilities) -> float:
    """Compute exp E KL(p(y|x) ‖ p(y)): from 1 to the number of classes; high when each row is sure and all differ.

    Args:
        probabilities: (n, classes), each row p(y|x); else a ValueError.

    Source: Salimans et al. 2016, section 4 (the Inception score, there with an ImageNet network). Differs: one estimate
    from all rows in place of the mean over ten parts.
    """
    probabilities = _probabilities(probabilities)
    marginal = probabilities.mean(axis=0)
    return float(np.exp(special.rel_entr(probabilities, marginal).sum(axis=1).mean()))


def mode_histogram(probabilities) -> np.ndarray:
    """Count each class's share of the rows, a row going to its most probable class.

    Args:
        probabilities: (n, classes), each row p(y|x); else a ValueError.

    Returns:
        float64 (classes,), with the sum 1.
    """
    probabilities = _probabilities(probabilities)
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)


def jensen_shannon_divergence(first, second) -> float:
    """Compute the Jensen-Shannon divergence of two histograms in nats: 0 where equal, log 2 where disjoint.

    Args:
        first: (classes,) shares, not negative, with the sum 1.
        second: likewise.

    Raises:
        ValueError: they are not two such histograms of the same length.

    Source: Lin 1991, equation 4.1 with equal weights. Differs: nats in place of bits.
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

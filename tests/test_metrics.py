"""Metrics against closed forms, naive loops and SciPy, and what they do with bad input."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, jensenshannon

from gan_tf import metrics, neighbours

EXACT = {"rel": 1e-6, "abs": 1e-12}


def draw(rows: int, columns: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Correlated features with unequal variances."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(columns).normal(size=(columns, columns))
    return shift + scale * random.normal(size=(rows, columns)) @ mixing


def with_moments(mean, covariance, rows: int, seed: int) -> np.ndarray:
    """Rows whose sample mean and sample covariance are exactly the given ones."""
    noise = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise, rowvar=False))).T
    return mean + white @ scipy.linalg.sqrtm(covariance).real


# Fréchet distance


def frechet_by_matrix_root(real, fake) -> float:
    """The formula as it is usually written, with a general matrix square root."""
    covariances = [np.cov(rows, rowvar=False) for rows in (real, fake)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    return np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2) + np.trace(sum(covariances) - 2 * root.real)


@pytest.mark.parametrize("columns", [1, 2, 10, 64])
def test_frechet_equals_the_matrix_root(columns):
    real, fake = draw(500, columns), draw(400, columns, seed=1, shift=0.3, scale=1.4)
    if columns == 1:
        expected = (real.mean() - fake.mean()) ** 2 + (real.std(ddof=1) - fake.std(ddof=1)) ** 2
    else:
        expected = frechet_by_matrix_root(real, fake)
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, **EXACT)


def test_frechet_of_gaussians_in_closed_form():
    """Commuting covariances: the squared difference of the means plus that of the standard deviations."""
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    real = with_moments(np.zeros(3), np.diag(first), 100, seed=0)
    fake = with_moments(np.array([1.0, -2.0, 0.5]), np.diag(second), 80, seed=1)
    expected = 1 + 4 + 0.25 + np.sum((np.sqrt(first) - np.sqrt(second)) ** 2)
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("rows", "columns"), [(50, 10), (5, 100), (2, 3), (300, 300)])
def test_frechet_of_a_set_with_itself_or_a_shifted_copy(rows, columns):
    real = draw(rows, columns)
    assert metrics.frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9 * np.square(real).sum())
    assert metrics.frechet_distance(real, real + 0.5) == pytest.approx(0.25 * columns, rel=1e-6)
    centred = real - real.mean(axis=0)
    expected = np.square(centred).sum() / (rows - 1)  # the trace: the deviations differ by 1 · σ
    assert metrics.frechet_distance(3 * centred, 2 * centred) == pytest.approx(expected, rel=1e-6)


def test_frechet_with_singular_covariances_needs_no_regularisation():
    """Two planes in ten dimensions: the distance is that within the two coordinates and between the planes."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
    real, fake = draw(200, 2), draw(300, 2, seed=1, scale=2.0)
    flat_real, flat_fake = real @ basis[:2], fake @ basis[:2]
    assert metrics.frechet_distance(flat_real, flat_fake) == pytest.approx(frechet_by_matrix_root(real, fake), **EXACT)
    across = fake @ basis[2:4]  # no overlap: all of both variances counts
    expected = np.sum((flat_real.mean(axis=0) - across.mean(axis=0)) ** 2)
    expected += flat_real.var(axis=0, ddof=1).sum() + across.var(axis=0, ddof=1).sum()
    assert metrics.frechet_distance(flat_real, across) == pytest.approx(expected, **EXACT)


def test_frechet_with_fewer_rows_than_columns_equals_that_in_the_space_they_span():
    real, fake = draw(8, 200), draw(6, 200, seed=1)
    basis = np.linalg.qr(np.concatenate([real, fake]).T)[0]  # 200 x 14
    expected = frechet_by_eigenvalues(real @ basis, fake @ basis)
    assert metrics.frechet_distance(real, fake) == pytest.approx(
        expected, rel=1e-5
    )  # the reference has a root of 1e-16


def frechet_by_eigenvalues(real, fake) -> float:
    """The trace of the root from the eigenvalues of the product of the covariances."""
    covariances = [np.cov(rows, rowvar=False) for rows in (real, fake)]
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    trace = np.trace(sum(covariances)) - 2 * np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2) + trace


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 20), st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_frechet_is_symmetric_not_negative_and_turns_with_the_space(n, m, d, seed, scale):
    random = np.random.default_rng(seed)
    real, fake = scale * random.normal(size=(n, d)), scale * random.normal(size=(m, d))
    distance = metrics.frechet_distance(real, fake)
    assert isinstance(distance, float)
    assert distance >= 0
    assert metrics.frechet_distance(fake, real) == pytest.approx(distance, rel=1e-6, abs=1e-9 * scale**2)
    turn = np.linalg.qr(random.normal(size=(d, d)))[0]
    assert metrics.frechet_distance(real @ turn, fake @ turn) == pytest.approx(distance, rel=1e-6, abs=1e-9 * scale**2)


# kernel distance


def kernel_distance_by_loops(real, fake) -> float:
    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        pairs = [kernel(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(pairs) / len(pairs)

    between = [kernel(x, y) for x in real for y in fake]
    return within(real) + within(fake) - 2 * sum(between) / len(between)


@pytest.mark.parametrize(("n", "m", "columns"), [(20, 30, 4), (2, 2, 1), (15, 15, 40)])
def test_kernel_distance_equals_the_loops(n, m, columns):
    real, fake = draw(n, columns), draw(m, columns, seed=1, shift=0.2)
    expected = kernel_distance_by_loops(real, fake)
    assert metrics.kernel_distance(real, fake).value == pytest.approx(expected, **EXACT)


def test_kernel_distance_does_not_depend_on_the_blocks(monkeypatch):
    real, fake = draw(50, 6), draw(70, 6, seed=1)
    whole = metrics.kernel_distance(real, fake)
    monkeypatch.setattr(neighbours, "BLOCK", 130)
    monkeypatch.setattr(neighbours, "FEWEST_ROWS", 1)
    assert metrics.kernel_distance(real, fake) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.6])
def test_kernel_distance_is_unbiased_and_knows_its_error(shift):
    """Over many draws: the mean is the true value, the spread is the standard error that it states."""
    random = np.random.default_rng(0)
    draws = [
        metrics.kernel_distance(random.normal(size=(60, 3)), shift + random.normal(size=(80, 3))) for _ in range(1500)
    ]
    values, errors = np.transpose(draws)
    # E (x·y/3 + 1)³ for normal x, y with means a, b: from the moments of x·y, by exact integration over y given x
    true = {0.0: 0.0, 0.05: None, 0.6: None}[shift]
    if true is None:
        many = random.normal(size=(2, 4000, 3))
        true = metrics.kernel_distance(many[0], many[1] + shift).value
    assert values.mean() == pytest.approx(true, abs=5 * values.std() / np.sqrt(len(values)) + 0.02 * true)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.12)  # 1,500 draws know a spread to 2 %


def test_kernel_distance_of_equal_sets_is_near_zero():
    """A set against itself is not independent draws: the estimate is below 0, by what the diagonal adds."""
    real = draw(400, 8)
    value, error = metrics.kernel_distance(real, real)
    assert value < 0
    assert error > 0


# neighbourhoods


def precision_recall_by_matrix(real, fake, k):
    def radii(rows):
        return np.sort(cdist(rows, rows), axis=1)[:, k]  # the first is the row itself

    between = cdist(real, fake)
    return (between <= radii(real)[:, None]).any(axis=0).mean(), (between <= radii(fake)).any(axis=1).mean()


def density_coverage_by_matrix(real, fake, k):
    inside = cdist(real, fake) <= np.sort(cdist(real, real), axis=1)[:, k][:, None]
    return inside.sum() / (k * len(fake)), inside.any(axis=1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_neighbourhoods_equal_the_full_matrix(k, dtype):
    """Integers lie at equal distances again and again, where < and <= differ."""
    real, fake = draw(120, 3), draw(90, 3, seed=1, shift=0.5)
    if dtype == "int64":
        real, fake = np.round(real).astype(dtype), np.round(fake).astype(dtype)
    assert metrics.precision_recall(real, fake, k) == pytest.approx(precision_recall_by_matrix(real, fake, k), abs=0)
    assert metrics.density_coverage(real, fake, k) == pytest.approx(density_coverage_by_matrix(real, fake, k))


def test_neighbourhoods_do_not_depend_on_the_blocks(monkeypatch):
    real, fake = draw(120, 3), draw(90, 3, seed=1)
    whole = metrics.precision_recall(real, fake), metrics.density_coverage(real, fake)
    monkeypatch.setattr(neighbours, "BLOCK", 500)
    monkeypatch.setattr(neighbours, "FEWEST_ROWS", 1)
    assert (metrics.precision_recall(real, fake), metrics.density_coverage(real, fake)) == whole


def test_neighbourhoods_far_from_the_origin():
    """The fast formula alone loses every digit here."""
    real, fake = draw(100, 4), draw(100, 4, seed=1)
    moved = metrics.precision_recall(real + 2.0**20, fake + 2.0**20)
    assert moved == pytest.approx(metrics.precision_recall(real, fake), abs=0.011)  # the sum rounds: one row may change


def test_equal_sets_and_disjoint_supports():
    real = draw(200, 5)
    assert metrics.precision_recall(real, real) == (1.0, 1.0)
    assert metrics.density_coverage(real, real).coverage == 1.0
    assert metrics.precision_recall(real, real + 1e4) == (0.0, 0.0)
    assert metrics.density_coverage(real, real + 1e4) == (0.0, 0.0)


def test_copies_of_rows_with_many_copies_are_inside():
    """All radii are 0 here: only an exact distance 0 is within."""
    rows = np.repeat(draw(10, 300) * 1.1, 8, axis=0)
    assert metrics.precision_recall(rows, rows) == (1.0, 1.0)
    assert metrics.density_coverage(rows, rows).coverage == 1.0


def clusters(names, rows: int, seed: int) -> np.ndarray:
    """Ten far-off clusters, of which some are drawn."""
    random = np.random.default_rng(seed)
    middles = 30 * np.eye(10)
    return np.concatenate([middles[name] + random.normal(size=(rows, 10)) for name in names])


def test_dropped_modes_cost_recall_and_coverage_not_precision():
    real, whole, half = clusters(range(10), 60, 0), clusters(range(10), 60, 1), clusters(range(5), 120, 2)
    assert metrics.precision_recall(real, half).precision > 0.75
    assert metrics.precision_recall(real, half).recall < 0.55 < 0.75 < metrics.precision_recall(real, whole).recall
    assert metrics.density_coverage(real, half).coverage <= 0.5
    assert metrics.density_coverage(real, whole).coverage > 0.9
    assert metrics.density_coverage(real, whole).density == pytest.approx(1.0, abs=0.1)
    assert metrics.frechet_distance(real, half) > 100 * metrics.frechet_distance(real, whole)


# memorisation


def test_memorisation_equals_scipy():
    train, held_out, fake = draw(300, 4), draw(80, 4, seed=1), draw(60, 4, seed=2, scale=0.9)
    nearest = [cdist(rows, train).min(axis=1) for rows in (fake, held_out)]
    u = scipy.stats.mannwhitneyu(*nearest, use_continuity=False, method="asymptotic")
    z_score = scipy.stats.norm.isf(u.pvalue / 2) * np.sign(u.statistic - 60 * 80 / 2)
    found = metrics.memorisation(train, held_out, fake)
    assert found.z_score == pytest.approx(z_score, rel=1e-6)
    assert found.copied == np.mean(nearest[0] <= np.quantile(nearest[1], 0.01))
    assert metrics.memorisation(train, neighbours.nearest(held_out, train), fake) == found


def test_memorisation_with_ties_equals_scipy():
    train, held_out, fake = (np.round(draw(50, 2, seed=seed)) for seed in range(3))
    nearest = [cdist(rows, train).min(axis=1) for rows in (fake, held_out)]
    u = scipy.stats.mannwhitneyu(*nearest, use_continuity=False, method="asymptotic")
    z_score = scipy.stats.norm.isf(u.pvalue / 2) * np.sign(u.statistic - 50 * 50 / 2)
    assert metrics.memorisation(train, held_out, fake).z_score == pytest.approx(z_score, rel=1e-6, abs=1e-9)


def test_memorisation_tells_copies_from_new_rows():
    train, held_out, new = (np.random.default_rng(seed).normal(size=(1000, 8)) for seed in range(3))
    fair = metrics.memorisation(train, held_out, new)
    assert abs(fair.z_score) < 3
    assert fair.copied == pytest.approx(0.01, abs=0.015)
    copies = metrics.memorisation(train, held_out, train[:1000])
    assert copies.z_score < -30
    assert copies.copied == 1.0
    noisy = metrics.memorisation(train, held_out, train + 1e-3 * new)
    assert noisy.copied == 1.0
    some = metrics.memorisation(train, held_out, np.concatenate([train[:50], 1.5 * new[:950]]))
    assert some.z_score > 0  # the new ones lie far out and hide the copies from the mean rank
    assert some.copied > 0.04
    assert metrics.memorisation(train, held_out, 3 * new).z_score > 10


def test_distances_that_are_none_are_refused():
    rows = draw(20, 3)
    for bad in (np.full(20, np.nan), np.full(20, "a"), np.zeros(0)):
        with pytest.raises(ValueError, match=r"^held_out "):
            metrics.memorisation(rows, bad, rows)


def test_nearest_computes_in_64_bits():
    rows = (1e3 + draw(50, 4)).astype(np.float32)
    assert not neighbours.nearest(rows[:10], rows).any()  # copies, told exactly
    exact = cdist(rows[:10].astype(float), rows[10:].astype(float)).min(axis=1)
    np.testing.assert_allclose(neighbours.nearest(rows[:10], rows[10:]), exact, rtol=1e-12)


def test_memorisation_where_all_distances_are_equal():
    rows = np.ones((20, 3))
    assert metrics.memorisation(rows, rows, rows) == (0.0, 1.0)


# probabilities


def test_classifier_score_by_hand_and_by_loops():
    assert metrics.classifier_score(np.eye(10)) == pytest.approx(10.0)
    assert metrics.classifier_score(np.full((5, 10), 0.1)) == pytest.approx(1.0)
    assert metrics.classifier_score([[1.0, 0.0]] * 7) == pytest.approx(1.0)  # sure, and all the same
    rows = np.random.default_rng(0).dirichlet(np.ones(4), size=30)
    marginal = rows.mean(axis=0)
    divergences = [sum(p * np.log(p / q) for p, q in zip(row, marginal, strict=True)) for row in rows]
    assert metrics.classifier_score(rows) == pytest.approx(np.exp(np.mean(divergences)), rel=1e-6)


def test_mode_histogram_and_its_divergence():
    rows = np.eye(4)[[0, 0, 1, 3]]
    histogram = metrics.mode_histogram(rows)
    assert histogram.tolist() == [0.5, 0.25, 0.0, 0.25]
    uniform = np.full(4, 0.25)
    expected = jensenshannon(histogram, uniform) ** 2  # SciPy returns the root
    assert metrics.jensen_shannon_divergence(histogram, uniform) == pytest.approx(expected, rel=1e-6)
    assert metrics.jensen_shannon_divergence([1, 0], [0, 1]) == pytest.approx(np.log(2))
    assert metrics.jensen_shannon_divergence(uniform, uniform) == 0.0


# input

PAIRS = {
    "frechet": metrics.frechet_distance,
    "kernel": metrics.kernel_distance,
    "precision_recall": metrics.precision_recall,
    "density_coverage": metrics.density_coverage,
    "memorisation": lambda real, fake: metrics.memorisation(real, real, fake),
}


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.full((20, 3), np.nan), "holds NaN or infinity"),
        (np.full((20, 3), np.inf), "holds NaN or infinity"),
        (np.full((20, 3), -1e21), "or more than 1e20"),
        (np.zeros((0, 3)), "must have at least"),
        (np.zeros((1, 3)), "must have at least"),
        (np.zeros((20, 0)), "must be a matrix"),
        (np.zeros(20), "must be a matrix"),
        (np.zeros((20, 3, 1)), "must be a matrix"),
        (np.zeros((20, 4)), "must have the same features"),
        (np.zeros((20, 3), complex), "must be a matrix of numbers"),
        (np.full((20, 3), "a"), "must be a matrix of numbers"),
        (np.full((20, 3), None), "must be a matrix of numbers"),
    ],
)
def test_bad_features_are_refused(metric, side, bad, says):
    pair = [draw(20, 3), draw(20, 3)]
    pair[side] = bad
    with pytest.raises(ValueError, match=says):
        metric(*pair)


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
def test_the_largest_features_give_finite_scores(metric):
    real, fake = (np.clip(draw(50, 3, seed), -1, 1) * metrics.LARGEST for seed in range(2))
    assert np.isfinite(metric(real, fake)).all()


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
@pytest.mark.parametrize("metric", [metrics.precision_recall, metrics.density_coverage])
def test_bad_numbers_of_neighbours_are_refused(metric, k):
    with pytest.raises(ValueError, match="k must be a whole number"):
        metric(draw(20, 3), draw(20, 3), k)
    with pytest.raises(ValueError, match="at least 21 rows"):
        metric(draw(20, 3), draw(20, 3), 20)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "uint8"])
@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
def test_other_dtypes_are_computed_in_float64(metric, dtype):
    """Values of 200 overflow float16 when squared."""
    real, fake = (np.random.default_rng(seed).integers(0, 200, size=(60, 5)).astype(dtype) for seed in range(2))
    assert metric(real, fake) == metric(real.astype("float64"), fake.astype("float64"))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 10)),
        np.zeros((5, 0)),
        np.ones(10) / 10,
        np.random.default_rng(0).normal(size=(5, 10)),
        np.ones((5, 10)),
        np.full((5, 10), np.nan),
        [[-0.5, 1.5]],
        [["a", "b"]],
    ],
)
def test_bad_probabilities_are_refused(bad):
    for metric in (metrics.classifier_score, metrics.mode_histogram):
        with pytest.raises(ValueError, match="probabilities"):
            metric(bad)


def test_histograms_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same length, got 2 and 3"):
        metrics.jensen_shannon_divergence([0.5, 0.5], [0.2, 0.3, 0.5])


def test_probabilities_in_float16_are_accepted():
    rows = np.random.default_rng(0).dirichlet(np.ones(10), size=50)
    assert metrics.classifier_score(rows.astype("float16")) == pytest.approx(metrics.classifier_score(rows), rel=1e-3)

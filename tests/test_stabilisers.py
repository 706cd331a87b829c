"""The benchmarks behind chapter 08, and its tables."""

import csv
import dataclasses
import statistics

import chapters
import density
import execute
import numpy as np
import pytest
import stabilisers
import stacks
import tensorflow as tf
from scipy.stats import mannwhitneyu


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((chapters.ROOT / "benchmarks" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def test_the_divergence_on_the_line_has_known_values():
    """0 from the data to itself, log 2 where nothing is shared, and a sum of two thirds of it where one is missing."""
    means, widths = density.CENTRES[None], np.full((1, 3), density.WIDTH)
    assert density.divergence(means, widths)[0] == pytest.approx(0.0, abs=1e-6)
    narrow = np.full((1, 3), 0.05)
    assert density.divergence(np.full((1, 3), 5.0), narrow)[0] == pytest.approx(np.log(2), abs=0.01)
    x = density.GRID.astype(float)
    mass = density.density(x, means, widths).sum() * (x[1] - x[0])
    assert mass == pytest.approx(1.0, abs=1e-3)


def test_runs_on_the_line_go_their_own_way():
    """Four runs in one graph: the same seed with the same rate is the same run, and others are others."""
    game = density.GAMES["wasserstein-one-sided"]
    (means, _), _ = density.train(game, [0, 3, 0, 0], [1e-3, 1e-3, 1e-3, 4e-3], [0, 0, 0, 0], steps=100)
    (alone, _), (averaged, _) = density.train(game, [3], [1e-3], [0], steps=100)
    np.testing.assert_allclose(means[-1][0], means[-1][2], atol=1e-5)
    np.testing.assert_allclose(means[-1][1], alone[-1][0], atol=1e-3)
    assert np.abs(means[-1][0] - means[-1][1]).max() > 0.01
    assert np.abs(means[-1][0] - means[-1][3]).max() > 0.01
    assert np.abs(averaged[-1] - alone[-1]).max() > 1e-3


def test_the_slope_penalty_of_a_straight_line():
    """A D without a curve of slope 3: (3 - 1)² from both sides or from above; slope 0.5 pays from both sides only."""
    x = tf.random.normal((1, 8, 1))
    for slope, both, one in ((3.0, 4.0, 4.0), (0.5, 0.25, 0.0)):
        line = [tf.constant([[[slope]]]), tf.zeros((1, 1, 1))]
        assert float(density.slope(line, x, 1.0)) == pytest.approx(both)
        assert float(density.slope(line, x, 1.0, one_sided=True)) == pytest.approx(one)


def test_stacked_digits_become_small_and_large_again():
    images = np.zeros((3, 28, 28, 1), np.uint8)
    images[1], images[2, :2, :2] = 255, 255
    small = stacks.small(images)
    assert small.shape == (3, 196)
    assert (small[0].max(), small[1].min(), small[2, 0], small[2, 1]) == (-1.0, 1.0, 1.0, -1.0)
    large = stacks.large(small)
    assert (large.shape, large.dtype) == (images.shape, np.uint8)
    assert (large[0].max(), large[1].min()) == (0, 255)


def test_the_measures_of_stacks_made_by_hand():
    every = np.repeat(np.arange(100), 4)
    good, none = np.ones(400, bool), np.zeros(400, bool)
    assert stacks.measures(every, good) == pytest.approx((100, 100, 1.0, 0.0))
    assert stacks.measures(every, none) == pytest.approx((0, 100, 0.0, 0.0))
    assert stacks.measures(np.full(400, 7), good) == pytest.approx((1, 1, 1.0, np.log(100)))


def test_gamma_falls_tenfold_and_lazy_penalties_are_as_large_in_the_mean():
    setting = stacks.Setting(r1=2.0, steps=80)
    discriminator = stacks.start(setting, (0,))[1]
    real = tf.random.normal((1, 16, 392))
    paid = [float(stacks.penalties(discriminator, real, real, tf.constant(s), setting)) for s in (0, 40, 80)]
    slope = float(stacks.slope(discriminator, real, setting))
    assert paid == pytest.approx([slope, 0.55 * slope, 0.1 * slope], rel=1e-4)
    lazy = dataclasses.replace(setting, every=8, falling=False)
    paid = [float(stacks.penalties(discriminator, real, real, tf.constant(s), lazy)) for s in range(8)]
    assert paid == pytest.approx([8 * slope, *[0.0] * 7], rel=1e-4)


def test_batch_norm_in_a_stack_of_networks_is_each_networks_own():
    setting = stacks.Setting(batch_norm=True)
    discriminator, x = stacks.start(setting, (0, 1))[1], tf.random.normal((2, 8, 392))
    changed = tf.concat([x[:1], -x[1:]], axis=0)
    first, second = (stacks.network(discriminator, each, batch_norm=True) for each in (x, changed))
    np.testing.assert_allclose(first[0], second[0], atol=1e-5)
    assert np.abs(first[1] - second[1]).max() > 1e-3


def test_every_stabiliser_can_be_built_and_differs_from_plain():
    plain = stabilisers.VARIANTS["plain"]
    for name, variant in stabilisers.VARIANTS.items():
        assert stabilisers.build(name).discriminator.output_shape == (None, 1)
        assert name == "plain" or variant._replace(what=plain.what) != plain


def test_rows_with_the_arithmetic_of_plain_take_as_many_steps():
    alike = {name for name in stabilisers.VARIANTS if stabilisers.same_arithmetic(name)}
    assert alike == {"plain", "least-squares", "hinge", "smoothing", "one-rate"}
    for row in rows_of("stabilisers"):
        assert row["name"] not in alike or (row["steps"], row["step_cost"]) == ("2000", "1.0")
        assert float(row["steps"]) * float(row["step_cost"]) == pytest.approx(2000, rel=0.002)


def test_a_row_is_better_where_all_seeds_are():
    assert stabilisers.verdict([1, 2, 3], [4, 5, 6]) == "better"
    assert stabilisers.verdict([7, 8, 9], [4, 5, 6]) == "worse"
    assert stabilisers.verdict([3, 4.5, 9], [4, 5, 6]) == "within the spread"


@pytest.mark.parametrize(
    ("name", "known", "first"),
    [
        ("stabilisers", stabilisers.VARIANTS, "seed"),
        ("stacks", stacks.CONTROLS | stacks.ROWS_OF, "seed"),
        ("density", density.GAMES, "seed"),
    ],
)
def test_the_rows_that_are_kept_are_rows_of_the_benchmark_and_of_the_chapter(name, known, first):
    rows = rows_of(name)
    names = {"stabilisers": execute.STABILISER_ROWS, "stacks": execute.STACK_ROWS, "density": execute.GAME_ROWS}[name]
    assert {row["name"] for row in rows} <= set(known)
    assert set(names) == set(known)
    runs = [tuple(row[key] for key in ("name", first, "rate", "schedule") if key in row) for row in rows]
    assert len(set(runs)) == len(runs) > 0


def test_the_tables_of_chapter_08_are_those_of_the_benchmarks():
    (path,) = (path for path in chapters.CHAPTERS if path.stem.startswith("08_"))
    sources = [cell.source for cell in chapters.read(path).cells]
    for source in sources:
        assert execute.with_tables(source) == source, "python notebooks/execute.py notebooks/08_stabilisers.ipynb"
    (table,) = (source for source in sources if "| what is changed at equal seconds |" in source)
    plain = [float(row["frechet"]) for row in rows_of("stabilisers") if row["name"] == "plain"]
    told = f"{statistics.median(plain):.1f} ({min(plain):.1f} to {max(plain):.1f})"
    assert f"| nothing: *plain* | {len(plain)} | 2,000 | {told} |" in table


def text_of_08() -> str:
    (path,) = (path for path in chapters.CHAPTERS if path.stem.startswith("08_"))
    return "\n".join(cell.source for cell in chapters.read(path).cells if cell.cell_type == "markdown")


def seeds_of(benchmark: str, column: str) -> dict[str, list[float]]:
    """Return the column of a benchmark, seed by seed, by the rows' names."""
    found = {}
    for row in rows_of(benchmark):
        found.setdefault(row["name"], []).append(float(row[column]))
    return found


def test_what_chapter_08_says_of_digits_is_in_the_benchmark():
    distance, text = seeds_of("stabilisers", "frechet"), text_of_08()
    plain = distance["plain"]
    assert {name: len(own) for name, own in distance.items()} == dict.fromkeys(stabilisers.VARIANTS, 3)
    told = {name: stabilisers.verdict(own, plain) for name, own in distance.items() if name != "plain"}
    level = {name for name, verdict in told.items() if verdict == "within the spread"}
    assert level == {"least-squares", "hinge", "spectral", "noise", "smoothing", "recipe"}
    assert "better" not in told.values()
    assert f"are level with it, {len(told) - len(level)} are worse" in text
    medians = {name: statistics.median(own) for name, own in distance.items()}
    assert max(medians["hinge"], medians["smoothing"]) < medians["plain"]

    near = {name for name, verdict in told.items() if verdict == "worse" and min(distance[name]) < 1.15 * max(plain)}
    assert near == {"one-rate", "r1-1", "r1-0.1"}
    clear = min(min(distance[name]) for name in set(told) - level - near)
    assert f"plain's worst seed, {max(plain):.0f}. The rest are clear, at {clear:.0f} and more." in text
    for name in near:
        assert f"({min(distance[name]):.0f} to {max(distance[name]):.0f})" in text


def test_what_chapter_08_says_of_averages_and_early_looks_is_in_the_benchmark():
    distance, last = seeds_of("stabilisers", "frechet"), seeds_of("stabilisers", "frechet_last")
    for name, own in distance.items():
        assert {a < b for a, b in zip(own, last[name], strict=True)} == {name != "wgan-gp-5"}
    ratio = statistics.median(b / a for a, b in zip(distance["plain"], last["plain"], strict=True))
    assert ratio == pytest.approx(2, abs=0.05)
    ends = [statistics.median(each["plain"]) for each in (distance, last)]
    assert f"Plain ends at {ends[0]:.0f} with it and at {ends[1]:.0f} with the last weights" in text_of_08()

    early = seeds_of("stabilisers", "frechet_early")
    assert f"here it's {early['wgan-gp'][0]:.0f} against {early['plain'][0]:.0f}, on MNIST" in text_of_08()
    assert statistics.median(distance["wgan-gp"]) / statistics.median(distance["plain"]) == pytest.approx(3, abs=0.1)


def test_what_chapter_08_says_of_rates_and_penalties_is_in_the_benchmark():
    medians = {name: statistics.median(own) for name, own in seeds_of("stabilisers", "frechet").items()}
    text, told = text_of_08(), {name: f"{median:.0f}" for name, median in medians.items()}
    assert f"R1 with γ = 0.1 or 1 ends at {told['r1-0.1']} and {told['r1-1']}" in text
    assert f"γ = 10 is too much here ({told['r1-10']})" in text
    assert f"Dropout ({told['dropout']}), batch norm in D ({told['batch-norm']}) and DiffAugment" in text
    assert f"DiffAugment ({told['diffaugment']})" in text
    assert f"{told['relativistic']} with them and at {told['relativistic-double']} with doubled rates" in text
    assert f"WGAN-GP at {told['wgan-gp']} and {told['wgan-gp-double']}." in text
    assert f"nowhere yet ({told['wgan-gp-5']})" in text
    costs = seeds_of("stabilisers", "step_cost")
    for name in ("r1-0.1", "r1-1", "r1-10"):
        assert costs[name][0] == pytest.approx(1.4, abs=0.05)
    for name in ("relativistic-r1-r2", "relativistic-r1-r2-0.1"):
        assert costs[name][0] == pytest.approx(1.9, abs=0.05)


def games_of_08() -> dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]:
    """Return the last and the averaged divergences of each game, in thousandths, by name, rate and schedule."""
    found = {}
    for row in rows_of("density"):
        key = row["name"], row["rate"], row["schedule"]
        found.setdefault(key, []).append((1000 * float(row["js"]), 1000 * float(row["js_averaged"])))
    return {key: tuple(np.transpose(own)) for key, own in found.items()}


def test_what_chapter_08_says_of_averages_on_the_line_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()
    assert {len(last) for last, _ in games.values()} == {16}
    last, averaged = (np.median(each) for each in games["hinge", "0.004", "constant"])
    falling = np.median(games["hinge", "0.004", "falling"][0])
    assert averaged < 0.1 * last
    assert f"hinge shakes at {last:.1f} thousandths" in text
    assert f"gone in the average: {averaged:.2f}." in text
    assert falling / last == pytest.approx(1 / 3, abs=0.03)
    best = {"logistic": "0.004", "hinge": "0.004", "pairs": "0.004", "wasserstein-one-sided": "0.004"}
    best |= {"logistic-r1": "0.001", "hinge-r1": "0.004", "pairs-r1": "0.001"}
    factors = []
    for name, rate in best.items():
        ends = [np.median(each) for each in games[name, rate, "constant"]]
        factors.append(ends[0] / ends[1])
        assert ends[1] < np.median(games[name, rate, "falling"][0])
    assert (min(factors), max(factors)) == (pytest.approx(4, abs=0.5), pytest.approx(26, abs=0.5))
    slow = [np.median(each) for each in games["hinge", "0.001", "constant"]]
    assert slow == pytest.approx([2.2, 2.2], abs=0.06)


def test_what_chapter_08_says_of_the_order_of_games_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()
    averaged = {(name, rate): own[1] for (name, rate, schedule), own in games.items() if schedule == "constant"}
    near = [averaged[name, "0.004"] for name in ("logistic", "hinge", "pairs", "wasserstein-one-sided")]
    chances = [mannwhitneyu(one, two).pvalue for i, one in enumerate(near) for two in near[:i]]
    assert min(chances) > 0.05
    for one, two, told in (
        (("logistic", "0.004"), ("hinge", "0.004"), "0.11"),
        (("pairs", "0.004"), ("pairs-r1", "0.001"), "0.009"),
        (("logistic", "0.004"), ("logistic-r1", "0.001"), "0.03"),
        (("hinge", "0.004"), ("hinge-r1", "0.004"), "0.95"),
    ):
        digits = len(told) - 2
        assert f"{mannwhitneyu(averaged[one], averaged[two]).pvalue:.{digits}f}" == told
        assert f"(p = {told}" in text or f"p = {told})" in text
    last = [games[name, "0.004", "constant"][0] for name in ("logistic", "hinge")]
    assert f"{mannwhitneyu(*last).pvalue:.2f}" == "0.03"
    assert [np.sum(averaged[name, "0.004"] > 20) for name in ("logistic", "hinge")] == [3, 0]
    for rate in ("0.001", "0.004", "0.016"):
        others = [np.median(averaged[name, "0.004"]) for name in ("logistic", "hinge", "pairs")]
        assert np.median(averaged["least-squares", rate]) > 10 * max(others)
        assert np.median(averaged["wasserstein", rate]) > 300


CELLS_OF_STACKS, GAMMAS_OF_STACKS = ("r1", "r1-r2", "pairs-r1", "pairs-r1-r2"), ("0.01", "0.1", "1", "10")


def kl_of_stacks() -> dict[str, list[float]]:
    """Return the KLs of benchmarks/stacks.csv as the chapter has them, in thousandths of a nat: so come its ties."""
    return {name: [round(1000 * value) / 1000 for value in own] for name, own in seeds_of("stacks", "kl").items()}


def chance(one: list[float], two: list[float]) -> float:
    return mannwhitneyu(one, two).pvalue


def test_what_chapter_08_says_of_pairs_is_in_the_benchmark():
    kl, text = kl_of_stacks(), text_of_08()
    rows = {f"{cell}-{gamma}" for cell in CELLS_OF_STACKS for gamma in GAMMAS_OF_STACKS}
    assert rows | set(stacks.CONTROLS) | {"none", "pairs", "broken", "broken-none"} <= set(kl)
    assert {len(own) for own in kl.values()} == {len(stacks.SEEDS)}
    median = {name: statistics.median(own) for name, own in kl.items()}
    for own, other in (("pairs-r1-1", "r1-1"), ("pairs-r1-r2-1", "r1-r2-1")):
        p = chance(kl[own], kl[other])
        assert f"from {median[other]:.2f} to {median[own]:.2f} (p = {p:.3f})" in text
        assert median[own] < median[other]
        assert 0.03 < p < 0.1  # at the edge of chance
    for own, other in (("pairs-r1-0.01", "r1-0.01"), ("pairs-r1-r2-0.01", "r1-r2-0.01"), ("pairs", "none")):
        p = chance(kl[own], kl[other])
        assert f"from {median[other]:.2f} to {median[own]:.2f} (p = {p:.3f})" in text
        assert median[own] > median[other]
        assert p < 0.01
    for cell in ("r1", "r1-r2"):
        assert max(GAMMAS_OF_STACKS, key=lambda gamma, cell=cell: median[f"{cell}-{gamma}"]) == "1"


def test_what_chapter_08_says_of_penalties_on_stacks_is_in_the_benchmark():
    touched, on_mode, kl = seeds_of("stacks", "touched"), seeds_of("stacks", "on_mode"), kl_of_stacks()
    for gamma in GAMMAS_OF_STACKS:
        assert chance(kl[f"r1-r2-{gamma}"], kl[f"r1-{gamma}"]) > 0.05
        assert chance(kl[f"pairs-r1-r2-{gamma}"], kl[f"pairs-r1-{gamma}"]) > 0.05
        assert min(touched[f"r1-{gamma}"]) > 90
        assert min(on_mode[f"r1-{gamma}"]) > max(on_mode["gaussian"])
    behind, apart = [], []
    for cell in CELLS_OF_STACKS:
        gamma = min(GAMMAS_OF_STACKS, key=lambda gamma, cell=cell: statistics.median(kl[f"{cell}-{gamma}"]))
        best, p = statistics.median(kl[f"{cell}-{gamma}"]), chance(kl[f"{cell}-{gamma}"], kl["none"])
        assert f"at {best:.2f} (γ = {gamma}, p = {p:.3f})" in text_of_08()
        behind.append(best > statistics.median(kl["none"]))
        apart.append(p < 0.05)
    assert behind == [False, False, True, True]
    assert apart == [False, False, True, False]
    for name in ("broken", "broken-none"):
        assert min(kl[name]) > max(kl["gaussian"])
        assert max(on_mode[name]) < min(on_mode["gaussian"])
    assert chance(kl["broken"], kl["broken-none"]) > 0.05

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
from scipy.stats import mannwhitneyu, spearmanr


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


def test_a_mixture_that_leaves_the_grid_counts_in_full():
    """Log 2 where all of it is far away; a third of it far away is like a third of it anywhere without data."""
    widths = np.full((1, 3), density.WIDTH)
    assert density.divergence(np.full((1, 3), 50.0), widths)[0] == pytest.approx(np.log(2), abs=1e-5)
    away, near = (density.divergence(np.array([[-2.0, 0.0, x]]), widths)[0] for x in (50.0, 5.0))
    edge = density.divergence(np.array([[-2.0, 0.0, 7.0]]), widths)[0]
    assert away == pytest.approx(near, abs=1e-4)
    assert edge == pytest.approx(near, abs=1e-3)


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


def test_what_chapter_08_says_of_early_looks_is_in_the_benchmark():
    early, ends = (
        {name: statistics.median(own) for name, own in seeds_of("stabilisers", column).items()}
        for column in ("frechet_early", "frechet")
    )
    text = text_of_08()
    rho = spearmanr(list(early.values()), [ends[name] for name in early]).statistic
    assert f"It's {rho:.2f}: a tenth of a row tells you something" in text
    assert min(early, key=early.get) == "relativistic-double"
    assert f"at {early['relativistic-double']:.0f}, and end at {ends['relativistic-double']:.0f}" in text
    assert ends["relativistic-double"] > 2 * ends["plain"]
    told = f"R1 with γ = 1 is at {early['r1-1']:.0f}, behind WGAN-GP at {early['wgan-gp']:.0f}"
    assert f"{told}, and ends at {ends['r1-1']:.0f} against WGAN-GP's {ends['wgan-gp']:.0f}" in text
    assert sorted(early, key=early.get)[-1] == "wgan-gp-5"
    assert f"(the published WGAN-GP, {early['wgan-gp-5']:.0f})" in text
    assert early["wgan-gp-5"] > 1.5 * sorted(early.values())[-2]


def test_what_chapter_08_says_of_rates_and_penalties_is_in_the_benchmark():
    medians = {name: statistics.median(own) for name, own in seeds_of("stabilisers", "frechet").items()}
    text, told = text_of_08(), {name: f"{median:.0f}" for name, median in medians.items()}
    assert f"R1 with γ = 0.1 or 1 ends at {told['r1-0.1']} and {told['r1-1']}" in text
    assert f"γ = 10 is too much here ({told['r1-10']})" in text
    assert f"Dropout ({told['dropout']}) and DiffAugment ({told['diffaugment']}) make D worse" in text
    assert f"Batch norm in D ({told['batch-norm']})" in text
    assert f"{told['relativistic']} with them and at {told['relativistic-double']} with doubled rates" in text
    assert f"WGAN-GP at {told['wgan-gp']} and {told['wgan-gp-double']}." in text
    assert f"has hardly begun ({told['wgan-gp-5']})" in text
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


def best_of_08(games, name: str, column: int, schedule: str = "constant") -> tuple[float, str]:
    """Return the lowest median of a game over its rates, of the last weights (0) or the averaged ones (1), its rate."""
    own = {rate: ends[column] for (game, rate, way), ends in games.items() if (game, way) == (name, schedule)}
    return min((np.median(ends), rate) for rate, ends in own.items())


def test_what_chapter_08_says_of_averages_on_the_line_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()
    assert {len(last) for last, _ in games.values()} == {16}
    last, averaged = (np.median(each) for each in games["hinge", "0.004", "constant"])
    falling = np.median(games["hinge", "0.004", "falling"][0])
    assert averaged < 0.1 * last
    assert f"hinge shakes at {last:.1f} thousandths" in text
    assert f"nine tenths of that: it ends at {averaged:.2f}." in text
    assert falling / last == pytest.approx(1 / 3, abs=0.03)
    slow = [np.median(games[name, "0.001", "constant"][0]) for name in ("hinge", "logistic")]
    assert f"at 1e-3 hinge ends at {slow[0]:.1f} without an average" in text
    assert f"at 1e-3 it doesn't ({slow[0]:.2f} and {slow[1]:.2f})" in text
    ends = {name: [best_of_08(games, name, column) for column in (0, 1)] for name in ("logistic", "hinge", "pairs")}
    ends["one-sided"] = [best_of_08(games, "wasserstein-one-sided", column) for column in (0, 1)]
    assert {tuple(rate for _, rate in own) for own in ends.values()} == {("0.001", "0.004")}
    factors = {name: own[0][0] / own[1][0] for name, own in ends.items()}
    chance = mannwhitneyu(games["hinge", "0.001", "constant"][0], games["hinge", "0.004", "constant"][1]).pvalue
    assert f"averaging divides hinge by {factors['hinge']:.1f} (p = {chance:.2f})" in text
    assert f"divides hinge by {factors['hinge']:.1f} and the non-saturating game by {factors['logistic']:.0f};" in text
    assert f"one-sided Wasserstein by a factor of {factors['one-sided']:.0f}, pairs by {factors['pairs']:.1f}" in text
    small = [best_of_08(games, "hinge-r1", column)[0] for column in (0, 1)]
    assert f"gains next to nothing ({small[0]:.2f} and {small[1]:.2f})" in text


NEAR = ("logistic", "hinge", "pairs", "wasserstein-one-sided")


def test_what_chapter_08_says_of_the_order_of_games_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()
    last, averaged = (
        {name: games[name, "0.004", "constant"][column] for name in (*NEAR, "hinge-r1")} for column in (0, 1)
    )
    chances = [mannwhitneyu(averaged[one], averaged[two]).pvalue for i, one in enumerate(NEAR) for two in NEAR[:i]]
    assert f"the smallest of six p is {min(chances):.2f}" in text
    assert min(chances) > 0.05
    assert f"pairs are nearer than hinge (p = {mannwhitneyu(last['pairs'], last['hinge']).pvalue:.3f})" in text
    beside = mannwhitneyu(last["pairs"], last["wasserstein-one-sided"]).pvalue
    assert f"than one-sided Wasserstein (p = {beside:.3f})" in text
    assert np.median(last["pairs"]) < min(np.median(last[name]) for name in ("hinge", "wasserstein-one-sided"))
    told = f"{np.median(last['hinge']):.1f} against {np.median(last['logistic']):.1f}"
    assert f"{told} (p = {mannwhitneyu(last['logistic'], last['hinge']).pvalue:.2f})" in text
    free = averaged["logistic"][averaged["logistic"] <= 20]
    assert (len(free), np.max(averaged["hinge"]) <= 20) == (13, True)
    assert f"sticks in 3 of 16 seeds. Where it doesn't, it ends at {np.median(free):.2f}" in text
    assert np.median(averaged["hinge"]) / np.median(free) == pytest.approx(9, abs=0.6)
    assert f"(p = {mannwhitneyu(free, averaged['hinge']).pvalue:.3f}, a comparison chosen" in text


def test_what_chapter_08_says_of_penalties_on_the_line_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()

    def median(name: str, rate: str = "0.004", column: int = 1) -> float:
        return np.median(games[name, rate, "constant"][column])

    for rate in ("0.001", "0.004", "0.016"):
        assert min(games["wasserstein", rate, "constant"][1]) > 300
    assert {f"{median('wasserstein', rate):.0f}" for rate in ("0.004", "0.016")} == {"693"}
    assert "(At the two larger ones it ends at 693, which is" in text
    assert f"it ends at {median('wasserstein-0.1'):.2f}, level with the best" in text
    assert max(games["wasserstein-0.1", "0.004", "constant"][1]) < 20
    for name in NEAR:
        level = [games[each, "0.004", "constant"][1] for each in ("wasserstein-0.1", name)]
        assert np.median(level[0]) < np.median(level[1]) or mannwhitneyu(*level).pvalue > 0.05
    assert median("wasserstein-0.1") < median("wasserstein-one-sided")
    for name in ("logistic", "pairs"):
        mild = [games[each, "0.004", "constant"][1] for each in (f"{name}-r1-0.01", name)]
        assert np.median(mild[0]) < np.median(mild[1]) or mannwhitneyu(*mild).pvalue > 0.05
        strong = [games[each, "0.004", "constant"][1] for each in (f"{name}-r1", name)]
        assert mannwhitneyu(*strong).pvalue < 0.01
        slow = [games[each, "0.001", "constant"][1] for each in (f"{name}-r1", name)]
        assert mannwhitneyu(*slow).pvalue > 0.5
    own = [median(f"logistic{end}") for end in ("", "-r1-0.01", "-r1-0.1", "-r1")]
    assert "the non-saturating game ends at {:.2f}, {:.2f}, {:.2f} and {:.0f}".format(*own) in text
    own = [median(f"pairs{end}") for end in ("", "-r1-0.01", "-r1-0.1", "-r1")]
    assert "pairs at {:.2f}, {:.2f}, {:.2f} and {:.1f}".format(*own) in text
    for rate, digits in (("0.004", 1), ("0.001", 2)):
        both = [games[name, rate, "constant"][0] for name in ("hinge", "hinge-r1")]
        told = f"{np.median(both[0]):.1f} and {np.median(both[1]):.{digits}f} at {1000 * float(rate):g}e-3"
        assert f"{told} (p = {mannwhitneyu(*both).pvalue:.2f})" in text


def test_what_chapter_08_says_of_longer_games_is_in_the_benchmark():
    games, text = games_of_08(), text_of_08()

    def ends(name: str, rate: str) -> np.ndarray:
        return games[name, rate, "constant"][1]

    slow = [np.median(ends(name, "0.001")) for name in ("least-squares", "least-squares-long")]
    assert "at 1e-3: {:.1f} after 4,000 steps, {:.2f} after 16,000, averaged".format(*slow) in text
    stuck = [np.sum(ends(name, "0.004") > 20) for name in ("least-squares", "least-squares-long")]
    assert f"At 4e-3 {stuck[0]} of its 16 seeds are stuck after 4,000 steps and {stuck[1]} after 16,000." in text
    shapes = []
    for row in rows_of("density"):
        if (row["name"], row["rate"], row["schedule"]) == ("least-squares-long", "0.004", "constant"):
            means, widths = (np.array(row[f"{what}_averaged"].split(), float) for what in ("means", "widths"))
            shapes += [(abs(means[0]), abs(means[2]), widths[1])] * (float(row["js_averaged"]) > 0.02)
    outer, middle = np.median(np.array(shapes)[:, :2]), np.median(np.array(shapes)[:, 2])
    assert f"the outer means are {outer:.2f} from 0 in the median" in text
    assert f"the middle Gaussian is {middle:.2f} wide" in text
    told = {"0.004": "at 4e-3: after 16,000 steps it ends at {:.2f}, averaged, against {:.2f} after 4,000 (p = {:.2f})"}
    assert f"more time bring hinge to {np.median(ends('hinge-long', '0.001')):.2f}, as the last row" in text
    told["0.001"] = "At 1e-3 it does: {:.2f} against {:.2f} (p = {:.4f})"
    for rate, sentence in told.items():
        both = [ends(name, rate) for name in ("hinge-long", "hinge")]
        chance = mannwhitneyu(*both).pvalue
        assert sentence.format(*(np.median(own) for own in both), chance) in text
        assert (chance < 0.05) == (rate == "0.001")
    for name in set(density.GAMES) - {"wasserstein"}:
        assert best_of_08(games, name, 1)[0] < best_of_08(games, name, 0)[0]


CELLS_OF_STACKS, GAMMAS_OF_STACKS = ("r1", "r1-r2", "pairs-r1", "pairs-r1-r2"), ("0.01", "0.1", "1", "10")


def kl_of_stacks() -> dict[str, list[float]]:
    """Return the KLs of benchmarks/stacks.csv as the chapter has them, in thousandths of a nat: so come its ties."""
    return {name: [round(1000 * value) / 1000 for value in own] for name, own in seeds_of("stacks", "kl").items()}


def chance(one: list[float], two: list[float]) -> float:
    return mannwhitneyu(one, two).pvalue


def share_of_stacks() -> dict[str, list[float]]:
    """Return the percents on a mode as the chapter has them."""
    return {name: [round(1000 * value) / 10 for value in own] for name, own in seeds_of("stacks", "on_mode").items()}


def way(own: list[float], other: list[float], digits: int) -> str:
    before, after = statistics.median(other), statistics.median(own)
    p = chance(own, other)
    told = f"p = {p:.3f}" if p >= 0.0005 else "p < 0.001"
    return f"from {before:.{digits}f} to {after:.{digits}f} ({told})"


def test_what_chapter_08_says_of_pairs_is_in_the_benchmark():
    kl, on_mode, text = kl_of_stacks(), share_of_stacks(), text_of_08()
    assert set(kl) == set(stacks.CONTROLS) | set(stacks.ROWS_OF)
    assert {len(own) for own in kl.values()} == {len(stacks.SEEDS)}
    for gamma, better in (("1", True), ("0.01", False)):
        sides = [[f"{pairs}{cell}-{gamma}" for cell in ("r1", "r1-r2")] for pairs in ("pairs-", "")]
        ends = [[v for name in side for v in kl[name]] for side in sides]
        shares = [[v for name in side for v in on_mode[name]] for side in sides]
        told = f"the KL {way(*ends, digits=2)} and the share on a mode {way(*shares, digits=1)}"
        assert f"pairs bring {told}" in text or f"they bring {told}" in text
        assert (statistics.median(ends[0]) < statistics.median(ends[1])) == better
        assert (statistics.median(shares[0]) > statistics.median(shares[1])) == better
        assert max(chance(*ends), chance(*shares)) < 0.03
    assert f"the KL goes {way(kl['pairs'], kl['none'], digits=2)}" in text
    alone = [chance(kl[f"pairs-{cell}-1"], kl[f"{cell}-1"]) for cell in ("r1", "r1-r2")]
    assert "(p = {:.3f} and {:.3f})".format(*alone) in text
    assert min(alone) > 0.03  # the edge of chance
    for cell in ("r1", "r1-r2"):
        worst = max(GAMMAS_OF_STACKS, key=lambda gamma, cell=cell: statistics.median(kl[f"{cell}-{gamma}"]))
        assert (worst, chance(kl[f"{cell}-1"], kl[f"{cell}-10"]) > 0.05) == ("1", True)


def test_what_chapter_08_says_of_all_comparisons_of_stacks_is_in_the_benchmark():
    """Holm's correction: the smallest of n p is multiplied by n, the next by n - 1, and so on."""
    kl, added = (
        kl_of_stacks(),
        (("pairs-r1", "r1"), ("pairs-r1-r2", "r1-r2"), ("r1-r2", "r1"), ("pairs-r1-r2", "pairs-r1")),
    )
    asked = [(f"{one}-{gamma}", f"{two}-{gamma}") for one, two in added for gamma in GAMMAS_OF_STACKS]
    asked += [("pairs", "none"), ("broken", "broken-none"), ("r1-1", "r1-10"), ("r1-r2-1", "r1-r2-10")]
    asked += [(name, "pairs-r1-r2-1") for name in ("broken", "beta1-0.5", "batch-norm", "lazy", "constant")]
    for cell in CELLS_OF_STACKS:
        gamma = min(GAMMAS_OF_STACKS, key=lambda gamma, cell=cell: statistics.median(kl[f"{cell}-{gamma}"]))
        asked.append((f"{cell}-{gamma}", "none"))
    chances = sorted((chance(kl[one], kl[two]), one, two) for one, two in asked)
    found = [(one, two) for place, (p, one, two) in enumerate(chances) if p * (len(chances) - place) <= 0.05]
    assert set(found) == {
        ("broken", "pairs-r1-r2-1"),
        ("batch-norm", "pairs-r1-r2-1"),
        ("beta1-0.5", "pairs-r1-r2-1"),
        ("pairs", "none"),
        ("pairs-r1-0.01", "r1-0.01"),
        ("pairs-r1-1", "none"),
    }
    assert found == [(one, two) for _, one, two in chances[:6]]
    assert f"Of all {len(asked)} comparisons of single rows' KLs that this section makes, six survive" in text_of_08()


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


def test_what_chapter_08_says_of_broken_rules_is_in_the_benchmark():
    on_mode, kl, text = share_of_stacks(), kl_of_stacks(), text_of_08()
    for name in ("broken", "broken-none", "batch-norm"):
        assert min(kl[name]) > max(kl["gaussian"]) or name == "batch-norm"
        assert max(on_mode[name]) < min(on_mode["gaussian"])
    for name in ("broken", "broken-none", "batch-norm", "beta1-0.5"):
        share, end = statistics.median(on_mode[name]), statistics.median(kl[name])
        assert f"{share:.1f} % on a mode and a KL of {end:.2f}" in text
    assert chance(kl["broken"], kl["broken-none"]) > 0.05
    for name, worse in (("beta1-0.5", True), ("lazy", True), ("constant", False)):
        p = chance(kl[name], kl["pairs-r1-r2-1"])
        assert (p < 0.05) == worse
        assert name == "beta1-0.5" or f"{statistics.median(kl[name]):.2f}, p = {p:.2f})" in text


def test_what_chapter_08_says_of_averaged_stacks_is_in_the_benchmark():
    rows, text = [row for row in rows_of("stacks") if row["kl_averaged"]], text_of_08()
    plain = [row for row in rows if row["name"] == "none"]
    assert len(plain) == len(stacks.SEEDS)
    told = {column: statistics.median(float(row[column]) for row in plain) for column in stacks.COLUMNS[2:]}
    assert f"from {told['modes']:.0f} modes found to {told['modes_averaged']:.0f}" in text
    assert f"from a KL of {told['kl']:.2f} to {told['kl_averaged']:.2f}, with every seed" in text
    others = [name for name in kl_of_stacks() if name != "true"]
    assert told["kl_averaged"] < min(statistics.median(kl_of_stacks()[name]) for name in others)
    assert told["modes_averaged"] > max(statistics.median(seeds_of("stacks", "modes")[name]) for name in others)
    for row in rows:
        assert float(row["kl_averaged"]) < float(row["kl"])
        assert int(row["modes_averaged"]) > int(row["modes"])


def averaged_of_stacks(name: str) -> tuple[list[float], list[float]]:
    """Return percents on a mode and KLs of a row's averaged generators as the chapter has them."""
    own = [row for row in rows_of("stacks") if row["name"] == name]
    numbers = [[1000 * float(row[f"{column}_averaged"]) for row in own] for column in ("on_mode", "kl")]
    return [round(value) / 10 for value in numbers[0]], [round(value) / 1000 for value in numbers[1]]


def test_what_chapter_08_says_of_the_order_of_averaged_stacks_is_in_the_benchmark():
    text, plain = text_of_08(), averaged_of_stacks("none")
    for own, other in (("pairs-r1-1", "r1-1"), ("pairs-r1-r2-1", "r1-r2-1"), ("pairs", "none"), ("r1-r2-1", "r1-1")):
        sides = averaged_of_stacks(own), averaged_of_stacks(other)
        moves = [way(after, before, digits) for after, before, digits in zip(*sides, (1, 2), strict=True)]
        assert f"the share on a mode goes {moves[0]} and the KL {moves[1]}" in text
        assert statistics.median(sides[0][0]) < statistics.median(sides[1][0])
    for name in ("pairs", "r1-1", "r1-r2-1", "pairs-r1-1", "pairs-r1-r2-1"):
        own = averaged_of_stacks(name)
        assert statistics.median(own[0]) < statistics.median(plain[0])
        assert round(chance(own[0], plain[0]), 3) <= 0.001
    assert "as many stacks on a mode as the plain game (each with p = 0.001 or less)" in text
    level = averaged_of_stacks("r1-1")[1]
    told = f"level with it, at {statistics.median(level):.2f} (p = {chance(level, plain[1]):.2f})"
    assert told in text
    assert chance(level, plain[1]) > 0.05

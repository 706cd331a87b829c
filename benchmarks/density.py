"""Which loss comes closest to a density that is known: `python benchmarks/density.py [NAME ...]`, resumable.

The data are three Gaussians on a line, and so is what the generator makes, with means and widths to learn: its density
is a formula, and the Jensen-Shannon divergence from the data's an integral. Only the discriminator is a network. A row
is one loss: its 96 runs, 16 seeds by three rates by two schedules, train in one graph, each with its own numbers along
a leading axis. The generator is scored as it is, and averaged over its steps. Rows with "long" in their name train four
times as long, at two rates.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_texts, write_section
from ring import draw, fresh, mean, network, weights_of
from tqdm import tqdm

from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
SEEDS = range(16)
CENTRES, WIDTH = np.array([-2.0, 0.0, 2.0], np.float32), 0.4  # of the data
START = 0.75 * CENTRES  # of the generator's means, and 0.2 times a draw; its widths start at 1
GRID = np.linspace(-7, 7, 701, dtype=np.float32)
RATES = (1e-3, 4e-3, 1.6e-2)  # of both players
SCHEDULES = ("constant", "falling")
STEPS, BATCH, UNITS, EVERY = 4000, 128, 32, 100
DECAY = 0.998  # of the average
COLUMNS = ("name", "rate", "schedule", "seed", "js", "js_averaged")
SHAPES = ("means", "widths", "means_averaged", "widths_averaged")  # of each run's generator


def cross_entropy(real, fake):
    return mean(tf.nn.softplus(-real)) + mean(tf.nn.softplus(fake))


def non_saturating(real, fake):
    return mean(tf.nn.softplus(-fake))


def squares(real, fake):
    return (mean((real - 1) ** 2) + mean(fake**2)) / 2


def square(real, fake):
    return mean((fake - 1) ** 2) / 2


def hinges(real, fake):
    return mean(tf.nn.relu(1 - real)) + mean(tf.nn.relu(1 + fake))


def gap(real, fake):
    return mean(fake) - mean(real)


def linear(real, fake):
    return -mean(fake)


def pair(real, fake):
    return mean(tf.nn.softplus(fake - real))


def pair_turned(real, fake):
    return mean(tf.nn.softplus(real - fake))


class Game(NamedTuple):
    """What each player minimises, from the logits of real and of fake points."""

    what: str
    discriminator: Callable
    generator: Callable
    r1: float = 0.0  # gamma
    gradient_penalty: float = 0.0  # its weight
    one_sided: bool = False  # whether only slopes above 1 pay it
    rates: tuple[float, ...] = RATES
    steps: int = STEPS


GAMES = {
    "logistic": Game("non-saturating", cross_entropy, non_saturating),
    "least-squares": Game("least squares", squares, square),
    "hinge": Game("hinge", hinges, linear),
    "pairs": Game("pairs", pair, pair_turned),
    "wasserstein": Game("Wasserstein, gradient penalty 10", gap, linear, gradient_penalty=10.0),
    "wasserstein-one-sided": Game(
        "the same, above a slope of 1 only", gap, linear, gradient_penalty=10.0, one_sided=True
    ),
    "wasserstein-0.1": Game("Wasserstein, gradient penalty 0.1", gap, linear, gradient_penalty=0.1),
    "logistic-r1": Game("non-saturating, R1, γ 1", cross_entropy, non_saturating, r1=1.0),
    "logistic-r1-0.1": Game("non-saturating, R1, γ 0.1", cross_entropy, non_saturating, r1=0.1),
    "logistic-r1-0.01": Game("non-saturating, R1, γ 0.01", cross_entropy, non_saturating, r1=0.01),
    "hinge-r1": Game("hinge, R1, γ 1", hinges, linear, r1=1.0),
    "pairs-r1": Game("pairs, R1, γ 1", pair, pair_turned, r1=1.0),
    "pairs-r1-0.1": Game("pairs, R1, γ 0.1", pair, pair_turned, r1=0.1),
    "pairs-r1-0.01": Game("pairs, R1, γ 0.01", pair, pair_turned, r1=0.01),
    "least-squares-long": Game("least squares, 16,000 steps", squares, square, rates=RATES[:2], steps=4 * STEPS),
    "hinge-long": Game("hinge, 16,000 steps", hinges, linear, rates=RATES[:2], steps=4 * STEPS),
}


def density(x, means, widths):
    """Return the density of even mixtures at x: means and widths (..., 3), x (points,) give (..., points)."""
    z = (x - means[..., None]) / widths[..., None]
    return np.mean(np.exp(-(z**2) / 2) / (widths[..., None] * math.sqrt(2 * math.pi)), axis=-2)


def divergence(means, widths) -> np.ndarray:
    """Return the Jensen-Shannon divergence of mixtures from the data, in nats.

    The data have nothing beyond the grid. So what a mixture has there counts with log 2, as the formula has it.
    """
    p, q = density(GRID, CENTRES, np.full(3, WIDTH)), density(GRID, means, widths)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(each > 0, each * np.log(each / m), 0) for each in (np.broadcast_to(p, q.shape), q)]
    cell = GRID[1] - GRID[0]
    beyond = np.maximum(0, 1 - q.sum(axis=-1) * cell)
    return ((parts[0] + parts[1]).sum(axis=-1) * cell + beyond * math.log(2)) / 2


def made(generator, noise, choice):
    """Return points, (runs, batch, 1), of each run's mixture."""
    means, widths = generator[0], tf.exp(generator[1])  # (runs, 1, 3)
    return tf.reduce_sum(choice * (means + widths * noise), axis=2, keepdims=True)


def drawn(seeds, number):
    """Return noise (runs, batch, 1) and which Gaussian it is for, one-hot (runs, batch, 3)."""
    which = tf.stack([tf.random.stateless_uniform([BATCH], [seed, 7 * number], 0, 3, tf.int32) for seed in seeds])
    return draw((BATCH, 1), seeds, 7 * number + 1), tf.one_hot(which, 3)


def slope(discriminator, x, aim, one_sided=False):
    """Return the mean squared distance of the slopes' lengths from `aim`, or what they are above, summed over runs."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = network(discriminator, x)
    off = tf.abs(tape.gradient(logits, x)) - aim
    return mean((tf.nn.relu(off) if one_sided else off) ** 2)


def adam(weights, gradients, state, rate):
    """Return weights and state after one step, with beta 1 of 0 and beta 2 of 0.99; a rate for each run."""
    count, means, squares = state
    count = count + 1
    squares = [0.99 * s + 0.01 * g**2 for s, g in zip(squares, gradients, strict=True)]
    size = rate * tf.sqrt(1 - 0.99**count)
    moved = [w - size * g * tf.math.rsqrt(s + 1e-14) for w, g, s in zip(weights, gradients, squares, strict=True)]
    return moved, (count, means, squares)


def train(game: Game, seeds, rates, falling, steps=STEPS):
    """Train one run for each of `seeds`, with its own rate, which falls or not.

    Returns:
        The generators, then their averages, every EVERY steps: means and widths, each (steps / EVERY, runs, 3).
    """
    rates, falling = (tf.constant(values, tf.float32)[:, None, None] for values in (rates, falling))
    own = sorted(set(seeds))
    place = tf.constant([own.index(seed) for seed in seeds])

    def batch(number):
        real, fake = drawn(own, 2 * number), drawn(own, 2 * number + 1)
        data = made([CENTRES[None, None], math.log(WIDTH) * tf.ones((1, 1, 3))], *real)
        return [tf.gather(x, place) for x in (data, *fake)]

    def uniform(step):
        return tf.gather((1 + tf.math.erf(draw((BATCH, 1), own, 1_000_000 + step) / 2**0.5)) / 2, place)

    @tf.function
    def play(generator, g_state, discriminator, d_state):
        average, kept = generator, tf.TensorArray(tf.float32, steps // EVERY)
        for step in tf.range(steps):
            left = tf.minimum(1.0, 2 - 2 * tf.cast(step, tf.float32) / steps)  # from half of the training on
            rate = rates * (1 - falling * (1 - left))
            real, noise, choice = batch(2 * step)
            fake = made(generator, noise, choice)
            with tf.GradientTape() as tape:
                tape.watch(discriminator)
                total = game.discriminator(network(discriminator, real), network(discriminator, fake))
                if game.r1:
                    total += game.r1 / 2 * slope(discriminator, real, 0.0)
                if game.gradient_penalty:
                    between = real + uniform(step) * (fake - real)
                    total += game.gradient_penalty * slope(discriminator, between, 1.0, game.one_sided)
            discriminator, d_state = adam(discriminator, tape.gradient(total, discriminator), d_state, rate)

            real, noise, choice = batch(2 * step + 1)
            with tf.GradientTape() as tape:
                tape.watch(generator)
                fake = made(generator, noise, choice)
                total = game.generator(network(discriminator, real), network(discriminator, fake))
            generator, g_state = adam(generator, tape.gradient(total, generator), g_state, rate)
            count = tf.cast(step + 1, tf.float32)
            decay = tf.minimum(DECAY, count / (count + 3))
            average = [decay * a + (1 - decay) * g for a, g in zip(average, generator, strict=True)]
            if (step + 1) % EVERY == 0:
                kept = kept.write(step // EVERY, tf.stack([*generator, *average])[:, :, 0])
        return kept.stack()

    runs = len(seeds)
    generator = [START + 0.2 * tf.gather(draw((1, 3), own, 3), place), tf.zeros((runs, 1, 3))]
    discriminator = [tf.gather(w, place) for w in weights_of((1, UNITS, UNITS, 1), own, 1)]
    means, widths, *average = np.moveaxis(play(generator, fresh(generator), discriminator, fresh(discriminator)), 1, 0)
    return (means, np.exp(widths)), (average[0], np.exp(average[1]))


def written(values: np.ndarray) -> list[str]:
    """Write the three numbers of each run."""
    return [" ".join(f"{value:.4g}" for value in three) for three in values]


def make(name: str) -> list[dict]:
    """Return the rows of one game, a run each: the divergences at the end, in nats."""
    game = GAMES[name]
    runs = [(seed, rate, schedule) for rate in game.rates for schedule in SCHEDULES for seed in SEEDS]
    seeds, rates, schedules = (list(column) for column in zip(*runs, strict=True))
    last, averaged = train(game, seeds, rates, [schedule == "falling" for schedule in schedules], game.steps)
    ends = zip(*(divergence(*(values[-1] for values in each)) for each in (last, averaged)), strict=True)
    shapes = zip(*(written(values[-1]) for values in (*last, *averaged)), strict=True)
    return [
        dict(zip(COLUMNS + SHAPES, (name, rate, schedule, seed, *(f"{v:.6f}" for v in end), *own), strict=True))
        for (seed, rate, schedule), end, own in zip(runs, ends, shapes, strict=True)
    ]


def write_table(rows: list[dict]) -> None:
    """Write the section of RESULTS.md: medians and quartiles over the seeds, a thousandth of a nat."""
    heads = (
        "name",
        "game",
        "rate",
        *(f"{schedule}, {what}" for schedule in SCHEDULES for what in ("last", "averaged")),
    )
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, game in GAMES.items():
        for rate in game.rates:
            cells = []
            for schedule in SCHEDULES:
                own = [r for r in rows if (r["name"], float(r["rate"]), r["schedule"]) == (name, rate, schedule)]
                for column in ("js", "js_averaged"):
                    low, middle, high = np.quantile([1000 * float(row[column]) for row in own], (0.25, 0.5, 0.75))
                    cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
            lines.append(f"| {name} | {game.what} | {rate:g} | {' | '.join(cells)} |")
    notes = (
        f"Jensen-Shannon divergence of the generator's density from the data's after {STEPS:,} steps of each player "
        f"with {BATCH} points, unless a row says otherwise, in thousandths of a nat: median of {len(SEEDS)} seeds "
        "(quartiles). Falling: both rates fall to 0 over the second half. Averaged: means and widths, decay at most "
        f"{DECAY}. Before the first step it is about 100; the largest there is is 693.15, log 2.",
    )
    write_section("Known density", [machine(), *notes, "", *lines])


def main() -> None:
    """Make the rows that are not there yet; once all are, write the table into RESULTS.md."""
    names = asked_for(main.__doc__, GAMES)
    for name in tqdm([name for name in names if name not in {row["name"] for row in read_texts(ROWS)}], unit="row"):
        rows = read_texts(ROWS) + make(name)
        write_csv(ROWS, COLUMNS + SHAPES, [row.values() for row in rows])
        ends = [float(row["js_averaged"]) for row in rows if row["name"] == name]
        tqdm.write(f"{name}: {np.median(ends):.6f}")
    if set(GAMES) <= {row["name"] for row in read_texts(ROWS)}:
        write_table(read_texts(ROWS))


if __name__ == "__main__":
    main()

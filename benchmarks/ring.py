"""Which cure of mode collapse helps: `python benchmarks/ring.py [NAME ...]`, resumable, a row at a time.

A ring of eight narrow Gaussians, and GANs of two small networks. The weights of 16 seeds lie in arrays with a leading
axis: a row is 16 trainings in one graph, each of which goes its own way, and "collapses" is a rate. Points are (seeds,
batch, 2). All rows train the generator for as many steps, at the same rates, unless their name says otherwise.
"""

import math
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_texts, spread, write_section
from tqdm import tqdm

from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
SEEDS = range(16)
ANGLES = np.arange(8) * np.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)  # (8, 2), all different
SIGMA = 0.1
COLLAPSED = math.log(2)  # the KL from there on: as uneven as an even spread over four modes of eight
COLUMNS = ("name", "seed", "modes", "touched", "on_mode", "kl", "cpu_seconds")


@dataclass(frozen=True)
class Setting:
    """What a row trains; the defaults are the plain GAN."""

    relativistic: bool = False  # a pair's difference of logits is judged, not each logit
    gamma: float = 0.0  # of (R1 + R2) / 2, at every step of the discriminator
    unroll: int = 0  # steps of the discriminator that the generator looks ahead
    through: bool = True  # whether its gradient goes through those steps
    pack: int = 1  # points that the discriminator judges together
    critic_steps: int = 1  # of the discriminator, to one of the generator
    rates: tuple[float, float] = (1e-2, 1e-3)  # generator, discriminator: ten to one, as published
    beta_1: float = 0.5
    latent_dim: int = 8
    units: int = 32
    batch_size: int = 64
    steps: int = 6000  # of the generator


CURE = Setting(relativistic=True, gamma=1.0, beta_1=0.0)
ROWS_OF = {  # name: what it changes, settings
    "plain": ("nothing: the plain GAN, β1 0.5", Setting()),
    "unrolled-5": ("the generator looks 5 steps of the discriminator ahead", Setting(unroll=5)),
    "unrolled-stopped": ("the same, but no gradient through those steps", Setting(unroll=5, through=False)),
    "critic-5": ("5 steps of the discriminator to one of the generator", Setting(critic_steps=5)),
    "packed-2": ("the discriminator judges 2 points together", Setting(pack=2)),
    "beta1-0": ("β1 0 alone", Setting(beta_1=0.0)),
    "relativistic": ("pairs are judged; β1 0", Setting(relativistic=True, beta_1=0.0)),
    "penalties": ("penalties, γ 1; β1 0", Setting(gamma=1.0, beta_1=0.0)),
    "both-0.1": ("pairs and penalties, γ 0.1; β1 0", replace(CURE, gamma=0.1)),
    "both-1": ("pairs and penalties, γ 1; β1 0", CURE),
    "both-10": ("pairs and penalties, γ 10; β1 0", replace(CURE, gamma=10.0)),
    "both-beta1-0.5": ("pairs and penalties, γ 1, against the advice β1 0.5", replace(CURE, beta_1=0.5)),
    "fast-critic": ("both rates 1e-2", Setting(rates=(1e-2, 1e-2))),
    "equal-rates": ("both rates 1e-3", Setting(rates=(1e-3, 1e-3))),
    "published-rates": ("rates 1e-3 and 1e-4: ten to one again, as published", Setting(rates=(1e-3, 1e-4))),
    "both-equal-rates": ("pairs and penalties, γ 1; β1 0, both rates 1e-3", replace(CURE, rates=(1e-3, 1e-3))),
}
CONTROLS = {
    "noise": "points drawn evenly from the square from -3 to 3",
    "gaussian": "points of the Gaussian with the ring's mean and covariance",
    "true": "new points of the ring",
}


def draw(shape, seeds, number):
    """Return standard normal numbers, float32 (seeds, *shape), of which each seed has its own."""
    return tf.stack([tf.random.stateless_normal(shape, [seed, number]) for seed in seeds])


def ring_batch(count, seeds, number):
    """Return points of the ring, float32 (seeds, count, 2), each from one of the eight by a fair draw."""
    own = [[seed, 2 * number] for seed in seeds]
    modes = [tf.random.stateless_uniform([count], seed, 0, 8, tf.int32) for seed in own]
    return tf.gather(CENTRES, tf.stack(modes)) + SIGMA * draw((count, 2), seeds, 2 * number + 1)


def weights_of(sizes, seeds, number):
    """Return kernels and biases in turn, with Glorot's variance, each with a leading axis of seeds."""
    weights = []
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        scale = (2 / (n_in + n_out)) ** 0.5
        kernel = draw((n_in, n_out), seeds, 1_000_000 + 10 * number + layer) * scale
        weights += [kernel, tf.zeros((len(seeds), 1, n_out))]
    return weights


def network(weights, x):
    """Return the outputs of one network a seed for its own x, (seeds, batch, features); tanh between the layers."""
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = tf.tanh(x @ kernel + bias)
    return x @ weights[-2] + weights[-1]


def adam(weights, gradients, state, rate, beta_1):
    """Return weights and state after one step; a step can be differentiated, so nothing is changed in place."""
    count, means, squares = state
    count = count + 1
    means = [beta_1 * m + (1 - beta_1) * g for m, g in zip(means, gradients, strict=True)]
    squares = [0.999 * s + 0.001 * g**2 for s, g in zip(squares, gradients, strict=True)]
    size = rate * tf.sqrt(1 - 0.999**count) / (1 - beta_1**count)
    slopes = [m * tf.math.rsqrt(s + 1e-16) for m, s in zip(means, squares, strict=True)]
    return [w - size * s for w, s in zip(weights, slopes, strict=True)], (count, means, squares)


def fresh(weights):
    """Return the state of Adam before its first step."""
    zeros = [tf.zeros_like(w) for w in weights]
    return tf.constant(0.0), zeros, zeros


def logits_of(discriminator, x, pack):
    """Return the logits of x, (seeds, batch / pack, 1)."""
    return network(discriminator, tf.reshape(x, (x.shape[0], -1, x.shape[2] * pack)))


def slope(discriminator, x, setting):
    """Return the mean squared gradient of the logits by x, summed over the seeds."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = logits_of(discriminator, x, setting.pack)
    return tf.reduce_sum(tape.gradient(logits, x) ** 2) / x.shape[1]


def mean(losses):
    """Return the mean over the batch, summed over the seeds, whose gradients stay apart."""
    return tf.reduce_sum(tf.reduce_mean(losses, axis=(1, 2)))


def discriminator_loss(discriminator, real, fake, setting):
    real_logits, fake_logits = (logits_of(discriminator, x, setting.pack) for x in (real, fake))
    if setting.relativistic:
        loss = mean(tf.nn.softplus(fake_logits - real_logits))
    else:
        loss = mean(tf.nn.softplus(-real_logits)) + mean(tf.nn.softplus(fake_logits))
    if setting.gamma:
        loss += setting.gamma / 2 * (slope(discriminator, real, setting) + slope(discriminator, fake, setting))
    return loss


def generator_loss(discriminator, real, fake, setting):
    fake_logits = logits_of(discriminator, fake, setting.pack)
    if setting.relativistic:
        return mean(tf.nn.softplus(logits_of(discriminator, real, setting.pack) - fake_logits))
    return mean(tf.nn.softplus(-fake_logits))


def discriminator_step(discriminator, state, real, fake, setting):
    """Return the discriminator and its state one step later."""
    with tf.GradientTape() as tape:
        tape.watch(discriminator)
        loss = discriminator_loss(discriminator, real, fake, setting)
    return adam(discriminator, tape.gradient(loss, discriminator), state, setting.rates[1], setting.beta_1)


def generator_step(generator, state, discriminator, its_state, real, z, setting):
    """Return the generator and its state one step later; what it unrolls of the discriminator is forgotten."""
    with tf.GradientTape() as tape:
        tape.watch(generator)
        fake = network(generator, z)
        for _ in range(setting.unroll):
            seen = fake if setting.through else tf.stop_gradient(fake)
            discriminator, its_state = discriminator_step(discriminator, its_state, real, seen, setting)
        loss = generator_loss(discriminator, real, fake, setting)
    return adam(generator, tape.gradient(loss, generator), state, setting.rates[0], setting.beta_1)


def start(setting, seeds):
    """Return the weights of both players before the first step."""
    sizes = (setting.latent_dim, setting.units, setting.units, 2), (2 * setting.pack, setting.units, setting.units, 1)
    return [weights_of(own, seeds, number) for number, own in enumerate(sizes)]


def train(setting, seeds):
    """Return the generators, one a seed, after a game of all steps; the discriminator moves first."""
    size = setting.batch_size

    @tf.function
    def play(generator, g_state, discriminator, d_state):
        for step in tf.range(setting.steps):
            for turn in range(setting.critic_steps):
                real, z = batch(step * 10 + turn)
                fake = network(generator, z)
                discriminator, d_state = discriminator_step(discriminator, d_state, real, fake, setting)
            real, z = batch(step * 10 + 9)
            generator, g_state = generator_step(generator, g_state, discriminator, d_state, real, z, setting)
        return generator

    def batch(number):
        return ring_batch(size, seeds, number), draw((size, setting.latent_dim), seeds, -1 - number)

    generator, discriminator = start(setting, seeds)
    return play(generator, fresh(generator), discriminator, fresh(discriminator))


def made_by(generator, setting, seeds, count=4000):
    """Return what each seed's generator makes of new noise, (seeds, count, 2)."""
    return network(generator, draw((count, setting.latent_dim), seeds, 999_999)).numpy()


def measures(points):
    """Return what (count, 2) points are worth: modes found, modes touched, share on a mode, KL of the shares.

    A point is on a mode within 3 sigma of its centre, and a mode is found with a quarter of its fair share of points on
    it, touched with one point. The KL is that of the shares by nearest centre, wherever the points are, from uniform.
    """
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    on_mode = (distances < 3 * SIGMA).mean(axis=0)  # (8,)
    shares = np.bincount(distances.argmin(axis=1), minlength=8) / len(points)
    kl = np.sum(shares[shares > 0] * np.log(8 * shares[shares > 0]))
    found, touched = (int(np.sum(on_mode > least)) for least in (0.25 / 8, 0))
    return found, touched, on_mode.sum(), kl


def control(name, seed, count=4000):
    """Return points that no game made, (count, 2)."""
    if name == "true":
        return ring_batch(count, [seed], 999_998)[0].numpy()
    rng = np.random.default_rng(seed)
    if name == "noise":
        return rng.uniform(-3, 3, (count, 2))
    ring = ring_batch(20_000, [seed], 999_998)[0].numpy()
    return rng.multivariate_normal(ring.mean(axis=0), np.cov(ring.T), count, method="cholesky")


def make(name):
    """Return the 16 rows of one name."""
    started = time.process_time()
    if name in CONTROLS:
        points = [control(name, seed) for seed in SEEDS]
    else:
        setting = ROWS_OF[name][1]
        points = made_by(train(setting, SEEDS), setting, SEEDS)
    seconds = round(time.process_time() - started, 1)
    scores = [measures(each) for each in points]
    return [
        [name, seed, *own[:2], *(round(float(v), 4) for v in own[2:]), seconds]
        for seed, own in zip(SEEDS, scores, strict=True)
    ]


def read_rows() -> list[dict]:
    """Return the rows that were made already, with numbers as numbers."""
    kinds = {"name": str, "seed": int, "modes": int, "touched": int}
    return [{k: kinds.get(k, float)(v) for k, v in row.items()} for row in read_texts(ROWS)]


def write_table(rows: list[dict]) -> None:
    """Write the section of RESULTS.md: rates, medians and ranges over the seeds."""
    heads = ("row", "what it changes", "collapsed", "whole", "modes found", "touched", "on a mode", "KL", "CPU")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    whats = CONTROLS | {name: what for name, (what, _) in ROWS_OF.items()}
    for name, what in whats.items():
        own = [row for row in rows if row["name"] == name]
        by_column = {column: [row[column] for row in own] for column in COLUMNS[2:]}
        collapsed, whole = sum(v >= COLLAPSED for v in by_column["kl"]), sum(v == 8 for v in by_column["modes"])
        shapes = {"modes": ".0f", "touched": ".0f", "on_mode": ".1%", "kl": ".2f"}
        cells = [spread(by_column[column], shape) for column, shape in shapes.items()]
        cells = [f"{collapsed} of {len(own)}", f"{whole} of {len(own)}", *cells, f"{own[0]['cpu_seconds']:.0f} s"]
        lines.append(f"| {name} | {what} | {' | '.join(cells)} |")
    plain = Setting()
    notes = (
        f"{len(SEEDS)} seeds at once, {plain.steps:,} steps of the generator with {plain.batch_size} points, rates "
        f"{plain.rates[0]:g} (generator) and {plain.rates[1]:g}; 4,000 points a seed are judged.",
        "On a mode: within 3 sigma of a centre. Found: at least a quarter of a fair share of the points is on it; "
        "touched: one point is. KL: of the shares by nearest centre from uniform. Collapsed: KL of at least log 2, as "
        "uneven as an even spread over four modes. Whole: all eight are found. Median (lowest to highest).",
    )
    write_section("Ring of eight", [machine(), *notes, "", *lines])


def main() -> None:
    """Make the rows that are not there yet; once all are, write the table into RESULTS.md."""
    every = [*CONTROLS, *ROWS_OF]
    names = asked_for(main.__doc__, every)

    rows = read_rows()
    for name in tqdm([name for name in names if name not in {row["name"] for row in rows}], unit="row"):
        rows = read_rows() + [dict(zip(COLUMNS, row, strict=True)) for row in make(name)]
        rows.sort(key=lambda row: every.index(row["name"]))
        write_csv(ROWS, COLUMNS, [row.values() for row in rows])
        tqdm.write(f"{name}: {[row['modes'] for row in rows if row['name'] == name]}")
    if set(every) <= {row["name"] for row in rows}:
        write_table(rows)


if __name__ == "__main__":
    main()

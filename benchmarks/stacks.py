"""Pairs and penalties on stacked digits: `python benchmarks/stacks.py [NAME ...]`, resumable, a row at a time.

A stack is two digits, drawn independently, in the two channels of an image of 14x14 pixels: 100 modes. The networks are
dense and small, and their weights have a leading axis of seeds, as in benchmarks/ring.py: a row is eight trainings in
one graph. Stacks are (seeds, batch, 392), the first 196 numbers one digit, the others the other, in [-1, 1].

The rules are those of R3GAN (Huang et al. 2024): the penalties at every step of the discriminator, no batch norm in it,
beta 1 of 0, and a gamma that falls tenfold by a cosine. Rows that break a rule say so.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_texts, spread, write_section
from ring import draw, fresh, mean, weights_of
from scipy.spatial.distance import cdist
from tqdm import tqdm

from gan_tf import data, evaluator
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
SEEDS = range(8)
SIDE = 14
MODES = 100
COUNT = 26 * MODES  # stacks a seed that are judged, as many for each mode as published for 1,000 of them
REFERENCE = 2000  # training digits, near one of which a digit must lie
GAMMAS = (0.01, 0.1, 1.0, 10.0)
DECAY = 0.999  # of the averaged generator
MEASURES = ("modes", "touched", "on_mode", "kl")
AVERAGED = tuple(f"{column}_averaged" for column in MEASURES)
COLUMNS = ("name", "seed", *MEASURES, "cpu_seconds", *AVERAGED)


@dataclass(frozen=True)
class Setting:
    """What a row trains."""

    relativistic: bool = False  # a pair's difference of logits is judged, not each logit
    r1: float = 0.0  # gamma at the start, of the penalty on real stacks
    r2: float = 0.0  # likewise, on fakes
    falling: bool = True  # whether gamma falls tenfold
    every: int = 1  # a penalty in every so many steps, as many times as large
    batch_norm: bool = False  # in the discriminator
    beta_1: float = 0.0
    rate: float = 5e-4  # of both players
    latent_dim: int = 32
    units: int = 192
    batch_size: int = 64
    steps: int = 5000


def both(gamma: float) -> dict:
    """Return both penalties at one gamma."""
    return {"r1": gamma, "r2": gamma}


PAIRED = Setting(relativistic=True)
CURE = Setting(relativistic=True, **both(1.0))
ROWS_OF = {  # name: what it trains, settings
    "none": ("non-saturating, no penalty", Setting()),
    "pairs": ("pairs, no penalty", PAIRED),
    **{f"r1-{gamma:g}": (f"non-saturating, R1, γ {gamma:g}", Setting(r1=gamma)) for gamma in GAMMAS},
    **{f"r1-r2-{gamma:g}": (f"non-saturating, R1 and R2, γ {gamma:g}", Setting(**both(gamma))) for gamma in GAMMAS},
    **{f"pairs-r1-{gamma:g}": (f"pairs, R1, γ {gamma:g}", replace(PAIRED, r1=gamma)) for gamma in GAMMAS},
    **{
        f"pairs-r1-r2-{gamma:g}": (f"pairs, R1 and R2, γ {gamma:g}", replace(PAIRED, **both(gamma))) for gamma in GAMMAS
    },
    "constant": ("pairs, R1 and R2, γ 1 throughout", replace(CURE, falling=False)),
    "lazy": ("pairs, R1 and R2, γ 1, in every 8th step", replace(CURE, every=8)),
    "beta1-0.5": ("pairs, R1 and R2, γ 1, β1 0.5", replace(CURE, beta_1=0.5)),
    "batch-norm": ("pairs, R1 and R2, γ 1, batch norm in D", replace(CURE, batch_norm=True)),
    "broken": ("pairs, R1 and R2, γ 1, batch norm in D, β1 0.5", replace(CURE, batch_norm=True, beta_1=0.5)),
    "broken-none": ("non-saturating, no penalty, batch norm in D, β1 0.5", Setting(batch_norm=True, beta_1=0.5)),
}
CONTROLS = {
    "noise": "each pixel drawn evenly from -1 to 1",
    "gaussian": "digits of the Gaussian with the training digits' mean and covariance",
    "true": "new stacks of held-out digits",
}


def small(images: np.ndarray) -> np.ndarray:
    """Return digits, uint8 (n, 28, 28, 1), as float32 (n, 196) in [-1, 1], each pixel the mean of four."""
    pooled = images.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4), dtype=np.float32)
    return pooled.reshape(-1, SIDE * SIDE) / 127.5 - 1


def large(digits: np.ndarray) -> np.ndarray:
    """Return small digits as the evaluator takes them, uint8 (n, 28, 28, 1), smoothly enlarged."""
    images = tf.image.resize(digits.reshape(-1, SIDE, SIDE, 1), (28, 28)).numpy()
    return np.round(np.clip(127.5 * (images + 1), 0, 255)).astype(np.uint8)


def stacks(digits: tf.Tensor, count: int, seeds, number) -> tf.Tensor:
    """Return stacks, (seeds, count, 392), of two digits each, drawn independently of all there are."""
    rows = [tf.random.stateless_uniform([count, 2], [seed, number], 0, len(digits), tf.int32) for seed in seeds]
    return tf.reshape(tf.gather(digits, tf.stack(rows)), (len(seeds), count, -1))


def network(weights: list, x: tf.Tensor, batch_norm: bool = False) -> tf.Tensor:
    """Return the outputs of one network a seed for its own x; leaky ReLUs of slope 0.2 between the layers."""
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = x @ kernel
        if batch_norm:
            centred = x - tf.reduce_mean(x, axis=1, keepdims=True)
            x = centred * tf.math.rsqrt(tf.reduce_mean(centred**2, axis=1, keepdims=True) + 1e-3)
        x = tf.nn.leaky_relu(x + bias)
    return x @ weights[-2] + weights[-1]


def adam(weights, gradients, state, setting: Setting):
    """Return weights and state after one step, with beta 2 of 0.99."""
    count, means, squares = state
    count, beta_1 = count + 1, setting.beta_1
    means = [beta_1 * m + (1 - beta_1) * g for m, g in zip(means, gradients, strict=True)]
    squares = [0.99 * s + 0.01 * g**2 for s, g in zip(squares, gradients, strict=True)]
    size = setting.rate * tf.sqrt(1 - 0.99**count) / (1 - beta_1**count)
    slopes = [m * tf.math.rsqrt(s + 1e-14) for m, s in zip(means, squares, strict=True)]
    return [w - size * s for w, s in zip(weights, slopes, strict=True)], (count, means, squares)


def slope(discriminator, x, setting: Setting) -> tf.Tensor:
    """Return the mean squared gradient of the logits by x, summed over the seeds."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = network(discriminator, x, setting.batch_norm)
    return tf.reduce_sum(tape.gradient(logits, x) ** 2) / x.shape[1]


def penalties(discriminator, real, fake, step, setting: Setting) -> tf.Tensor:
    """Return what the discriminator pays for its slopes at a step."""
    left = (1 + tf.cos(math.pi * tf.cast(step, tf.float32) / setting.steps)) / 2 if setting.falling else 1.0
    factor = setting.every * (0.1 + 0.9 * left) / 2
    total = 0.0
    for gamma, x in ((setting.r1, real), (setting.r2, fake)):
        if gamma and setting.every == 1:
            total += gamma * factor * slope(discriminator, x, setting)
        elif gamma:
            due = step % setting.every == 0
            total += tf.cond(due, lambda g=gamma, x=x: g * factor * slope(discriminator, x, setting), lambda: 0.0)
    return total


def discriminator_loss(discriminator, real, fake, step, setting: Setting) -> tf.Tensor:
    real_logits, fake_logits = (network(discriminator, x, setting.batch_norm) for x in (real, fake))
    if setting.relativistic:
        loss = mean(tf.nn.softplus(fake_logits - real_logits))
    else:
        loss = mean(tf.nn.softplus(-real_logits)) + mean(tf.nn.softplus(fake_logits))
    return loss + penalties(discriminator, real, fake, step, setting)


def generator_loss(discriminator, real, fake, setting: Setting) -> tf.Tensor:
    fake_logits = network(discriminator, fake, setting.batch_norm)
    if setting.relativistic:
        return mean(tf.nn.softplus(network(discriminator, real, setting.batch_norm) - fake_logits))
    return mean(tf.nn.softplus(-fake_logits))


def start(setting: Setting, seeds) -> list:
    """Return the weights of both players before the first step."""
    units, pixels = setting.units, 2 * SIDE * SIDE
    sizes = (setting.latent_dim, units, units, pixels), (pixels, units, units, 1)
    return [weights_of(own, seeds, number) for number, own in enumerate(sizes)]


def train(setting: Setting, seeds, digits: tf.Tensor) -> tuple[list, list]:
    """Return the generators, one a seed, after all steps of the game, in turn, and their averages over the steps."""
    size = setting.batch_size

    def fakes(generator, number):
        return tf.tanh(network(generator, draw((size, setting.latent_dim), seeds, -1 - number)))

    @tf.function
    def play(generator, g_state, discriminator, d_state):
        average = generator
        for step in tf.range(setting.steps):
            real, fake = stacks(digits, size, seeds, 2 * step), fakes(generator, 2 * step)
            with tf.GradientTape() as tape:
                tape.watch(discriminator)
                loss = discriminator_loss(discriminator, real, fake, step, setting)
            discriminator, d_state = adam(discriminator, tape.gradient(loss, discriminator), d_state, setting)

            real = stacks(digits, size, seeds, 2 * step + 1)
            with tf.GradientTape() as tape:
                tape.watch(generator)
                loss = generator_loss(discriminator, real, fakes(generator, 2 * step + 1), setting)
            generator, g_state = adam(generator, tape.gradient(loss, generator), g_state, setting)
            count = tf.cast(step + 1, tf.float32)
            decay = tf.minimum(DECAY, count / (count + 3))
            average = [decay * a + (1 - decay) * w for a, w in zip(average, generator, strict=True)]
        return generator, average

    generator, discriminator = start(setting, seeds)
    return play(generator, fresh(generator), discriminator, fresh(discriminator))


def made_by(generator, setting: Setting, seeds) -> np.ndarray:
    """Return what each seed's generator makes of new noise, (seeds, COUNT, 392)."""
    return tf.tanh(network(generator, draw((COUNT, setting.latent_dim), seeds, 999_999))).numpy()


class Judge:
    """Says of digits which they are, and whether they are any: near a training digit, as 95 % of held-out ones are."""

    def __init__(self, dataset: data.Dataset):
        self.evaluator = evaluator.Evaluator()
        self.reference = self.evaluator.extract(large(small(dataset.x_train[:REFERENCE]))).features
        self.radius = np.quantile(self.nearest(self.evaluator.extract(large(small(dataset.x_test[:2000])))), 0.95)

    def nearest(self, features: evaluator.Features) -> np.ndarray:
        return cdist(features.features, self.reference).min(axis=1)

    def __call__(self, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return of stacks (n, 392) the modes, int (n,), and whether both digits are digits, bool (n,)."""
        features = self.evaluator.extract(large(made.reshape(-1, SIDE * SIDE)))
        named = features.probabilities.argmax(axis=1).reshape(-1, 2)
        return named @ [10, 1], (self.nearest(features) <= self.radius).reshape(-1, 2).all(axis=1)


def measures(modes: np.ndarray, on_mode: np.ndarray) -> tuple:
    """Return what stacks are worth: modes found, modes touched, share on a mode, KL of the modes' shares.

    A mode is found with a quarter of its fair share on it, and touched by one stack that is named so, digits or not: so
    it is counted for the published numbers, and so is the KL, from uniform.
    """
    shares = np.bincount(modes, minlength=MODES) / len(modes)
    on = np.bincount(modes[on_mode], minlength=MODES) / len(modes)
    kl = np.sum(shares[shares > 0] * np.log(MODES * shares[shares > 0]))
    return int(np.sum(on >= 0.25 / MODES)), int(np.sum(shares > 0)), on_mode.mean(), kl


def control(name: str, seed: int, dataset: data.Dataset) -> np.ndarray:
    """Return stacks that no game made, (COUNT, 392)."""
    rng = np.random.default_rng(seed)
    if name == "true":
        return stacks(tf.constant(small(dataset.x_test)), COUNT, [seed], 999_998)[0].numpy()
    if name == "noise":
        return rng.uniform(-1, 1, (COUNT, 2 * SIDE * SIDE)).astype(np.float32)
    digits = small(dataset.x_train[:10_000])
    made = rng.multivariate_normal(digits.mean(axis=0), np.cov(digits.T), 2 * COUNT, method="eigh")
    return np.clip(made, -1, 1).astype(np.float32).reshape(COUNT, -1)


def make(name: str, dataset: data.Dataset, judge: Judge) -> list[list]:
    """Return the rows of one name, a seed each."""
    started = time.process_time()
    if name in CONTROLS:
        made = [[control(name, seed, dataset) for seed in SEEDS]]
    else:
        setting = ROWS_OF[name][1]
        players = train(setting, SEEDS, tf.constant(small(dataset.x_train)))
        made = [made_by(player, setting, SEEDS) for player in players]
    seconds = round(time.process_time() - started, 1)

    def scores(images):
        modes, touched, on_mode, kl = measures(*judge(images))
        return [modes, touched, round(float(on_mode), 4), round(float(kl), 4)]

    last, averaged = ([scores(each) for each in images] for images in (made[0], made[-1]))
    blank = [""] * len(MEASURES)
    return [
        [name, seed, *last[place], seconds, *(blank if name in CONTROLS else averaged[place])]
        for place, seed in enumerate(SEEDS)
    ]


def read_rows() -> list[dict]:
    """Return the rows that were made already, with numbers as numbers."""
    counts = ("seed", "modes", "touched", "modes_averaged", "touched_averaged")
    kinds = {"name": str} | dict.fromkeys(counts, int)
    return [{k: kinds.get(k, float)(row[k]) if row.get(k) else "" for k in COLUMNS} for row in read_texts(ROWS)]


def made_already() -> set[str]:
    """Return the names of the rows with all their numbers: of a game, those of the averaged generator, too."""
    return {row["name"] for row in read_rows() if row["name"] in CONTROLS or row["kl_averaged"] != ""}


def write_table(rows: list[dict]) -> None:
    """Write the section of RESULTS.md: medians and ranges over the seeds."""
    heads = ("row", "what it trains", "all found", "modes found", "touched", "on a mode", "KL", "CPU")
    heads += ("averaged: modes found", "touched", "on a mode", "KL")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    shapes = {"modes": ".0f", "touched": ".0f", "on_mode": ".1%", "kl": ".2f"}
    for name, what in (CONTROLS | {name: what for name, (what, _) in ROWS_OF.items()}).items():
        own = [row for row in rows if row["name"] == name]
        cells = [spread([row[column] for row in own], shape) for column, shape in shapes.items()]
        whole = sum(row["modes"] == MODES for row in own)
        cells = [f"{whole} of {len(own)}", *cells, f"{own[0]['cpu_seconds']:.0f} s"]
        for column, shape in shapes.items():
            averaged = [row[f"{column}_averaged"] for row in own]
            cells.append("–" if "" in averaged else spread(averaged, shape))
        lines.append(f"| {name} | {what} | {' | '.join(cells)} |")
    plain = Setting()
    notes = (
        f"{len(SEEDS)} seeds at once, {plain.steps:,} steps of each player with {plain.batch_size} stacks, both rates "
        f"{plain.rate:g}, {plain.units} units in each of two hidden layers; {COUNT:,} stacks a seed are judged. "
        "γ falls tenfold by a cosine, unless a row says otherwise.",
        f"On a mode: both digits, enlarged to 28x28, are as near to one of {REFERENCE:,} training digits, in the "
        "evaluator's features, as 95 % of held-out digits. Found: at least a quarter of a fair share of the stacks is "
        "on it; touched: one stack is named so. KL: of the names' shares from uniform. Median (lowest to highest). "
        f"Averaged: the generator's weights, with a decay of at most {DECAY}; –: not measured.",
    )
    write_section("Stacked digits", [machine(), *notes, "", *lines])


def main() -> None:
    """Make the rows that are not there yet; once all are, write the table into RESULTS.md."""
    every = [*CONTROLS, *ROWS_OF]
    names = asked_for(main.__doc__, every)

    dataset = data.load("mnist")
    judge = Judge(dataset)
    missing = [name for name in names if name not in made_already()]
    for name in tqdm(missing, unit="row"):
        made = [dict(zip(COLUMNS, row, strict=True)) for row in make(name, dataset, judge)]
        rows = [row for row in read_rows() if row["name"] != name] + made
        rows.sort(key=lambda row: every.index(row["name"]))
        write_csv(ROWS, COLUMNS, [row.values() for row in rows])
        tqdm.write(f"{name}: {[(row['modes'], row['on_mode'], row['kl']) for row in rows if row['name'] == name]}")
    if set(every) <= {row["name"] for row in read_rows()}:
        write_table(read_rows())


if __name__ == "__main__":
    main()

"""Does a critic's loss follow the quality of the fakes: `python benchmarks/wasserstein.py [NAME ...]`, resumable.

Digits and the two dense networks of chapter 07. A row is one training: at 20 checkpoints the loss that D has on images
of both kinds (for a Wasserstein critic its estimate of the distance, negated), and the fakes' Fréchet distance. Two
names train nothing and give that distance a scale: an untrained generator, and real images of the training set.
"""

import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_rows, spread, write_section
from scipy.stats import spearmanr
from tqdm import tqdm

from gan_tf import data, evaluator, gan, losses, metrics, penalties
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
NAMES = ("penalty", "clipping", "non_saturating")
REFERENCES = ("untrained", "real")
SEEDS = range(8)
CHECKPOINTS, STEPS = 20, 75  # steps of the generator between two checkpoints
IMAGES = 1000  # of each kind, at a checkpoint
SCORES = ("rho", "rho_second_half", "rho_with_time", "rho_with_time_second_half")
SCORES += ("frechet_first", "frechet_last", "cpu_seconds")
COLUMNS = ("name", "seed", *SCORES)


@keras.saving.register_keras_serializable(package="gan_tf_chapter_07")
class Clipped(gan.GAN):
    """A GAN whose discriminator's weights are clipped to [-limit, limit] after each of its steps."""

    def __init__(self, generator, discriminator, *, limit: float = 0.01, **options):
        super().__init__(generator, discriminator, **options)
        self.limit = limit

    def get_config(self):
        """Return what `__init__` is given."""
        return super().get_config() | {"limit": self.limit}

    def discriminator_step(self, batch, seed):
        """Take the step, then clip."""
        loss = super().discriminator_step(batch, seed)
        for weight in self.discriminator.trainable_variables:
            weight.assign(tf.clip_by_value(weight, -self.limit, self.limit))
        return loss


def networks(seed: int) -> tuple[keras.Model, keras.Model]:
    """Return a generator and a discriminator of one hidden layer each."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    generator = keras.Sequential([keras.Input((10,)), layers.Dense(128, activation="relu")])
    generator.add(layers.Dense(784, activation="tanh"))
    generator.add(layers.Reshape((28, 28, 1)))
    discriminator = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(256)])
    discriminator.add(layers.LeakyReLU(0.2))
    discriminator.add(layers.Dense(1))
    return generator, discriminator


def compiled(name: str, seed: int) -> gan.GAN:
    """Return the GAN of a row, ready for `fit`."""
    kind = Clipped if name == "clipping" else gan.GAN
    model, adam = kind(*networks(seed), seed=seed), keras.optimizers.Adam
    if name == "penalty":
        critic = {"loss": losses.wasserstein, "penalties": [(penalties.gradient_penalty, 10.0)], "critic_steps": 5}
        optimizers = [adam(5e-4, beta_1=0.0, beta_2=0.9) for _ in range(2)]
    elif name == "clipping":
        critic = {"loss": losses.wasserstein, "critic_steps": 5}
        optimizers = [keras.optimizers.RMSprop(5e-4) for _ in range(2)]
    else:
        critic, optimizers = {"loss": losses.non_saturating}, [adam(2e-3, beta_1=0.0) for _ in range(2)]
    model.compile(*optimizers, steps_per_execution=STEPS, **critic)
    return model


class Watch(keras.callbacks.Callback):
    """At each epoch's end, notes the loss without its penalty, on images of training, and the Fréchet distance."""

    def __init__(self, dataset, judge, held_out):
        super().__init__()
        self.real, self.judge, self.held_out = data.to_float(dataset.x_train[:IMAGES]), judge, held_out
        self.losses, self.distances = [], []

    def on_epoch_end(self, epoch, logs=None):
        """Look."""
        fake = gan.sample_images(self.model.generator, IMAGES, seed=1)
        logits = [self.model.discriminator(x, training=False) for x in (self.real, data.to_float(fake))]
        self.losses.append(float(self.model.adversarial_loss.discriminator(*logits)))
        features = self.judge.extract(fake).features
        self.distances.append(metrics.frechet_distance(self.held_out, features))


def row(name: str, seed: int, dataset, judge, held_out) -> list[float]:
    """Train once, and return its scores. A distance should fall where a quality rises, so losses count negated."""
    started, model = time.process_time(), compiled(name, seed)
    watch = Watch(dataset, judge, held_out)
    batches = data.batches(dataset.x_train, 32 * model.critic_steps, seed=seed, endless=True)
    model.fit(batches, epochs=CHECKPOINTS, steps_per_epoch=STEPS, verbose=0, callbacks=[watch])
    late = slice(CHECKPOINTS // 2, None)
    signals = (-np.array(watch.losses), -np.arange(CHECKPOINTS))  # the critic, and whoever counts steps
    ranks = [spearmanr(s[part], watch.distances[part]).statistic for s in signals for part in (slice(None), late)]
    return [*ranks, watch.distances[0], watch.distances[-1], time.process_time() - started]


def reference(name: str, seed: int, dataset, judge, held_out) -> list[float | str]:
    """Return the scores of images that no training made, where they have any."""
    started = time.process_time()
    images = dataset.x_train[seed * IMAGES : (seed + 1) * IMAGES]
    if name == "untrained":
        images = gan.sample_images(networks(seed)[0], IMAGES, seed=1)
    distance = metrics.frechet_distance(held_out, judge.extract(images).features)
    return [""] * 5 + [distance, time.process_time() - started]


def main() -> None:
    """Measure what is missing, a row at a time, and write the section of RESULTS.md."""
    rows = read_rows(ROWS)
    wanted = [(name, seed) for seed in SEEDS for name in asked_for(__doc__, NAMES + REFERENCES)]
    missing = [each for each in wanted if each not in [tuple(one[:2]) for one in rows]]
    if missing:
        judge, dataset = evaluator.Evaluator(), data.load("mnist")
        held_out = judge.extract(dataset.x_test[:2000]).features
    for name, seed in tqdm(missing, unit="row"):
        scores = (reference if name in REFERENCES else row)(name, seed, dataset, judge, held_out)
        rows.append([name, seed, *(value if value == "" else round(float(value), 3) for value in scores)])
        write_csv(ROWS, COLUMNS, rows)

    lines = [f"| {' | '.join(('the loss of', *SCORES))} |", "| --- " * (1 + len(SCORES)) + "|"]
    for name in NAMES + REFERENCES:
        columns = zip(*(one[2:] for one in rows if one[0] == name), strict=True)
        cells = ["–" if "" in column else spread(column, ".3g") for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"{CHECKPOINTS * STEPS:,} steps of the generator; median of {len(SEEDS)} seeds (lowest to highest)."]
    lines[-1] += " `untrained` and `real` train nothing: a generator as it starts, and images of the training set."
    lines[-1] += f" {machine()}"
    write_section("A critic's loss and the quality of its fakes", lines)


if __name__ == "__main__":
    main()

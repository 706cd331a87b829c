"""Does a critic's loss follow the quality of the fakes: `python benchmarks/wasserstein.py`, resumable, a row at a time.

Digits and the two dense networks of chapter 07. A row is one training: at 20 checkpoints the loss that D has on images
of both kinds (for a Wasserstein critic its estimate of the distance, negated), and the fakes' Fréchet distance.
"""

import csv
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr
from tqdm import tqdm

from gan_tf import data, evaluator, gan, losses, metrics, penalties
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
NAMES = ("penalty", "clipping", "non_saturating")
SEEDS = range(8)
CHECKPOINTS, STEPS = 20, 75  # steps of the generator between two checkpoints
IMAGES = 1000  # of each kind, at a checkpoint
COLUMNS = ("name", "seed", "rho", "rho_second_half", "rho_with_time", "frechet_first", "frechet_last", "cpu_seconds")


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


def row(name: str, seed: int, dataset, judge, held_out) -> dict:
    """Train once, and return its row. A distance should fall where a quality rises, so losses count negated."""
    started, model = time.process_time(), compiled(name, seed)
    watch = Watch(dataset, judge, held_out)
    batches = data.batches(dataset.x_train, 32 * model.critic_steps, seed=seed, endless=True)
    model.fit(batches, epochs=CHECKPOINTS, steps_per_epoch=STEPS, verbose=0, callbacks=[watch])
    signal, late = -np.array(watch.losses), CHECKPOINTS // 2
    numbers = [
        spearmanr(signal, watch.distances).statistic,
        spearmanr(signal[late:], watch.distances[late:]).statistic,
        spearmanr(np.arange(CHECKPOINTS), -np.array(watch.distances)).statistic,
        watch.distances[0],
        watch.distances[-1],
        time.process_time() - started,
    ]
    return dict(zip(COLUMNS, [name, seed, *(f"{number:.3f}" for number in numbers)], strict=True))


def done() -> list[dict]:
    """Return the rows that were measured already."""
    if not ROWS.exists():
        return []
    with open(ROWS, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Measure what is missing."""
    rows, judge, dataset = done(), evaluator.Evaluator(), data.load("mnist")
    held_out = judge.extract(dataset.x_test[:2000]).features
    there = {(one["name"], int(one["seed"])) for one in rows}
    for seed, name in tqdm([(seed, name) for seed in SEEDS for name in NAMES if (name, seed) not in there]):
        rows.append(row(name, seed, dataset, judge, held_out))
        write_csv(ROWS, COLUMNS, [one.values() for one in rows])


if __name__ == "__main__":
    main()

"""The DCGAN as it is usually written: the contestant that the default recipe and its train step are measured against.

The networks, the loss, Adam at 1e-4 with Keras's other defaults, batches of 256 and 50 epochs are those of TensorFlow's
own DCGAN tutorial; the code is a plain `tf.function` with two tapes, called from a Python loop.

`python benchmarks/tutorial.py FOLDER` trains it, an epoch at a time, and can be stopped and started again: FOLDER keeps
10,000 samples of each epoch (epoch_NN.npz) and the state after the last one (state.npz). Epoch n is seeded by n, so it
depends on the state before it alone. Scored by the shipped evaluator against MNIST's test images, the samples make
literature.csv beside this file.

The epochs up to 34 in that table were trained by an earlier version of this file, seeded once, by 0. Of most of them
only the distance was kept, in a scores.json that FOLDER then holds: rows "from" a log, the others are from samples.
"""

import argparse
import csv
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_tf import data, evaluator, models
from gan_tf.files import write_csv, write_whole

BATCH_SIZE = 256
EPOCHS = 50
TABLE = Path(__file__).with_name("literature.csv")
COLUMNS = ("epoch", "images", "frechet_distance", "smallest_class", "from")


class Tutorial:
    """Both networks, both optimizers and the step; images are float32 (batch, 28, 28, 1) in [-1, 1]."""

    def __init__(self, seed: int):
        keras.utils.set_random_seed(seed)
        self.generator = models.dcgan_generator()
        self.discriminator = models.dcgan_discriminator()
        self.generator_optimizer = keras.optimizers.Adam(1e-4)
        self.discriminator_optimizer = keras.optimizers.Adam(1e-4)
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def step(self, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one step for each player; return the generator's and the discriminator's loss."""
        z = tf.random.normal((tf.shape(real)[0], 100))
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fake = self.generator(z, training=True)
            real_logits = self.discriminator(real, training=True)
            fake_logits = self.discriminator(fake, training=True)
            generator_loss = self.cross_entropy(tf.ones_like(fake_logits), fake_logits)
            real_loss = self.cross_entropy(tf.ones_like(real_logits), real_logits)
            discriminator_loss = real_loss + self.cross_entropy(tf.zeros_like(fake_logits), fake_logits)
        generator_gradients = generator_tape.gradient(generator_loss, self.generator.trainable_variables)
        discriminator_gradients = discriminator_tape.gradient(
            discriminator_loss, self.discriminator.trainable_variables
        )
        self.generator_optimizer.apply_gradients(
            zip(generator_gradients, self.generator.trainable_variables, strict=True)
        )
        self.discriminator_optimizer.apply_gradients(
            zip(discriminator_gradients, self.discriminator.trainable_variables, strict=True)
        )
        return generator_loss, discriminator_loss

    def save(self, path: Path) -> None:
        """Write all that training reads and changes, whole or not at all."""
        arrays = [variable.numpy() for variable in self._variables()]
        write_whole(path, lambda file: np.savez(file, *arrays))

    def restore(self, path: Path) -> None:
        """Go back to what `save` wrote."""
        with np.load(path) as archive:
            for variable, name in zip(self._variables(), archive.files, strict=True):
                variable.assign(archive[name])

    def _variables(self) -> list[keras.Variable]:
        pairs = ((self.generator, self.generator_optimizer), (self.discriminator, self.discriminator_optimizer))
        for player, optimizer in pairs:
            optimizer.build(player.trainable_variables)
        return [variable for pair in pairs for part in pair for variable in part.variables]


def batches(images: np.ndarray, batch_size: int = BATCH_SIZE) -> tf.data.Dataset:
    """Return one epoch of uint8 images as shuffled float32 batches; the last is smaller where they do not divide."""
    scaled = (images.astype("float32") - 127.5) / 127.5
    return tf.data.Dataset.from_tensor_slices(scaled).shuffle(len(images)).batch(batch_size)


def sample(generator: keras.Model, count: int = 10_000) -> np.ndarray:
    """Draw the uint8 images of an epoch, of the same z after each."""
    z = np.random.RandomState(7).randn(count, 100).astype(np.float32)
    return np.concatenate([data.to_uint8(generator(z[i : i + 500], training=False)) for i in range(0, count, 500)])


def epochs_done(folder: Path, images: int) -> int:
    """Return how many epochs of so many images are in the state of a folder: 0 where there is none."""
    if not (folder / "state.npz").exists():
        return 0
    contestant = Tutorial(seed=0)
    contestant.restore(folder / "state.npz")
    return int(contestant.generator_optimizer.iterations) // -(-images // BATCH_SIZE)


def train_epoch(folder: Path, epoch: int, images: np.ndarray) -> np.ndarray:
    """Train one epoch, counted from 1, from the state in the folder; keep the state after it and return its samples.

    Networks and step are built anew, because a `tf.function` draws by the seed that was set when it was traced.
    """
    contestant = Tutorial(seed=epoch)
    if epoch > 1:
        contestant.restore(folder / "state.npz")
    for batch in tqdm(batches(images), desc=f"epoch {epoch}", unit="step", leave=False, disable=None):
        contestant.step(batch)

    drawn = sample(contestant.generator)
    write_whole(folder / f"epoch_{epoch:02d}.npz", lambda file: np.savez_compressed(file, images=drawn))
    contestant.save(folder / "state.npz")  # last: whatever ends the process before trains the same epoch again
    return drawn


def read_table(path: Path = TABLE) -> dict[str, list]:
    """Return literature.csv as one list a column: numbers, and words in "from"."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] if name == "from" else float(row[name]) for row in rows] for name in COLUMNS}


def main() -> None:
    """Score what the folder holds, train what is missing, and write literature.csv after each epoch."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of samples and state; made where it is not there")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"train up to this one; 0: none (default {EPOCHS})")
    arguments = parser.parse_args()

    folder, dataset, judge = arguments.folder, data.load("mnist"), evaluator.Evaluator()
    folder.mkdir(parents=True, exist_ok=True)
    real, count, rows = judge.extract(dataset.x_test), len(dataset.x_train), {}

    def add(epoch: int, images: np.ndarray) -> None:
        scores = evaluator.quick_scores(real, judge.extract(images))
        distance, rarest = round(scores["frechet_distance"], 2), scores["smallest_class"]
        if epoch in rows and abs(rows[epoch][2] - distance) > 0.01:
            tqdm.write(f"epoch {epoch}: {distance} from its samples, {rows[epoch][2]} in the log")
        rows[epoch] = [epoch, epoch * count, distance, round(rarest, 4), "samples"]

    if (folder / "scores.json").exists():
        for row in json.loads((folder / "scores.json").read_text(encoding="utf-8")):
            rows[row["epoch"]] = [row["epoch"], row["epoch"] * count, row["shipped_evaluator"], float("nan"), "log"]
    for path in tqdm(sorted(folder.glob("epoch_*.npz")), desc="samples", unit="file", disable=None):
        with np.load(path) as archive:
            add(int(path.stem.removeprefix("epoch_")), archive["images"])

    write_csv(TABLE, COLUMNS, [rows[epoch] for epoch in sorted(rows)])
    for epoch in range(epochs_done(folder, count) + 1, arguments.epochs + 1):
        add(epoch, train_epoch(folder, epoch, dataset.x_train))
        write_csv(TABLE, COLUMNS, [rows[epoch] for epoch in sorted(rows)])
        tqdm.write(f"epoch {epoch}: Fréchet distance {rows[epoch][2]}, rarest digit {rows[epoch][3]:.1%}")


if __name__ == "__main__":
    main()

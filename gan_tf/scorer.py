"""Judge the generator of a run while it trains."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gan_tf import data, evaluator
from gan_tf.gan import sample_images

MOST_IMAGES = 10_000
NAMES = ("frechet_distance", "classifier_score", "class_divergence", "smallest_class")


class Scorer:
    """Scores as many generated images as there are test images, and writes what TensorBoard shows.

    Args:
        folder: of the run; TensorBoard's files go into tensorboard/ there.
        dataset: its test images are the real ones, 10,000 at most.
        every: steps from one evaluation to the next; there is one before training and one at the end, too.
        seed: of the noise, the same for each evaluation.
    """

    def __init__(self, folder: Path, dataset: data.Dataset, every: int, seed: int):
        self.folder, self.every, self.seed = folder, every, seed
        self.evaluator = evaluator.Evaluator()
        real = dataset.x_test[:MOST_IMAGES]
        self.real = self.evaluator.judge(real)
        chosen = np.random.default_rng(seed).choice(len(dataset.x_train), len(real), replace=False)
        self.floor = evaluator.quick_scores(self.real, self.evaluator.judge(dataset.x_train[chosen]))
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def score(self, generator: keras.Model, step: int, losses: dict[str, float]) -> dict[str, float]:
        """Return the generator's scores, by the names in NAMES.

        Args:
            generator: the averaged one.
            step: train steps done, TensorBoard's axis.
            losses: by name, for TensorBoard beside the scores.
        """
        fake = sample_images(generator, len(self.real.features), self.seed)
        scores = evaluator.quick_scores(self.real, self.evaluator.judge(fake))
        with self.writer.as_default(step=step):
            for name, value in (scores | losses).items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        return {name: round(scores[name], 6) for name in NAMES}

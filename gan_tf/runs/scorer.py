"""Judge the generator of a run while it trains."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from gan_tf import data, evaluator
from gan_tf.gan import sample_images


class _GivenUp(Exception):
    pass


class Scorer:
    """Scores as many generated images as there are test images, and writes what TensorBoard shows.

    Args:
        folder: of the run; TensorBoard's files go into tensorboard/ there, if TensorBoard is installed.
        dataset: its test images are the real ones.
        every: steps from one evaluation to the next; there is one before training and one at the end, too.
        seed: of the noise, the same for each evaluation.
    """

    def __init__(self, folder: Path, dataset: data.Dataset, every: int, seed: int):
        self.every, self.seed = every, seed
        self.evaluator = evaluator.Evaluator()
        self.real = self.evaluator.extract(dataset.x_test)
        self.writer = None  # TensorBoard only shows what scores.csv holds, too: without it the run goes on
        if importlib.util.find_spec("tensorboard"):
            self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        else:
            tqdm.write(f"TensorBoard is not installed, so {folder}/tensorboard is not written: pip install tensorboard")

    def score(
        self, generator: keras.Model, step: int, losses: dict[str, float], stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, float] | None:
        """Return the generator's scores, by the names in `evaluator.QUICK_SCORES`, or None if it was stopped.

        Args:
            generator: the averaged one.
            step: train steps done, TensorBoard's axis.
            losses: by name, for TensorBoard beside the scores.
            stopped: asked before each batch whether to give up.
        """

        def unless_stopped(batches):
            for batch in batches:
                if stopped():
                    raise _GivenUp
                yield batch

        try:
            fake = sample_images(generator, len(self.real.features), self.seed, unless_stopped)
            judged = self.evaluator.extract(fake, unless_stopped)
        except _GivenUp:
            return None
        scores = evaluator.quick_scores(self.real, judged)
        if self.writer:
            with self.writer.as_default(step=step):
                for name, value in (scores | losses).items():
                    tf.summary.scalar(name, value)
            self.writer.flush()
        return {name: round(value, 6) for name, value in scores.items()}

"""Pictures of a GAN while it trains: callbacks that keep them as frames and judge them by scores."""

import importlib.util
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_tf import data, evaluator, gan, plots, scores
from gan_tf.files import write_png
from gan_tf.runs.callbacks import Counting, History, Schedule, Signals
from gan_tf.runs.folder import RunError

FRAME_GRID = 25  # images in a frame
CLASS_ROWS = 5  # of them, where a class has a column, or several
CLASS_COLUMNS = 10  # at most
WATCHED = (*scores.WATCHED, "memorised")  # names that `Scores` adds to an epoch's logs
SERIES = (39, 120_000)  # frame 39, the 40th, is due after so many images: those of a run by default


def drawn(model: gan.GAN, batch: gan.Batch, seed: int) -> np.ndarray:
    """Draw the averaged generator's images for a batch, uint8, from the same noise at every step of the training.

    The batch's images may be uint8, however many they are: a GAN that does not look at them to make fakes, as `gan.GAN`
    does not, is told their number alone. Another one gets float32 in [-1, 1].
    """
    images, count = batch["images"], len(batch["images"])
    if type(model).generator_inputs is gan.GAN.generator_inputs:
        images = np.empty((count, 0))
    elif images.dtype == np.uint8:
        images = data.to_float(images)
    inputs = model.generator_inputs(batch | {"images": images}, gan.fold([seed, 0], "pictures"))
    parts = [tf.nest.map_structure(lambda x, i=i: x[i : i + 500], inputs) for i in range(0, count, 500)]
    return np.concatenate([data.to_uint8(model.ema_generator(part, training=False)) for part in parts])


class Frames(Counting):
    """Draw the same pictures again and again, closest together at first, into frames/. For any `fit`.

    When is a matter of the images seen and not of how long the training is, so that one that goes on for longer has the
    frames of one that was planned so. Beside this series there is a frame of the end.

    Args:
        folder: in which frames/ is made; a frame's name is the number of images seen by then.
        schedule: of the training.
        batch: images, and labels where the GAN is served any: a picture is drawn for each row.
        seed: of the pictures.
        columns: of a frame; about as many as rows by default.
    """

    def __init__(self, folder: Path, schedule: Schedule, batch: gan.Batch, seed: int, columns: int | None = None):
        super().__init__()
        self.folder, self.schedule, self.batch, self.seed, self.columns = folder, schedule, batch, seed, columns

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.drawn_at = -1
        if self.step == 0:
            self.write()

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if frames_due(self.step * self.schedule.images) > frames_due(self.before * self.schedule.images):
            self.write()

    def on_train_end(self, logs=None):
        ended = self.step >= self.schedule.total_steps or self.model.stop_training
        if ended and self.drawn_at != self.step:
            self.write()

    def write(self) -> None:
        """Write the frame of this step."""
        (self.folder / "frames").mkdir(exist_ok=True)
        path = self.folder / "frames" / f"{self.step * self.schedule.images:09d}.png"
        write_png(path, plots.image_grid(drawn(self.model, self.batch, self.seed), self.columns))
        self.drawn_at = self.step


def frames_due(images: int) -> int:
    """Return how many frames of the series are due when so many images were seen; frame i is at c i^2.5 of them."""
    last, images_by_then = SERIES
    return 1 + int(last * (images / images_by_then) ** 0.4 + 1e-9)


def series(steps: Iterable[int], images: int) -> list[int]:
    """Return what a training of these steps, each of so many images, has seen when it takes a frame of the series."""
    seen = [0, *(step * images for step in steps)]
    return [0, *(now for before, now in itertools.pairwise(seen) if frames_due(now) > frames_due(before))]


class Scores(Counting):
    """Judge the averaged generator before the training, every so many steps, and at the end. For any `fit`.

    The newest scores are in the logs of each epoch for the callbacks that come after this one, so that Keras's own can
    watch them: `EarlyStopping(monitor="frechet_distance", mode="min")`. The best generator is in `history.best`. Beside
    the scores stands `memorised`, the newest that `diagnosis.Diagnostics` measured: how far the discriminator takes
    held-out images for fakes; nan before the first, and in a `fit` without it.

    Args:
        history: keeps the scores; comes before this one in the list. Its folder gets scores.csv and tensorboard/.
        batch: the real images, uint8 or in [-1, 1], and labels where the GAN is served any: a fake is drawn for each
            row.
        every: steps from one evaluation to the next.
        seed: of the noise, the same for each evaluation.
        signals: may cut an evaluation short; it is made up for when the training goes on.
        judge: looks at the images; by default the shipped evaluator, of digits. `judges.of_dataset` has others.
    """

    def __init__(
        self,
        history: History,
        batch: gan.Batch,
        every: int,
        seed: int,
        signals: Signals | None = None,
        judge: scores.Judge | None = None,
    ):
        super().__init__()
        self.history, self.batch, self.every, self.seed = history, batch, every, seed
        self.signals = signals or Signals()
        self.evaluator = judge or evaluator.Evaluator()
        real = batch["images"]
        self.real = self.evaluator.extract(real if real.dtype == np.uint8 else data.to_uint8(real))
        self.writer = tensorboard_writer(history.folder)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self.history.scored_by not in ("", self.evaluator.sha256):
            raise RunError(f"{self.history.folder} has scores of another evaluator; name another folder")
        self.history.scored_by = self.evaluator.sha256
        scored = self.history.scores.get("step", [])
        if scored:
            self.history.scores.setdefault("memorised", [np.nan] * len(scored))  # of a run from before it was there
        if not scored or (scored[-1] != self.step and (self.step % self.every == 0 or self.is_last())):
            self.score(in_turn=self.step % self.every == 0 or not self.is_last())

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.passed(self.every) or self.is_last():
            self.score(in_turn=self.passed(self.every))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs |= {name: column[-1] for name, column in list(self.history.scores.items())[3:]}

    def is_last(self) -> bool:
        return self.step == self.history.schedule.total_steps

    def score(self, in_turn: bool) -> None:
        """Add a row to the history's scores; one that is not in turn is there because the training ends."""
        found = None
        with self.signals.cutting_short():
            fake = self.evaluator.extract(drawn(self.model, self.batch, self.seed))
            found = evaluator.quick_scores(self.real, fake)
        if found is None:
            return
        row = {"step": self.step, "images": self.step * self.history.schedule.images}
        row["seconds"] = round(self.history.seconds, 2)
        found["memorised"] = self.history.diagnostics.get("memorised", [np.nan])[-1]
        row |= {name: round(value, 6) for name, value in found.items()}
        self.history.judge(row, self.model.ema_generator.get_weights(), only_of_the_end=not in_turn)
        if self.history.folder:
            self.history.write_table("scores.csv", self.history.scores)
        if self.writer:
            losses = {name: column[-1] for name, column in list(self.history.losses.items())[2:]}
            with self.writer.as_default(step=self.step):
                for name, value in (found | losses).items():
                    if not np.isnan(value):
                        tf.summary.scalar(name, value)
            self.writer.flush()


def tensorboard_writer(folder: Path | None) -> tf.summary.SummaryWriter | None:
    """Return what writes tensorboard/, or None: it only shows what scores.csv holds, too."""
    if folder is None:
        return None
    if importlib.util.find_spec("tensorboard"):
        return tf.summary.create_file_writer(str(folder / "tensorboard"))
    tqdm.write(f"TensorBoard is not installed, so {folder}/tensorboard is not written: pip install tensorboard")
    return None

"""Train one run: all that `fit` must do beside training."""

import signal
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from gan_tf import checkpoints, data, gan, plots
from gan_tf.checkpoints import RunError
from gan_tf.evaluator import QUICK_SCORES
from gan_tf.files import write_csv, write_png
from gan_tf.recipe import Settings, build
from gan_tf.scorer import Scorer

FRAME_COUNT = 40
FRAME_GRID = 25  # images in a frame
CHECKPOINT_STEPS = 500


class Stopped(Exception):
    """A signal ended the training after everything was saved."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


class Trainer(keras.callbacks.Callback):
    """One run: its folder on disk, its model in memory, and what `fit` must do beside training.

    Args:
        folder: where everything goes.
        settings: resolved, without "auto" or None.
        dataset: the verified dataset.
        scorer: judges the generator every so many steps, or None.
    """

    def __init__(self, folder: Path, settings: Settings, dataset: data.Dataset, scorer: Scorer | None = None):
        super().__init__()
        self.folder, self.settings, self.dataset, self.scorer = folder, settings, dataset, scorer
        self.steps_per_epoch = len(dataset.x_train) // settings.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.gan = build(settings)
        self.z = gan.latent(FRAME_GRID, self.gan.latent_dim, [settings.seed, gan.PICTURES_SEED])
        self.frame_steps = frame_steps(self.total_steps)
        self.losses: list[tuple[float, float]] = []  # generator's, discriminator's; one entry a step
        self.epoch_seconds: list[float] = []  # training time at the end of each epoch
        self.scores: list[tuple[float, ...]] = []  # step, images, seconds, then QUICK_SCORES
        self.scored_by = scorer.evaluator.sha256 if scorer else ""
        self.seconds = 0.0
        self.stop_signal = 0

    @property
    def step(self) -> int:
        return len(self.losses)

    def train(self) -> None:
        """Train to the end from wherever the newest checkpoint stands, saving as it goes."""
        self._restore()
        (self.folder / "frames").mkdir(exist_ok=True)
        self.progress = tqdm(
            total=self.total_steps,
            initial=self.step,
            unit="step",
            desc=self.folder.name,
            mininterval=0.1 if sys.stderr.isatty() else 2.0,
        )
        if self.step == 0:
            self._write_frame()
        self.resumed_seconds, self.started = self.seconds, time.perf_counter()
        if self.scorer and not self.scores:
            self._score()
        handlers = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python forbids it
            handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.step < self.total_steps and not self.stop_signal:
                # Only the first epoch after a resume is shorter than the others; the rest runs in one `fit`.
                epoch, done = divmod(self.step, self.steps_per_epoch)
                self.gan.fit(
                    data.batches(
                        self.dataset.x_train,
                        self.settings.batch_size,
                        seed=self.settings.seed,
                        endless=True,
                        skip=self.step,
                    ),
                    initial_epoch=epoch,
                    epochs=epoch + 1 if done else self.settings.epochs,
                    steps_per_epoch=self.steps_per_epoch - done,
                    callbacks=[self],
                    verbose=0,
                )
        finally:
            self.progress.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._save()
        if self.stop_signal:
            raise Stopped(self.stop_signal, f"stopped at step {self.step:,} of {self.total_steps:,}, saved")

    def on_train_batch_end(self, batch, logs=None):
        pair = (float(logs["generator_loss"]), float(logs["discriminator_loss"]))
        if not np.isfinite(pair).all():
            raise RunError(
                f"the losses became {pair[0]} (generator) and {pair[1]} (discriminator) at step {self.step + 1:,}; the "
                f"checkpoints in {self.folder} are from before. A lower learning rate or float32 usually helps"
            )
        self.losses.append(pair)
        self.seconds = self.resumed_seconds + time.perf_counter() - self.started
        shown = {"generator": f"{pair[0]:.2f}", "discriminator": f"{pair[1]:.2f}"}
        if self.scorer:
            if self.step % self.scorer.every == 0 or self.step == self.total_steps:
                self._score()
            shown["Fréchet"] = f"{self.scores[-1][3]:.2f}"
        self.progress.set_postfix(shown, refresh=False)
        self.progress.update()
        if self.step in self.frame_steps:
            self._write_frame()
        if self.step % self.steps_per_epoch == 0:
            self.epoch_seconds.append(self.seconds)
            self._write_history()
        if self.step % CHECKPOINT_STEPS == 0:
            self._save()
        if self.stop_signal:
            self.gan.stop_training = True

    def _on_signal(self, number, _):
        self.stop_signal = number

    def _score(self) -> None:
        """Evaluate the averaged generator; the clock of the training stands still meanwhile."""
        started = time.perf_counter()
        pair = dict(zip(("generator_loss", "discriminator_loss"), self.losses[-1], strict=True)) if self.losses else {}
        scores = self.scorer.score(self.gan.averaged_generator, self.step, pair)
        images = self.step * self.settings.batch_size
        self.scores.append((self.step, images, round(self.seconds, 2), *scores.values()))
        write_csv(self.folder / "scores.csv", ("step", "images", "seconds", *scores), self.scores)
        self.started += time.perf_counter() - started

    def _write_frame(self) -> None:
        path = self.folder / "frames" / f"{self.step * self.settings.batch_size:09d}.png"
        write_png(path, plots.image_grid(data.to_uint8(self.gan(self.z))))

    def _write_history(self) -> None:
        """Write history.csv, a row an epoch, and losses.csv, about 200 rows a run: views of what a checkpoint holds."""
        pairs, batch_size = np.array(self.losses), self.settings.batch_size
        columns = ("generator_loss", "discriminator_loss")
        rows = []
        for epoch, seconds in enumerate(self.epoch_seconds, 1):
            end = epoch * self.steps_per_epoch
            means = pairs[end - self.steps_per_epoch : end].mean(axis=0).round(6)
            scores = [row[3:] for row in self.scores if row[0] <= end][-1] if self.scores else ()
            rows.append((epoch, end, end * batch_size, round(seconds, 2), *means, *scores))
        scored = QUICK_SCORES if self.scores else ()
        write_csv(self.folder / "history.csv", ("epoch", "step", "images", "seconds", *columns, *scored), rows)
        window = max(1, self.total_steps // 200)
        ends = range(window, self.step + 1, window)
        rows = [(end, end * batch_size, *pairs[end - window : end].mean(axis=0).round(6)) for end in ends]
        write_csv(self.folder / "losses.csv", ("step", "images", *columns), rows)

    def _save(self) -> None:
        records = {
            "losses": np.array(self.losses).reshape(-1, 2),
            "epoch_seconds": np.array(self.epoch_seconds),
            "seconds": np.array(self.seconds),
        }
        if self.scores:
            records |= {"scores": np.array(self.scores), "scored_by": np.array(self.scored_by)}
        checkpoints.save(self.folder / "checkpoints", self.gan, self.step, records)

    def _restore(self) -> None:
        """Go back to the newest checkpoint, if there is one, and drop the frames that came after it."""
        if records := checkpoints.restore(self.folder / "checkpoints", self.gan):
            self.losses = [tuple(pair) for pair in records["losses"].tolist()]
            self.epoch_seconds = records["epoch_seconds"].tolist()
            self.seconds = float(records["seconds"])
            if "scores" in records:
                if self.scorer and self.scored_by != str(records["scored_by"]):
                    raise RunError(f"{self.folder} has scores of another evaluator; name another folder")
                self.scores = [(int(row[0]), int(row[1]), *row[2:]) for row in records["scores"].tolist()]
                self.scored_by = str(records["scored_by"])
        for frame in (self.folder / "frames").glob("*.png"):
            if int(frame.stem) > self.step * self.settings.batch_size:
                frame.unlink()


def frame_steps(total_steps: int) -> set[int]:
    """Return the steps after which a frame is taken: close together at first, where most happens."""
    return {round(total_steps * (i / (FRAME_COUNT - 1)) ** 2.5) for i in range(FRAME_COUNT)}

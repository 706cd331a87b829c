"""Train one run: all that `fit` must do beside training."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_tf import Error, data, gan, plots
from gan_tf.evaluator import QUICK_SCORES
from gan_tf.files import one_line, remove_partials, write_csv, write_png
from gan_tf.runs import checkpoints, devices
from gan_tf.runs.checkpoints import RunError
from gan_tf.runs.scorer import Scorer
from gan_tf.runs.settings import Settings

FRAME_COUNT = 40
FRAME_GRID = 25  # images in a frame
CHECKPOINT_STEPS = 500  # what a kill costs at most; a checkpoint takes less than 1 % of the time of as many steps


class Stopped(Error):
    """A signal ended the training after everything was saved."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


class Trainer(keras.callbacks.Callback):
    """One run: its folder on disk, its model in memory, and what `fit` must do beside training.

    Args:
        folder: where everything goes; nothing is written before `train`.
        config: what config.json holds; its settings are resolved, without "auto" or None.
        dataset: the verified dataset.
        strategy: where to train; of several processes, only the chief writes.
        build: makes the compiled GAN of the settings.
        checkpoint_every: steps from one checkpoint to the next.
    """

    def __init__(
        self,
        folder: Path,
        config: dict,
        dataset: data.Dataset,
        strategy: tf.distribute.Strategy,
        build: Callable[[Settings], gan.GAN],
        checkpoint_every: int = CHECKPOINT_STEPS,
    ):
        super().__init__()
        self.folder, self.config, self.dataset, self.checkpoint_every = folder, config, dataset, checkpoint_every
        self.settings = settings = Settings(**config["settings"])
        self.strategy, self.chief = strategy, devices.is_chief(strategy)
        self.steps_per_epoch = len(dataset.x_train) // settings.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        with strategy.scope():
            self.gan = build(settings)
        self.z = gan.sample_latent(FRAME_GRID, self.gan.latent_dim, [settings.seed, gan.PICTURES_SEED])
        self.frame_steps = frame_steps(self.total_steps)
        self.losses: list[tuple[float, float]] = []  # generator's, discriminator's; one entry a step
        self.epoch_seconds: list[float] = []  # training time at the end of each epoch
        self.scores: list[tuple[float, ...]] = []  # step, images, seconds, then QUICK_SCORES
        self.scored_by = ""
        self.seconds = 0.0
        self.stop_signal = 0
        self.stepped = False  # whether this process has finished a step

    @property
    def step(self) -> int:
        return len(self.losses)

    def train(self, scorer: Scorer | None = None) -> None:
        """Train to the end from wherever the newest checkpoint stands, saving as it goes.

        Args:
            scorer: judges the generator every so many steps, or None.
        """
        self.scorer = scorer
        self._restore()
        if self.step == 0:
            self._write_frame()
        self.progress = tqdm(
            total=self.total_steps,
            initial=self.step,
            unit="step",
            desc=one_line(self.folder.name),
            mininterval=0.1 if sys.stderr.isatty() else 2.0,
            disable=not self.chief,
        )
        self.resumed_seconds, self.started = self.seconds, time.perf_counter()
        handlers = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python forbids it
            handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self.scorer and (not self.scores or self._score_is_due()):
                self._score()
            if self.losses:
                self._write_history()  # whatever became of it since
            while self.step < self.total_steps and not self.stop_signal:
                # Only the first epoch after a resume is shorter than the others; the rest runs in one `fit`.
                epoch, done = divmod(self.step, self.steps_per_epoch)
                size, seed = self.settings.batch_size, self.settings.seed
                batches = data.batches(self.dataset.x_train, size, seed=seed, endless=True, skip=self.step)
                self.gan.fit(
                    devices.distribute(batches, self.strategy),
                    initial_epoch=epoch,
                    epochs=epoch + 1 if done else self.settings.epochs,
                    steps_per_epoch=self.steps_per_epoch - done,
                    callbacks=[self],
                    verbose=0,
                )
        except KeyboardInterrupt:
            if not self.stop_signal:
                raise
            place = f"step {self.step:,} of {self.total_steps:,}"
            raise Stopped(self.stop_signal, f"stopped before it went on from {place}; nothing was lost") from None
        finally:
            self.progress.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._save()
        if self.stop_signal:
            raise Stopped(self.stop_signal, f"stopped at step {self.step:,} of {self.total_steps:,}, saved")

    def on_train_batch_end(self, batch, logs=None):
        pair = tuple(float(np.mean(logs[name])) for name in ("generator_loss", "discriminator_loss"))
        if not np.isfinite(pair).all():
            players = (self.gan.generator_optimizer, self.gan.discriminator_optimizer)
            rates = " and ".join(f"{float(optimizer.learning_rate):g}" for optimizer in players)
            raise RunError(
                f"the losses became {pair[0]} (generator) and {pair[1]} (discriminator) at step {self.step + 1:,}, the "
                f"learning rates being {rates}; the checkpoints in {self.folder} are from before. {checkpoints.CURE}"
            )
        self.losses.append(pair)
        self.stepped = True
        self.seconds = self.resumed_seconds + time.perf_counter() - self.started
        shown = {"generator": f"{pair[0]:.2f}", "discriminator": f"{pair[1]:.2f}"}
        if self.scorer:
            if self._score_is_due():
                self._score()
            if self.scores:
                shown["Fréchet"] = f"{self.scores[-1][3]:.2f}"
        self.progress.set_postfix(shown, refresh=False)
        self.progress.update()
        if self.step in self.frame_steps:
            self._write_frame()
        if self.step % self.steps_per_epoch == 0:
            self.epoch_seconds.append(self.seconds)
            self._write_history()
        if self.step % self.checkpoint_every == 0:
            self._save()
        if self.stop_signal:
            self.gan.stop_training = True

    def _on_signal(self, number, _):
        self.stop_signal = number
        if not self.stepped:  # TensorFlow compiles, which takes seconds; there is nothing new to save
            raise KeyboardInterrupt

    def _score_is_due(self) -> bool:
        """Return whether this step wants scores and has none: a signal may have cut them short."""
        wanted = self.step % self.scorer.every == 0 or self.step == self.total_steps
        return wanted and not (self.scores and self.scores[-1][0] == self.step)

    def _score(self) -> None:
        """Evaluate the averaged generator; the clock of the training stands still meanwhile."""
        started = time.perf_counter()
        pair = dict(zip(("generator_loss", "discriminator_loss"), self.losses[-1], strict=True)) if self.losses else {}
        scores = self.scorer.score(self.gan.ema_generator, self.step, pair, lambda: self.stop_signal)
        if scores is None:
            return
        images = self.step * self.settings.batch_size
        self.scores.append((self.step, images, round(self.seconds, 2), *scores.values()))
        write_csv(self.folder / "scores.csv", ("step", "images", "seconds", *scores), self.scores)
        self.started += time.perf_counter() - started

    def _write_frame(self) -> None:
        if not self.chief:
            return
        (self.folder / "frames").mkdir(exist_ok=True)
        path = self.folder / "frames" / f"{self.step * self.settings.batch_size:09d}.png"
        write_png(path, plots.image_grid(data.to_uint8(self.gan(self.z))))

    def _write_history(self) -> None:
        """Write history.csv, a row an epoch, and losses.csv, about 200 rows a run: views of what a checkpoint holds."""
        if not self.chief:
            return
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
        if not self.chief:
            return
        records = {
            "losses": np.array(self.losses).reshape(-1, 2),
            "epoch_seconds": np.array(self.epoch_seconds),
            "seconds": np.array(self.seconds),
        }
        if self.scores:
            records |= {"scores": np.array(self.scores), "scored_by": np.array(self.scored_by)}
        records["config"] = np.array(json.dumps(self.config))
        checkpoints.save(self.folder / "checkpoints", self.gan, self.step, records)

    def _restore(self) -> None:
        """Go back to the newest checkpoint, if there is one, and drop the frames that came after it."""
        if self.scorer:
            self.scored_by = self.scorer.evaluator.sha256
        if records := checkpoints.restore(self.folder / "checkpoints", self.gan, self.config):
            self.losses = [tuple(pair) for pair in records["losses"].tolist()]
            self.epoch_seconds = records["epoch_seconds"].tolist()
            self.seconds = float(records["seconds"])
            if "scores" in records:
                if self.scorer and self.scored_by != str(records["scored_by"]):
                    raise RunError(f"{self.folder} has scores of another evaluator; name another folder")
                self.scores = [(int(row[0]), int(row[1]), *row[2:]) for row in records["scores"].tolist()]
                self.scored_by = str(records["scored_by"])
        if self.chief:
            for path, seen in frame_paths(self.folder).items():
                if seen > self.step * self.settings.batch_size:
                    path.unlink()
            remove_partials(self.folder)


def frame_paths(folder: Path) -> dict[Path, int]:
    """Return a run's frames in order, each with the number of images seen by then."""
    found = {path: path.stem for path in sorted((folder / "frames").glob("*.png"))}
    return {path: int(stem) for path, stem in found.items() if stem.isascii() and stem.isdigit()}


def frame_steps(total_steps: int) -> set[int]:
    """Return the steps after which a frame is taken: close together at first, where most happens."""
    return {round(total_steps * (i / (FRAME_COUNT - 1)) ** 2.5) for i in range(FRAME_COUNT)}

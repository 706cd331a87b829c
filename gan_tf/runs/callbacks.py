"""What `fit` does beside training: Keras callbacks, for a run and for any `GAN.fit`; more are in `pictures`.

    schedule = callbacks.Schedule(images=32, steps_per_epoch=1875, epochs=4)
    history = callbacks.History(schedule)
    model.fit(batches, epochs=4, callbacks=[callbacks.FiniteLosses(), history, callbacks.ProgressBar(history)])

They count steps as the GAN does (`steps_taken`): over all its `fit`s, whatever `steps_per_execution` is.
"""

import contextlib
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from gan_tf.files import one_line, write_csv
from gan_tf.runs import checkpoints
from gan_tf.runs.folder import RunError, missed_if_unwritable

WINDOW_IMAGES = 800  # a row of losses.csv has the means over so many, about
CHECKPOINT_STEPS = 500  # what a kill costs at most; a checkpoint takes less than 1 % of the time of as many steps
Table = dict[str, list]  # columns by their names, all of one length


class Schedule(NamedTuple):
    """How long a training is: real images a step, steps an epoch, epochs."""

    images: int
    steps_per_epoch: int
    epochs: int

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs


def steps_taken(model: keras.Model) -> int:
    """Return how many steps a GAN has taken, on one device or several."""
    return int(keras.ops.convert_to_numpy(model.steps_taken))


class Counting(keras.callbacks.Callback):
    """Knows the step that the GAN has come to, and the one before: several apart with `steps_per_execution`."""

    def on_train_begin(self, logs=None):
        self.before = self.step = steps_taken(self.model)

    def on_train_batch_end(self, batch, logs=None):
        self.before, self.step = self.step, steps_taken(self.model)

    def passed(self, every: int) -> bool:
        """Return whether a multiple of `every` was reached since the step before."""
        return self.step // every > self.before // every


class FiniteLosses(Counting):
    """End the training where a loss becomes NaN or infinite. For any `fit`: `callbacks=[FiniteLosses()]`.

    Raises:
        RunError: with the step, the losses and the learning rates.
    """

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        pair = [float(np.mean(logs[name])) for name in ("generator_loss", "discriminator_loss")]
        if not np.isfinite(pair).all():
            players = (self.model.generator_optimizer, self.model.discriminator_optimizer)
            rates = " and ".join(f"{float(optimizer.learning_rate):g}" for optimizer in players)
            raise RunError(
                f"the losses became {pair[0]} (generator) and {pair[1]} (discriminator) at step {self.step:,}, the "
                f"learning rates being {rates}; what was saved is from before. {checkpoints.CURE}"
            )


class History(Counting):
    """Keep what each step logs and the seconds that it took. For any `fit`; then see `history.losses`.

    Args:
        schedule: of the training.
        folder: for history.csv, a row an epoch, and losses.csv, a row for about 800 images; None writes neither.
    """

    def __init__(self, schedule: Schedule, folder: Path | None = None):
        super().__init__()
        self.schedule, self.folder, self.missed = schedule, folder, set()
        self.losses: Table = {}  # a row a step: step, seconds, then what `train_step` returns, but for the sum
        self.scores: Table = {}  # a row whenever `Scores` judged: step, images, seconds, then its scores
        self.scored_by = ""  # the evaluator's SHA-256
        self.seconds = 0.0

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.write()

    def on_train_batch_begin(self, batch, logs=None):
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        names = ["generator_loss", "discriminator_loss"]
        names += [name for name in logs if name not in (*names, "loss")]
        values = {name: float(np.mean(logs[name])) for name in names}
        self.seconds += time.perf_counter() - self.started
        add_row(self.losses, {"step": self.step, "seconds": self.seconds, **values})

    def on_epoch_end(self, epoch, logs=None):
        self.write()

    def means(self, window: int) -> Table:
        """Return the means over each whole window of steps, with the step, images and seconds at its end."""
        steps = np.array(self.losses["step"])
        ends = np.arange(window, steps[-1] + 1, window)
        cuts = np.searchsorted(steps, [ends - window, ends], side="right").T
        ends, cuts = ends[cuts[:, 0] < cuts[:, 1]], cuts[cuts[:, 0] < cuts[:, 1]]
        table = {"step": ends.tolist(), "images": (ends * self.schedule.images).tolist()}
        table["seconds"] = [round(self.losses["seconds"][stop - 1], 2) for _, stop in cuts]
        for name in list(self.losses)[2:]:
            table[name] = [round(float(np.mean(self.losses[name][start:stop])), 6) for start, stop in cuts]
        return table

    def write(self) -> None:
        """Write both tables anew, whatever became of them since: the records here are what counts."""
        if not (self.folder and self.losses):
            return
        epochs = self.means(self.schedule.steps_per_epoch)
        numbers = {"epoch": [step // self.schedule.steps_per_epoch for step in epochs["step"]]}
        newest = np.searchsorted(self.scores.get("step", []), epochs["step"], side="right") - 1
        scores = {name: [self.scores[name][i] if i >= 0 else np.nan for i in newest] for name in list(self.scores)[3:]}
        self.write_table("history.csv", numbers | epochs | scores)
        self.write_table("losses.csv", self.means(max(1, round(WINDOW_IMAGES / self.schedule.images))))

    def write_table(self, name: str, table: Table) -> None:
        """Write a table into the folder, or warn once that it cannot be written."""
        with missed_if_unwritable(self.folder / name, self.missed):
            write_csv(self.folder / name, table, zip(*table.values(), strict=True))

    def records(self) -> dict[str, np.ndarray]:
        """Return all of it as arrays, for a checkpoint."""
        tables = {"losses": self.losses, "scores": self.scores}
        arrays = {f"{table}.{name}": np.array(column) for table in tables for name, column in tables[table].items()}
        return arrays | {"history.scored_by": np.array(self.scored_by)}

    def restore(self, records: dict[str, np.ndarray]) -> None:
        """Go on from what `records` returned."""
        for prefix, table in (("losses.", self.losses), ("scores.", self.scores)):
            table.clear()
            table |= {k.removeprefix(prefix): v.tolist() for k, v in records.items() if k.startswith(prefix)}
        self.scored_by = str(records["history.scored_by"])
        self.seconds = self.losses["seconds"][-1]


def add_row(table: Table, row: dict[str, float]) -> None:
    """Add a row to a table, whose columns are those of its first row."""
    if table and table.keys() != row.keys():
        raise RunError(f"what a step returns has changed: {', '.join(table)} before, {', '.join(row)} now")
    for name, value in row.items():
        table.setdefault(name, []).append(value)


class Signals(keras.callbacks.Callback):
    """Let SIGINT and SIGTERM end `fit` after the step that runs, so that what follows can save. For any `fit`:

        with Signals() as signals:
            model.fit(batches, callbacks=[signals])
        print(signals.number)  # 0 where none came

    Before the first step is done, KeyboardInterrupt comes at once: TensorFlow compiles for seconds, nothing is new.
    """

    def __init__(self):
        super().__init__()
        self.number, self.at_once, self.before = 0, True, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # elsewhere Python forbids it
            self.before = {number: signal.signal(number, self._come) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _come(self, number, _):
        self.number = number
        if self.at_once:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        self.at_once = False
        if self.number:
            self.model.stop_training = True

    @contextlib.contextmanager
    def cutting_short(self):
        """Leave the block at once where a signal comes: for what changes nothing."""
        before, self.at_once = self.at_once, True
        try:
            yield
        except KeyboardInterrupt:
            if before or not self.number:  # nothing new to save, or it came from elsewhere
                raise
        finally:
            self.at_once = before


class ProgressBar(Counting):
    """Show how far the training is, beside the newest losses and Fréchet distance. For any `fit`.

    Args:
        history: comes before this one in the list.
        name: what stands before the bar.
    """

    def __init__(self, history: History, name: str = ""):
        super().__init__()
        self.history, self.name, self.bar = history, one_line(name), None

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if not self.bar and self.step < self.history.schedule.total_steps:
            self.bar = tqdm(
                total=self.history.schedule.total_steps,
                initial=self.step,
                unit="step",
                desc=self.name,
                mininterval=0.1 if sys.stderr.isatty() else 2.0,
            )

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if not self.bar:  # trained for longer than planned
            return
        shown = {name: np.mean(logs[f"{name}_loss"]) for name in ("generator", "discriminator")}
        if self.history.scores:
            shown["Fréchet"] = self.history.scores["frechet_distance"][-1]
        self.bar.set_postfix({name: f"{value:.2f}" for name, value in shown.items()}, refresh=False)
        self.bar.update(self.step - self.before)

    def on_train_end(self, logs=None):
        if self.step >= self.history.schedule.total_steps or self.model.stop_training:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands; a training that raised needs it."""
        if self.bar:
            self.bar.close()
            self.bar = None


class Checkpoints(Counting):
    """Write a checkpoint every so many steps and at the end. For any `fit`; `checkpoints.restore` goes back to one.

    Args:
        folder: for the checkpoints, of which the newest three stay.
        history: goes into each; comes before this one in the list.
        every: steps from one to the next.
        config: kept in each, to know the run again.
    """

    def __init__(self, folder: Path, history: History, every: int = CHECKPOINT_STEPS, config: str = "{}"):
        super().__init__()
        self.folder, self.history, self.every, self.config = folder, history, every, config

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.saved = self.step

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.passed(self.every):
            self.save()

    def on_train_end(self, logs=None):
        if self.step != self.saved:
            self.save()

    def save(self) -> None:
        """Write one now."""
        records = self.history.records() | {"run.config": np.array(self.config)}
        checkpoints.save(self.folder, self.model, self.step, records)
        self.saved = self.step

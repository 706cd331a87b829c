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
from pathlib import Path
from typing import TextIO

import keras
import numpy as np
from tqdm import tqdm

from gan_tf.files import one_line
from gan_tf.runs import checkpoints
from gan_tf.runs.folder import RunError
from gan_tf.runs.history import Counting, History, Schedule, add_row, steps_taken

__all__ = ["Checkpoints", "Counting", "FiniteLosses", "History", "ProgressBar", "Schedule", "Signals", "TimeLeft"]
__all__ += ["add_row", "steps_taken"]

SECONDS_TIMED = 2.0  # steps that took so long tell how fast a training is
SHORT_WAIT = 10.0  # seconds of which nobody need be told
CHECKPOINT_STEPS = 500  # what a kill costs at most; a checkpoint takes less than 1 % of the time of as many steps


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
                file=bar_stream(),
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


def bar_stream() -> TextIO:
    """Return where a bar goes: to standard output in a notebook, which shows standard error on pink as if it failed."""
    return sys.stdout if type(sys.stdout).__module__.startswith("ipykernel.") else sys.stderr


class TimeLeft(Counting):
    """Say once, when its first steps tell, how fast the training is and how long is left. For any `fit`.

    Args:
        history: times the steps; comes before this one in the list.
    """

    def __init__(self, history: History):
        super().__init__()
        self.history, self.first, self.told = history, None, False

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.told:
            return
        steps, seconds = (self.history.losses[name] for name in ("step", "seconds"))
        if self.first is None:  # TensorFlow compiled in this step, and it says nothing of the others
            self.first = len(steps) - 1

        taken = seconds[-1] - seconds[self.first]
        if taken >= SECONDS_TIMED:
            speed = (steps[-1] - steps[self.first]) / taken  # steps a second
            self.tell(speed * self.history.schedule.images, (self.history.schedule.total_steps - self.step) / speed)

    def tell(self, images_a_second: float, left: float) -> None:
        """Print the line, unless the training is nearly over."""
        self.told = True
        if left >= SHORT_WAIT:
            tqdm.write(f"{images_a_second:,.0f} images a second: about {duration(left)} left")
            sys.stdout.flush()  # into a pipe or a log, too, before the wait


def duration(seconds: float) -> str:
    """Return a time in words, rounded to what one can know of a time to come: 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 3595:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"{minutes} min" + f" {rest} s" * (rest > 0)
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h" + f" {rest} min" * (rest > 0)


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
        # `EarlyStopping` and the like can bring back the weights of an earlier epoch, and the count of steps with them.
        went_back = steps_taken(self.model) != self.step
        if went_back:
            self.model.steps_taken.assign(self.step)
        if went_back or self.step != self.saved:
            self.save()

    def save(self) -> None:
        """Write one now."""
        records = self.history.records() | {"run.config": np.array(self.config)}
        checkpoints.save(self.folder, self.model, self.step, records)
        self.saved = self.step

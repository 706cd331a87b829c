"""What a training leaves to tell of it: a row of losses a step, scores, the best generator. Callbacks stand on it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from gan_tf.files import write_csv
from gan_tf.runs.folder import RunError, missed_if_unwritable

WINDOW_IMAGES = 800  # a row of losses.csv has the means over so many, about
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


class Best(NamedTuple):
    """A generator that was scored: when, how, and its weights."""

    step: int
    images: int
    frechet_distance: float
    weights: list[np.ndarray]


class History(Counting):
    """Keep what each step logs and the seconds that it took. For any `fit`; then see `history.losses`.

    Args:
        schedule: of the training.
        folder: for history.csv, a row an epoch, and losses.csv, a row for about 800 images; None writes neither.
        clock: returns the time in seconds.
    """

    def __init__(self, schedule: Schedule, folder: Path | None = None, clock: Callable[[], float] = time.perf_counter):
        super().__init__()
        self.schedule, self.folder, self.clock, self.missed = schedule, folder, clock, set()
        self.losses: Table = {}  # a row a step: step, seconds, then what `train_step` returns, but for the sum
        self.scores: Table = {}  # a row whenever `Scores` judged: step, images, seconds, then its scores
        self.diagnostics: Table = {}  # a row whenever `Diagnostics` measured: step, images, then what it found
        self.scored_by = ""  # the evaluator's SHA-256
        self.judged: dict[str, Best] = {}  # "best" of the rows of scores; "end", where its row is only of the end
        self.seconds = 0.0

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self.step < self.schedule.total_steps and self.judged.pop("end", None):
            for column in self.scores.values():
                column.pop()
        self.write()

    def on_train_batch_begin(self, batch, logs=None):
        self.started = self.clock()

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        names = ["generator_loss", "discriminator_loss"]
        names += [name for name in logs if name not in (*names, "loss")]
        values = {name: float(np.mean(logs[name])) for name in names}
        self.seconds += self.clock() - self.started
        add_row(self.losses, {"step": self.step, "seconds": self.seconds, **values})

    def on_epoch_end(self, epoch, logs=None):
        self.write()

    def judge(self, row: dict[str, float], weights: list[np.ndarray], only_of_the_end: bool) -> None:
        """Add a row of scores, and keep the weights that are judged if no Fréchet distance was lower.

        A row that is there only because the training ends goes when it goes on for longer: one that was planned so
        would not have had it.
        """
        add_row(self.scores, row)
        judged = Best(row["step"], row["images"], row["frechet_distance"], weights)
        if only_of_the_end:
            self.judged["end"] = judged
        elif "best" not in self.judged or judged.frechet_distance < self.judged["best"].frechet_distance:
            self.judged["best"] = judged

    @property
    def best(self) -> Best | None:
        """The generator with the lowest Fréchet distance, the earliest of equals; None where none was scored."""
        return min(self.judged.values(), key=lambda each: (each.frechet_distance, each.step), default=None)

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
        tables = {"losses": self.losses, "scores": self.scores, "diagnostics": self.diagnostics}
        arrays = {f"{table}.{name}": np.array(column) for table in tables for name, column in tables[table].items()}
        for name, (*row, weights) in self.judged.items():
            arrays |= {f"judged.{name}.weights.{i:04d}": weight for i, weight in enumerate(weights)}
            arrays[f"judged.{name}"] = np.array(row)
        return arrays | {"history.scored_by": np.array(self.scored_by)}

    def restore(self, records: dict[str, np.ndarray]) -> None:
        """Go on from what `records` returned."""
        tables = {"losses.": self.losses, "scores.": self.scores, "diagnostics.": self.diagnostics}
        for prefix, table in tables.items():
            table.clear()
            table |= {k.removeprefix(prefix): v.tolist() for k, v in records.items() if k.startswith(prefix)}
        self.judged.clear()
        for name in (name for name in ("best", "end") if f"judged.{name}" in records):
            step, images, distance = records[f"judged.{name}"].tolist()
            weights = [records[key] for key in sorted(records) if key.startswith(f"judged.{name}.weights.")]
            self.judged[name] = Best(int(step), int(images), distance, weights)
        self.scored_by = str(records["history.scored_by"])
        self.seconds = self.losses["seconds"][-1]


def add_row(table: Table, row: dict[str, float]) -> None:
    """Add a row to a table, whose columns are those of its first row."""
    if table and table.keys() != row.keys():
        raise RunError(f"what a step returns has changed: {', '.join(table)} before, {', '.join(row)} now")
    for name, value in row.items():
        table.setdefault(name, []).append(value)

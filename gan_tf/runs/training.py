"""Train a run: settle what was left open, go back to the newest checkpoint, and `fit` to the end."""

import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import gan_tf
from gan_tf import UsageError, data, gan, judges
from gan_tf.files import check_memory, remove_partials, write_json
from gan_tf.runs import checkpoints, devices, plan, recipe, source
from gan_tf.runs.callbacks import (
    CHECKPOINT_STEPS,
    Checkpoints,
    FiniteLosses,
    History,
    ProgressBar,
    Schedule,
    Signals,
    TimeLeft,
    steps_taken,
)
from gan_tf.runs.diagnosis import Diagnostics
from gan_tf.runs.folder import (
    PICTURES,
    RunError,
    check_pictures,
    describe,
    frame_paths,
    lock,
    os_errors_in_one_line,
    read_config,
)
from gan_tf.runs.pictures import CLASS_COLUMNS, CLASS_ROWS, FRAME_GRID, Frames, Scores, series
from gan_tf.runs.results import write_outputs
from gan_tf.runs.settings import Settings


class Stopped(gan_tf.Error):
    """A signal ended the training after everything was saved."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


def train(
    folder: str | Path,
    settings: Settings,
    evaluate_every: int | None = None,
    checkpoint_every: int = CHECKPOINT_STEPS,
    build: Callable[[Settings], gan.GAN] = recipe.build,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    start_from: str | Path | None = None,
) -> Path:
    """Start a run, or continue one that was stopped or shall have more epochs, and return the path of its progress GIF.

    Continued in either way, it ends with the bits of a run that was asked for all its epochs at once and never stopped.

    Args:
        folder: a folder that holds a run of the same settings, of as many epochs or fewer, or nothing yet.
        settings: where they leave a choice ("auto", None), an earlier part of the run has made it already.
        evaluate_every: steps from one evaluation to the next, or None for no evaluation; the training is the same. Of
            other images than digits an evaluator is trained first (`judges.of_dataset`).
        checkpoint_every: steps from one checkpoint to the next: what a kill costs at most. The training is the same.
        build: makes the compiled GAN of the settings; a run is continued with the one that it began with.
        callbacks: of your own, called before a checkpoint is written. A run that is continued in the middle of an
            epoch calls `fit` twice. What they hold themselves is not in the checkpoints. A run that they end is
            finished; asked for more epochs, it goes on from there.
        start_from: a finished run whose averaged generator and discriminator the training starts from; optimizers and
            the count of steps are new. What was not asked for of the networks' settings is what that run has.

    Raises:
        RunError: the folder holds something else, or cannot be written, or the losses became NaN, or there is no such
            run to start from.
        Stopped: SIGINT or SIGTERM came; everything is saved.
        data.DataError: the dataset cannot be used.
        evaluator.EvaluatorError: the evaluator cannot be used.
        devices.LostWorkerError: another worker is gone.
        UsageError: the batch size is larger than the dataset or the memory, or does not fit the replicas; the
            networks to start from are others than those that were asked for.
    """
    folder = Path(folder)
    config = read_config(folder)
    plan.check_step(folder, config)
    origin = source.origin(folder, config, start_from)
    settings = source.settle(settings, origin, config)
    settings, strategy = plan.choose_devices(settings, config)
    plan.check_callbacks(callbacks := list(callbacks), strategy)
    settings, dataset = plan.resolve(settings, config, build)
    check_pictures(folder, config, dataset)
    asked = describe(settings, dataset, strategy.num_replicas_in_sync, build, origin)
    asked, finished = plan.agree(folder, config, asked)
    if finished:
        print(f"{folder} is finished already; nothing was changed.")
        return folder / "progress.gif"

    with os_errors_in_one_line(folder), devices.lost_workers_named(strategy):
        chief = devices.is_chief(strategy)
        if folder.exists() and chief:
            with lock(folder):
                pass  # who is refused is told before anything is built
        if config and config["settings"]["epochs"] < settings.epochs:
            plan.check_schedules(folder, settings, config["settings"]["epochs"], build)
        begins = not checkpoints.paths(folder / "checkpoints")
        networks = source.load(folder, origin) if origin and begins else None
        with strategy.scope():
            keras.utils.set_random_seed(settings.seed)  # of the order of the images, too, whatever `build` does
            model = build(settings)
        if networks:
            source.start(model, origin, networks)
        run = Run(folder, asked, settings, dataset, strategy, model)
        history = History(schedule_of(run), folder if chief else None)
        check_memory(recipe.step_bytes(model, settings.batch_size), f"a step of batch_size {settings.batch_size}")

        with taken(folder, config) if chief else contextlib.nullcontext():
            go_back(run, history)
            signals = Signals()
            say = tqdm.write if chief else None
            watching = Diagnostics(history, dataset, seed=settings.seed, say=say)  # each worker has to measure
            shown, saved = [], []  # by the chief alone
            if chief:
                shown = shown_by(run, history, evaluate_every, signals)
                saved = [Checkpoints(folder / "checkpoints", history, checkpoint_every, json.dumps(run.at_the_end))]
            fit(run, [FiniteLosses(), history, watching, *shown, *callbacks, *saved, signals], signals)
            if chief:
                finish(run, history)
            devices.wait_for_all(strategy)
    return folder / "progress.gif"


class Run(NamedTuple):
    """What a training is of."""

    folder: Path
    config: dict  # what config.json holds meanwhile
    settings: Settings  # resolved, without "auto" or None
    dataset: data.Dataset
    strategy: tf.distribute.Strategy
    model: gan.GAN

    @property
    def at_the_end(self) -> dict:
        """What config.json holds when the run is finished: as if it had been asked for all its epochs at once."""
        return {key: value for key, value in self.config.items() if key != "finished_epochs"}


def schedule_of(run: Run) -> Schedule:
    """Return how long a run is: a step takes a batch for each of the discriminator's steps."""
    there = len(run.dataset.x_train)
    images = run.settings.batch_size * run.model.critic_steps
    if images > there:
        raise UsageError(f"a step takes batch_size x critic_steps = {images} images, of at most the {there} there are")
    return Schedule(images, there // images, run.settings.epochs)


@contextlib.contextmanager
def taken(folder: Path, config: dict | None):
    """Hold a run folder in which nobody was since config.json said `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        if read_config(folder) != config:  # until the lock was held, somebody else could write
            raise RunError(f"another process has begun a run in {folder} meanwhile; ask again, or name another")
        yield


def go_back(run: Run, history: History) -> None:
    """Go back to the newest checkpoint, if there is one; then begin to write.

    config.json comes first: from then on a run that goes on to more epochs is not finished, whatever happens. Frames
    that are of no series or came after the checkpoint are dropped.
    """
    if records := checkpoints.restore(run.folder / "checkpoints", run.model, run.config):
        history.restore(records)
    if devices.is_chief(run.strategy):
        write_json(run.folder / "config.json", run.config)
        if run.dataset.files:
            write_json(run.folder / PICTURES, run.dataset.files)
        remove_partials(run.folder)
        kept = series(history.losses.get("step", []), history.schedule.images)
        for path, seen in frame_paths(run.folder).items():
            if seen not in kept:
                path.unlink()


def finish(run: Run, history: History) -> None:
    """Write what is made of a run, and say so where its epochs are not over."""
    epoch, rest = divmod(steps_taken(run.model), history.schedule.steps_per_epoch)
    if epoch < run.settings.epochs:
        place = f"in epoch {epoch + 1}" if rest else f"after epoch {epoch}"
        print(f"{run.folder} was ended by a callback {place} of {run.settings.epochs}")
    if run.at_the_end != run.config:
        (run.folder / "metrics.json").unlink(missing_ok=True)  # the scores of the generator that is replaced now
    batch, columns = shown_rows(run, 100)
    write_outputs(run.folder, run.model, batch, run.settings.seed, history.best, columns)
    if run.at_the_end != run.config:
        write_json(run.folder / "config.json", run.at_the_end)


def shown_by(run: Run, history: History, evaluate_every: int | None, signals: Signals) -> list:
    """Return what shows how a run is doing, on disk and on the screen."""
    batch, columns = shown_rows(run, CLASS_ROWS * CLASS_COLUMNS if run.model.labelled else FRAME_GRID)
    frames = Frames(run.folder, history.schedule, batch, run.settings.seed, columns)
    listed = [frames, TimeLeft(history), ProgressBar(history, run.folder.name)]
    if evaluate_every:
        judge = judges.of_dataset(run.dataset, run.folder, tqdm.write, digest=run.config["dataset_sha256"])
        test = rows(run, "test", slice(None))
        listed.insert(0, Scores(history, test, evaluate_every, run.settings.seed, signals, judge))
    return listed


def rows(run: Run, part: str, chosen: slice | np.ndarray) -> gan.Batch:
    """Return rows of a part of the dataset, "train" or "test", as a batch, but with images uint8 as they lie there."""
    images, labels = run.dataset.rows(part, chosen)
    return {"images": images} | ({"labels": tf.constant(labels)} if run.model.labelled else {})


def shown_rows(run: Run, count: int) -> tuple[gan.Batch, int | None]:
    """Return what `count` pictures are drawn for, and in how many columns: the first training images.

    Where they have labels, each of the first classes has a column, or several where there are few classes, and each row
    an image of every one of these.
    """
    if not run.model.labelled:
        return rows(run, "train", slice(count)), None
    labels = np.unique(run.dataset.y_train)[:CLASS_COLUMNS]
    labels = np.repeat(labels, CLASS_COLUMNS // len(labels))
    of_each = [np.resize(np.flatnonzero(run.dataset.y_train == label), count // len(labels)) for label in labels]
    return rows(run, "train", np.stack(of_each, axis=1).ravel()), len(labels)


def fit(run: Run, callbacks: list[keras.callbacks.Callback], signals: Signals) -> None:
    """Train from where the GAN stands to the end.

    Raises:
        Stopped: a signal came.
    """
    dataset, seed, schedule = run.dataset, run.settings.seed, schedule_of(run)
    labels = {"labels": dataset.y_train} if run.model.labelled else {}
    bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]

    def place() -> str:
        return f"step {steps_taken(run.model):,} of {schedule.total_steps:,}"

    try:
        with signals:
            ended = False
            while not (ended or signals.number):
                # Only the first epoch after a resume is shorter than the others; the rest runs in one `fit`.
                step = steps_taken(run.model)
                epoch, done = divmod(step, schedule.steps_per_epoch)
                batches = data.batches(dataset.x_train, schedule.images, seed=seed, endless=True, skip=step, **labels)
                run.model.fit(
                    devices.distribute(batches, run.strategy),
                    initial_epoch=epoch,
                    epochs=epoch + 1 if done else schedule.epochs,
                    steps_per_epoch=schedule.steps_per_epoch - done,
                    callbacks=callbacks,
                    verbose=0,
                )
                ended = run.model.stop_training or not done
    except KeyboardInterrupt:
        if not signals.number:
            raise
        raise Stopped(signals.number, f"stopped before it went on from {place()}; nothing was lost") from None
    finally:
        for bar in bars:
            bar.close()
    if signals.number:
        raise Stopped(signals.number, f"stopped at {place()}, saved")

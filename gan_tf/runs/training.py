"""Train a run: settle what was left open, go back to the newest checkpoint, and `fit` to the end."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

import gan_tf
from gan_tf import UsageError, data, gan
from gan_tf.files import check_memory, remove_partials, write_json
from gan_tf.runs import checkpoints, devices, recipe
from gan_tf.runs.callbacks import (
    CHECKPOINT_STEPS,
    Checkpoints,
    FiniteLosses,
    History,
    ProgressBar,
    Schedule,
    Signals,
    steps_taken,
)
from gan_tf.runs.folder import (
    RunError,
    describe,
    differences,
    frame_paths,
    lock,
    of_another_step,
    os_errors_in_one_line,
    read_config,
)
from gan_tf.runs.pictures import FRAME_GRID, Frames, Scores, series
from gan_tf.runs.results import OUTPUTS, write_outputs
from gan_tf.runs.settings import Settings

DEFAULT_IMAGES = 180_000  # what a run without --epochs shows the networks, about: 3 epochs of MNIST, 120 of the digits


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
) -> Path:
    """Start a run, or continue one that was stopped, and return the path of its progress GIF.

    Args:
        folder: a folder that holds an unfinished run of the same settings, or nothing yet.
        settings: where they leave a choice ("auto", None), an earlier part of the run has made it already.
        evaluate_every: steps from one evaluation to the next, or None for no evaluation; the training is the same.
        checkpoint_every: steps from one checkpoint to the next: what a kill costs at most. The training is the same.
        build: makes the compiled GAN of the settings; a run is continued with the one that it began with.
        callbacks: of your own, called before a checkpoint is written. A run that is continued in the middle of an
            epoch calls `fit` twice. What they hold themselves is not in the checkpoints.

    Raises:
        RunError: the folder holds something else, or cannot be written, or the losses became NaN.
        Stopped: SIGINT or SIGTERM came; everything is saved.
        data.DataError: the dataset cannot be used.
        evaluator.EvaluatorError: the evaluator cannot be used.
        devices.LostWorkerError: another worker is gone.
        UsageError: the batch size is larger than the dataset or the memory, or does not fit the replicas.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config and of_another_step(config):
        old = config["versions"]["gan_tf"]
        raise RunError(
            f"{folder} holds another run, of gan_tf {old}, whose train step is not that of {gan_tf.__version__}; "
            "name another folder"
        )

    settings, strategy = choose_devices(settings, config)
    settings, dataset = resolve(settings, config, build)
    asked = describe(settings, dataset, strategy.num_replicas_in_sync, build)
    finished = config is not None and all((folder / name).exists() for name in OUTPUTS)
    if finished:
        asked["versions"] = config["versions"]  # nothing is left to be continued with others
    if config and (different := differences(config, asked)):
        raise RunError(f"{folder} holds another run ({'; '.join(different)}); ask for the same, or name another folder")
    if finished:
        print(f"{folder} is finished already; nothing was changed.")
        return folder / "progress.gif"

    with os_errors_in_one_line(folder), devices.lost_workers_named(strategy):
        chief = devices.is_chief(strategy)
        if folder.exists() and chief:
            with lock(folder):
                pass  # who is refused is told before anything is built
        with strategy.scope():
            keras.utils.set_random_seed(settings.seed)  # of the order of the images, too, whatever `build` does
            model = build(settings)
        run = Run(folder, asked, settings, dataset, strategy, model)
        history = History(schedule_of(run), folder if chief else None)
        check_memory(recipe.step_bytes(model, settings.batch_size), f"a step of batch_size {settings.batch_size}")

        with taken(folder, config, asked) if chief else contextlib.nullcontext():
            go_back(run, history)
            signals = Signals()
            shown, saved = [], []  # by the chief alone
            if chief:
                shown = shown_by(run, history, evaluate_every, signals)
                saved = [Checkpoints(folder / "checkpoints", history, checkpoint_every, json.dumps(asked))]
            fit(run, [FiniteLosses(), history, *shown, *callbacks, *saved, signals], signals)
            if chief:
                write_outputs(folder, model, first_rows(run, "train", 100), settings.seed)
            devices.wait_for_all(strategy)
    return folder / "progress.gif"


class Run(NamedTuple):
    """What a training is of."""

    folder: Path
    config: dict  # what config.json holds
    settings: Settings  # resolved, without "auto" or None
    dataset: data.Dataset
    strategy: tf.distribute.Strategy
    model: gan.GAN


def choose_devices(settings: Settings, config: dict | None) -> tuple[Settings, tf.distribute.Strategy]:
    """Settle on which devices to train; it must be the first thing that TensorFlow does in this process."""
    name = settings.devices
    if name == "auto":
        several = len(tf.config.list_physical_devices("GPU")) > 1
        name = config["settings"].get("devices", "one") if config else "mirrored" if several else "one"
    strategy = devices.strategy(name)
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise UsageError(
            f"batch_size must be a multiple of the {strategy.num_replicas_in_sync} replicas, got {settings.batch_size}"
        )
    if name == "multiworker" and settings.precision == "auto":
        raise UsageError("precision must be named for several workers: each would choose for itself")
    return dataclasses.replace(settings, devices=name), strategy


def resolve(
    settings: Settings, config: dict | None, build: Callable[[Settings], gan.GAN] = recipe.build
) -> tuple[Settings, data.Dataset]:
    """Settle what the settings left open, as the run did before where there was one, and load the dataset."""
    before = config["settings"] if config else {}
    name = before.get("dataset", "auto") if settings.dataset == "auto" else settings.dataset
    dataset = data.load(name)
    if settings.batch_size > len(dataset.x_train):
        raise UsageError(
            f"batch_size must be at most the {len(dataset.x_train)} training images, got {settings.batch_size}"
        )
    epochs = settings.epochs or before.get("epochs") or max(1, round(DEFAULT_IMAGES / len(dataset.x_train)))
    settings = dataclasses.replace(settings.with_model_defaults(), dataset=dataset.name, epochs=epochs)
    if settings.precision == "auto":
        precision = before.get("precision") or recipe.fastest_precision(settings, dataset, build)
        settings = dataclasses.replace(settings, precision=precision)
    return settings, dataset


def schedule_of(run: Run) -> Schedule:
    """Return how long a run is: a step takes a batch for each of the discriminator's steps."""
    there = len(run.dataset.x_train)
    images = run.settings.batch_size * run.model.critic_steps
    if images > there:
        raise UsageError(f"a step takes batch_size x critic_steps = {images} images, of at most the {there} there are")
    return Schedule(images, there // images, run.settings.epochs)


@contextlib.contextmanager
def taken(folder: Path, config: dict | None, asked: dict):
    """Hold a run folder whose config.json says what was asked, and in which nobody was since it said `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        if read_config(folder) != config:  # until the lock was held, somebody else could write
            raise RunError(f"another process has begun a run in {folder} meanwhile; ask again, or name another")
        write_json(folder / "config.json", asked)
        remove_partials(folder)
        yield


def go_back(run: Run, history: History) -> None:
    """Go back to the newest checkpoint, if there is one, and drop the frames that came after it or are of no series."""
    if records := checkpoints.restore(run.folder / "checkpoints", run.model, run.config):
        history.restore(records)
    if devices.is_chief(run.strategy):
        kept = series(history.losses.get("step", []), history.schedule.images)
        for path, seen in frame_paths(run.folder).items():
            if seen not in kept:
                path.unlink()


def shown_by(run: Run, history: History, evaluate_every: int | None, signals: Signals) -> list:
    """Return what shows how a run is doing, on disk and on the screen."""
    frames = Frames(run.folder, history.schedule, first_rows(run, "train", FRAME_GRID), run.settings.seed)
    listed = [frames, ProgressBar(history, run.folder.name)]
    if evaluate_every:
        listed.insert(0, Scores(history, first_rows(run, "test"), evaluate_every, run.settings.seed, signals))
    return listed


def first_rows(run: Run, part: str, count: int | None = None) -> gan.Batch:
    """Return the first rows of a part of the dataset, "train" or "test", as a batch."""
    images, labels = (getattr(run.dataset, f"{axis}_{part}")[:count] for axis in "xy")
    return {"images": data.to_float(images)} | ({"labels": tf.constant(labels)} if run.model.labelled else {})


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

"""A run folder: its settings, what training leaves in it, and what can be made from it."""

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout
from PIL import Image

from gan_tf import UsageError, data, evaluator, models, plots
from gan_tf.files import check_memory, one_line, read_csv, write_json, write_png, write_whole
from gan_tf.gan import GAN, sample_images
from gan_tf.runs import devices, recipe
from gan_tf.runs.checkpoints import RunError, describe, differences
from gan_tf.runs.scorer import Scorer
from gan_tf.runs.settings import Settings
from gan_tf.runs.trainer import CHECKPOINT_STEPS, Stopped, Trainer, frame_paths
from gan_tf.untrusted import link_out_of, load_model

__all__ = [
    "RunError",
    "Settings",
    "Stopped",
    "evaluate",
    "load_generator",
    "pretrained_generator",
    "sample_images",
    "train",
    "write_gif",
    "write_images",
]

DEFAULT_IMAGES = 240_000  # what a run without --epochs shows the networks, about: 4 epochs of MNIST, 160 of the digits
GIF_BYTES, MOST_CONFIG_BYTES = 300_000, 1_000_000
PRETRAINED = Path(__file__).parent.with_name("pretrained.npz")
PRETRAINED_SHA256 = "9ab28c8fca3dbd0e38cd67732719c37f3ce0da9145ef3763811f6bb44cb3a46e"
OUTPUTS = ("progress.gif", "samples.png", "losses.png", "generator.keras")  # in the order in which they are written


def train(
    folder: str | Path,
    settings: Settings,
    evaluate_every: int | None = None,
    checkpoint_every: int = CHECKPOINT_STEPS,
    build: Callable[[Settings], GAN] = recipe.build,
) -> Path:
    """Start a run, or continue one that was stopped, and return the path of its progress GIF.

    Args:
        folder: a folder that holds an unfinished run of the same settings, or nothing yet.
        settings: where they leave a choice ("auto", None), an earlier part of the run has made it already.
        evaluate_every: steps from one evaluation to the next, or None for no evaluation; the training is the same.
        checkpoint_every: steps from one checkpoint to the next: what a kill costs at most. The training is the same.
        build: makes the compiled GAN of the settings; a run is continued with the one that it began with.

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
    with errors_named(folder), devices.lost_workers_named(strategy):
        if folder.exists() and devices.is_chief(strategy):
            with lock(folder):
                pass  # who is refused is told before anything is built
        trainer = Trainer(folder, asked, dataset, strategy, build, checkpoint_every)
        check_memory(recipe.step_bytes(trainer.gan, settings.batch_size), f"a step of batch_size {settings.batch_size}")
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder) if trainer.chief else contextlib.nullcontext():
            if trainer.chief:
                if read_config(folder) != config:  # until the lock was held, somebody else could write
                    raise RunError(f"another process has begun a run in {folder} meanwhile; ask again, or name another")
                write_json(folder / "config.json", asked)
            judged = evaluate_every and trainer.chief
            trainer.train(Scorer(folder, dataset, evaluate_every, settings.seed) if judged else None)
            if trainer.chief:
                write_outputs(folder, settings, trainer.gan.ema_generator)
            devices.wait_for_all(strategy)
    return folder / "progress.gif"


@contextlib.contextmanager
def lock(folder: Path):
    """Hold a run folder for one process; a lock that a dead process left does not block.

    Raises:
        RunError: another process holds it.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"another process is training in {folder}; wait for it, or name another folder") from error


def write_outputs(folder: Path, settings: Settings, generator: keras.Model) -> None:
    """Write a finished run's pictures and, last of all, its generator."""
    write_gif(folder, folder / "progress.gif")
    write_images(folder / "samples.png", sample_images(generator, 100, settings.seed))
    figures = {"losses.png": plots.plot_losses(read_csv(folder / "losses.csv"))}
    if (folder / "scores.csv").exists():
        figures["scores.png"] = plots.plot_scores({folder.name: read_csv(folder / "scores.csv")})
    for name, figure in figures.items():
        write_whole(folder / name, functools.partial(figure.savefig, format="png"))
        plt.close(figure)
    partial = folder / ".generator.partial.keras"
    generator.save(partial)
    write_whole(folder / "generator.keras", lambda file: file.write(partial.read_bytes()))
    partial.unlink()


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
    settings: Settings, config: dict | None, build: Callable[[Settings], GAN] = recipe.build
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
        precision = before.get("precision") or recipe.fastest_precision(settings, dataset.x_train, build)
        settings = dataclasses.replace(settings, precision=precision)
    return settings, dataset


def read_config(folder: Path) -> dict | None:
    """Return a run's config.json, or None where a run can begin."""
    path = folder / "config.json"
    if link := link_out_of(folder):
        raise RunError(f"{link} is a symbolic link that leads out of the run folder; put the file itself there")
    if not path.exists():
        if folder.is_file():
            raise RunError(f"{folder} is a file; name a folder")
        if folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no run (no config.json); name another folder")
        return None
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        config = json.loads(path.read_text())
        Settings(**config["settings"])
        config["dataset_sha256"], config["versions"].get("gan_tf")
        return config
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); restore it, or name another folder") from error


def load_generator(folder: str | Path) -> keras.Model:
    """Load a finished run's generator, in safe mode: no code from the file is executed.

    Raises:
        RunError: there is none yet, or it is damaged.
    """
    path = Path(folder) / "generator.keras"
    if not path.exists():
        raise RunError(f"{path} is not there: run `python -m gan_tf train {folder}` to its end first")
    try:
        return load_model(path)
    except Exception as error:  # Keras raises many kinds for a bad archive
        raise RunError(f"{path} cannot be loaded ({one_line(error)}); train the run again") from error


def pretrained_generator() -> keras.Model:
    """Load the generator that the package ships: of MNIST's digits, trained by the default recipe for longer.

    Returns:
        A model from z, float32 (n, 100), to images, float32 (n, 28, 28, 1) in [-1, 1]; its weights had 16 bits.

    Raises:
        RunError: the file is missing, damaged or not the one that was shipped.
    """
    try:
        if (found := hashlib.sha256(PRETRAINED.read_bytes()).hexdigest()) != PRETRAINED_SHA256:
            raise ValueError(f"its SHA-256 is {found[:12]}, that of the shipped one {PRETRAINED_SHA256[:12]}")
        with np.load(PRETRAINED, allow_pickle=False) as archive:
            generator = models.dcgan_generator(**json.loads(str(archive["arguments"])))
            names = sorted(set(archive.files) - {"arguments"})
            generator.set_weights([archive[name].astype(np.float32) for name in names])
    except Exception as error:  # NumPy, zipfile and Keras raise many kinds
        raise RunError(f"{PRETRAINED} cannot be loaded ({one_line(error)}); install gan_tf again") from error
    return generator


def evaluate(folder: str | Path, count: int | None = None, seed: int = 0) -> dict:
    """Judge a finished run's generator against its dataset's test images, and write metrics.json.

    Args:
        folder: a finished run.
        count: images of each kind; by default as many as there are test images: 10,000 of MNIST, 297 of the digits.
        seed: of the noise and of the draws.

    Returns:
        The content of metrics.json, for `evaluator.table`.

    Raises:
        RunError: there is no such run, or its files are damaged, or its dataset was another.
        data.DataError: the dataset cannot be used.
        evaluator.EvaluatorError: the evaluator cannot be used.
        UsageError: there are not so many test images, or fewer than 10 were asked for.
    """
    folder = Path(folder)
    config = read_config(folder)
    generator = load_generator(folder)
    if config is None:
        raise RunError(f"{folder} holds a generator and no config.json; restore it, or train again")
    dataset = data.load(config["settings"]["dataset"])
    if dataset.digest != config["dataset_sha256"]:
        raise RunError(f"{folder} was trained on other images than {dataset!r}; train it again")
    count = len(dataset.x_test) if count is None else count
    if not 10 <= count <= len(dataset.x_test):
        raise UsageError(f"count must be from 10 to the {len(dataset.x_test)} test images, got {count}")
    keras.utils.set_random_seed(seed)
    fake, untrained = (sample_images(model, count, seed) for model in (generator, keras.models.clone_model(generator)))
    report = evaluator.report(evaluator.Evaluator(), dataset, fake, untrained, seed)
    with errors_named(folder):
        write_json(folder / "metrics.json", report)
    return report


def write_gif(folder: str | Path, out: str | Path) -> None:
    """Make the progress GIF from a run's frames.

    Raises:
        RunError: there are no frames, or one is damaged.
    """
    paths = frame_paths(Path(folder))
    if not paths:
        raise RunError(f"{folder} holds no frames: run `python -m gan_tf train {folder}` first")
    frames = []
    for path, seen in paths.items():
        try:
            frame = np.asarray(Image.open(path).convert("L"))
        except Exception as error:  # Pillow raises many kinds
            raise RunError(f"{path} is damaged; delete it and make the GIF again") from error
        frames.append(plots.captioned(frame.repeat(2, axis=0).repeat(2, axis=1), f"{seen:,} images seen"))
        if frames[-1].shape != frames[0].shape:
            raise RunError(f"{path} has another size than the frames before; delete it and make the GIF again")
    plots.write_gif(out, frames, max_bytes=GIF_BYTES)


def write_images(path: Path, images: np.ndarray) -> None:
    """Write uint8 images (n, 28, 28, 1) as one grid (.png) or as an array named `images` (.npz)."""
    if path.suffix == ".npz":
        write_whole(path, lambda file: np.savez_compressed(file, images=images))
    else:
        write_png(path, plots.image_grid(images))


@contextlib.contextmanager
def errors_named(path: Path):
    """Turn a full disk, a folder without permission and the like into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{path} cannot be written: {reason}; what was saved before is intact") from error

"""What a run shall be: what was asked, settled by what its folder says it is, or refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

import gan_tf
from gan_tf import UsageError, data, gan, replicas
from gan_tf.files import one_line
from gan_tf.runs import checkpoints, devices, recipe
from gan_tf.runs.folder import RunError, differences, of_another_version
from gan_tf.runs.pictures import WATCHED
from gan_tf.runs.results import OUTPUTS
from gan_tf.runs.settings import USUAL_SIZE, Settings

DEFAULT_IMAGES = 120_000  # what a run without --epochs shows the networks, about: 2 epochs of MNIST, 80 of the digits
FEW_IMAGES = 5_000  # of your own, below which they are augmented where nobody says


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
    size, channels = settings.size or before.get("size"), settings.channels or before.get("channels")
    dataset = data.load(name, size, channels)
    if settings.batch_size > len(dataset.x_train):
        raise UsageError(
            f"batch_size must be at most the {len(dataset.x_train)} training images, got {settings.batch_size}"
        )
    if settings.conditional and dataset.y_train is None:
        raise UsageError(f"{dataset!r} has no labels, from which a conditional run learns; leave out --conditional")
    classes = (settings.classes or dataset.classes) if settings.conditional else None
    if settings.conditional and classes < dataset.classes:
        raise UsageError(f"classes must be at least the {dataset.classes} of {dataset!r}, got {classes}")
    side, _, channels = dataset.image_shape
    epochs = settings.epochs or before.get("epochs") or max(1, round(default_images(side) / len(dataset.x_train)))
    settings = dataclasses.replace(settings, size=side, channels=channels, classes=classes).with_model_defaults()
    few = "translation" if dataset.files and len(dataset.x_train) < FEW_IMAGES else "none"
    asked = before.get("augment", "none" if before else few) if settings.augment == "auto" else settings.augment
    settings = dataclasses.replace(settings, dataset=dataset.name, epochs=epochs, augment=asked)
    if settings.precision == "auto":
        precision = before.get("precision") or recipe.fastest_precision(settings, dataset, build)
        settings = dataclasses.replace(settings, precision=precision)
    return settings, dataset


def default_images(size: int) -> int:
    """Return how many images a run shows the networks where nobody says: of larger ones, so many times more."""
    return DEFAULT_IMAGES * max(1, size // USUAL_SIZE)


def check_step(folder: Path, config: dict | None) -> None:
    """Refuse a run of a version of this package whose steps or files were others."""
    if config and of_another_version(config):
        old = config["versions"]["gan_tf"]
        raise RunError(
            f"{folder} holds another run, of gan_tf {old}, whose steps or files are not those of {gan_tf.__version__}; "
            "name another folder"
        )


def agree(folder: Path, config: dict | None, asked: dict) -> tuple[dict, bool]:
    """Return what config.json shall say, and whether nothing is left to be done.

    A run that goes on to more epochs keeps what was made of it until that is made anew. Meanwhile config.json holds
    `finished_epochs`: those files do not tell that it is finished.

    Args:
        folder: of the run.
        config: what config.json says.
        asked: what it would say of a new run.

    Raises:
        RunError: the folder holds another run, or none that could go on.
    """
    if config is None:
        return asked, False
    before = config["settings"]["epochs"]
    grows = before < asked["settings"]["epochs"]
    there = [(folder / name).exists() for name in OUTPUTS]
    finished = all(there) and not grows and "finished_epochs" not in config
    if finished:
        asked = asked | {"versions": config["versions"]}  # nothing is left to be continued with others
    if different := differences(config, asked):
        raise RunError(f"{folder} holds another run ({'; '.join(different)}); ask for the same, or name another folder")

    if "finished_epochs" in config or (grows and any(there)):
        asked = asked | {"finished_epochs": config.get("finished_epochs", before)}
        if not checkpoints.paths(folder / "checkpoints"):
            raise RunError(f"{folder} has no checkpoint to go on from; train into another folder")
    return asked, finished


def check_callbacks(callbacks: list[keras.callbacks.Callback], strategy: tf.distribute.Strategy) -> None:
    """Refuse to watch scores on several workers: the first alone makes them, and the others would wait for it."""
    watching = [each for each in callbacks if getattr(each, "monitor", None) in WATCHED]
    if watching and replicas.several_workers(strategy):
        raise UsageError(
            f"{type(watching[0]).__name__} watches {watching[0].monitor}, which only the first of several workers "
            "knows; watch a loss, or train in one process"
        )


def check_schedules(folder: Path, settings: Settings, before: int, build: Callable[[Settings], gan.GAN]) -> None:
    """Refuse to go on from `before` epochs where an optimizer depends on how many there are.

    The steps that were taken would have been others, had the run been asked for all its epochs at once.
    """
    described = []
    for epochs in (before, settings.epochs):
        keras.utils.set_random_seed(settings.seed)
        model = build(dataclasses.replace(settings, epochs=epochs))
        try:
            players = (model.generator_optimizer, model.discriminator_optimizer)
            described.append([_nameless(keras.saving.serialize_keras_object(player)) for player in players])
        except Exception as error:  # Keras raises many kinds
            raise RunError(
                f"{folder} cannot go on to {settings.epochs} epochs: an optimizer cannot be described, so that nobody "
                f"knows whether it depends on the number of epochs ({one_line(error)}); give its parts a get_config"
            ) from error

    for player, old, new in zip(("generator", "discriminator"), *described, strict=True):
        if old != new:
            raise RunError(
                f"{folder} cannot go on to {settings.epochs} epochs: the {player}'s optimizer depends on how many there"
                f" are, so that the first {before} would have been others; name another folder"
            )


def _nameless(config):
    """Return a configuration without names, which Keras numbers through a process."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    return [_nameless(value) for value in config] if isinstance(config, list | tuple) else config

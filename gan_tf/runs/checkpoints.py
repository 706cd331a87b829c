"""Checkpoints: every number that training reads or writes, by name, in one file that is whole or absent.

`tf.train.Checkpoint` on a subclassed Keras model left the nested networks' weights out of the file and said nothing,
and neither it nor `.weights.h5` holds the states of seed generators; hence plain `.npz`, which a test compares by name.
"""

import json
import platform
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import gan_tf
from gan_tf.data import Dataset
from gan_tf.files import one_line, write_whole
from gan_tf.gan import GAN
from gan_tf.runs import recipe
from gan_tf.runs.settings import Settings
from gan_tf.untrusted import read_arrays

KEPT = 3
MOST_BYTES = 1 << 30  # of one checkpoint; that of the networks of TensorFlow's tutorial has 40 MB
DEFAULT_BUILD = f"{recipe.__name__}:{recipe.build.__name__}"  # of a run whose config.json does not say
CURE = (
    "Lower a --generator-learning-rate or --discriminator-learning-rate, or take --precision float32, in a new folder"
)


class RunError(gan_tf.Error):
    """A run that cannot go on; the message says why and what to do."""


def variables(gan: GAN) -> dict[str, keras.Variable]:
    """Return the weights, averages, seed states and optimizer slots of a compiled GAN, by unique names.

    Keras numbers its layers through a process (`dense_5`), so that the number is left out of the name and the position
    in the list put in: the same model has the same names in any process.
    """
    parts = {
        "gan": gan.variables,
        "generator_optimizer": gan.generator_optimizer.variables,
        "discriminator_optimizer": gan.discriminator_optimizer.variables,
    }
    return {
        f"{part}/{position}/{re.sub(r'_[0-9]+', '', variable.path)}": variable
        for part, listed in parts.items()
        for position, variable in enumerate(listed)
    }


def save(folder: Path, gan: GAN, step: int, records: dict[str, np.ndarray]) -> None:
    """Write a checkpoint and delete all but the newest three.

    Its order is one in which a kill loses nothing: the new one is whole before an old one goes.

    Args:
        folder: where; made if it is missing.
        gan: compiled.
        step: train steps done; the file's name.
        records: arrays to keep beside the variables, by names without a slash.

    Raises:
        OSError: it cannot be written; the checkpoints before it are intact.
        RunError: a variable is NaN or infinite; the checkpoints before it are intact.
    """
    folder.mkdir(exist_ok=True)
    state = {name: keras.ops.convert_to_numpy(variable) for name, variable in variables(gan).items()}
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise RunError(
                f"{name} became NaN or infinite by step {step:,}; the checkpoints before it are intact. {CURE}"
            )
    write_whole(folder / f"{step:09d}.npz", lambda file: np.savez(file, **state, **records))
    for old in _paths(folder)[:-KEPT]:
        old.unlink()


def _paths(folder: Path) -> list[Path]:
    """Return the checkpoints, the oldest first."""
    return sorted(path for path in folder.glob("*.npz") if re.fullmatch(r"[0-9]{9}", path.stem))


def restore(folder: Path, gan: GAN, config: dict) -> dict[str, np.ndarray] | None:
    """Load the newest whole checkpoint into a GAN and return its records, or None where no checkpoint was written.

    One that cannot be read is warned of, and the one before it is used.

    Args:
        folder: where `save` wrote.
        gan: compiled, of the same settings.
        config: what the run's config.json should hold.

    Raises:
        RunError: it belongs to another run or model, or there are some and all are damaged.
    """
    paths = _paths(folder)
    for path in reversed(paths):
        try:
            state = _read(path)
            before = json.loads(str(state["config"]))
            different = differences(before, config)
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds
            tqdm.write(f"warning: {path} is damaged ({one_line(error)}); the checkpoint before it is used")
            continue
        if different:
            raise RunError(f"{path} is of another run ({'; '.join(different)}); restore the right one, or delete it")
        _assign(path, gan, state)
        return {name: array for name, array in state.items() if "/" not in name}
    if paths:
        raise RunError(f"every checkpoint in {folder} is damaged; train into another folder")
    return None


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read a checkpoint whose records fit its step, or raise whatever tells that it is damaged."""
    with zipfile.ZipFile(path) as archive:
        if (size := sum(member.file_size for member in archive.infolist())) > MOST_BYTES:
            raise ValueError(f"it unpacks to {size:,} bytes")
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    state = read_arrays(path, dict.fromkeys(names, MOST_BYTES))
    losses, seconds = state["losses"], state["epoch_seconds"]
    if losses.shape != (int(path.stem), 2) or seconds.ndim != 1 or not np.isfinite(float(state["seconds"])):
        raise ValueError("its records do not fit its step")
    return state


def describe(settings: Settings, dataset: Dataset, replicas: int, build: Callable = recipe.build) -> dict:
    """Return what config.json holds: settings, who builds the GAN, replicas, the dataset's digest and the versions."""
    versions = {"python": platform.python_version(), "gan_tf": gan_tf.__version__}
    versions |= {package.__name__: package.__version__ for package in (tf, keras, np)}
    return {
        "settings": settings.to_json(),
        "build": f"{build.__module__}:{build.__qualname__}",
        "replicas": replicas,
        "dataset_sha256": dataset.digest,
        "versions": versions,
    }


def differences(before: dict, now: dict) -> list[str]:
    """Name what keeps a run from being continued to the same bits: settings, replicas, images, versions."""
    old, new = before["settings"], now["settings"]
    found = [f"{name}: {old.get(name)} there, {new[name]} asked" for name in new if old.get(name) != new[name]]
    if (old := before.get("build", DEFAULT_BUILD)) != now.get("build", DEFAULT_BUILD):
        found.append(f"build: {old} there, {now['build']} here")
    if before.get("replicas") != now["replicas"]:
        found.append(f"replicas: {before.get('replicas')} there, {now['replicas']} here")
    for name in ("gan_tf", "tensorflow", "keras"):
        if (old := before["versions"].get(name)) != (new := now["versions"].get(name)):
            found.append(f"{name}: {old} there, {new} installed")
    return found + ["other images"] * (before["dataset_sha256"] != now["dataset_sha256"] and not found)


def _assign(path: Path, gan: GAN, state: dict[str, np.ndarray]) -> None:
    expected = variables(gan)
    if unlike := {name for name in state if "/" in name} ^ set(expected):
        raise RunError(f"{path} is of another model ({min(unlike)} is only on one side); use another folder")
    for name, variable in expected.items():
        if state[name].shape != tuple(variable.shape):
            shapes = f"{state[name].shape} there, {tuple(variable.shape)} here"
            raise RunError(f"{path} is of another model ({name}: {shapes}); use another folder")
    for name, variable in expected.items():
        variable.assign(state[name])

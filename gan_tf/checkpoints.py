"""Checkpoints: every number that training reads or writes, by name, in one file that is whole or absent.

`tf.train.Checkpoint` on a subclassed Keras model left the nested networks' weights out of the file and said nothing,
and neither it nor `.weights.h5` holds the states of seed generators; hence plain `.npz`, which a test compares by name.
"""

import re
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from gan_tf.files import write_whole
from gan_tf.gan import GAN

KEPT = 3


class RunError(Exception):
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

    Args:
        folder: where; made if it is missing.
        gan: compiled.
        step: train steps done; the file's name.
        records: arrays to keep beside the variables, by names without a slash.

    Raises:
        OSError: it cannot be written; the checkpoints before it are intact.
    """
    folder.mkdir(exist_ok=True)
    state = {name: keras.ops.convert_to_numpy(variable) for name, variable in variables(gan).items()}
    write_whole(folder / f"{step:09d}.npz", lambda file: np.savez(file, **state, **records))
    for old in sorted(folder.glob("*.npz"))[:-KEPT]:
        old.unlink()


def restore(folder: Path, gan: GAN) -> dict[str, np.ndarray] | None:
    """Load the newest whole checkpoint into a GAN and return its records, or None where no checkpoint was written.

    Raises:
        RunError: it belongs to another model, or there are some and all are damaged.
    """
    paths = sorted(folder.glob("*.npz"), reverse=True)
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as archive:
                state = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            tqdm.write(f"warning: {path} is damaged ({error}); the checkpoint before it is used")
            continue
        _assign(path, gan, state)
        return {name: array for name, array in state.items() if "/" not in name}
    if paths:
        raise RunError(f"every checkpoint in {folder} is damaged; train into another folder")
    return None


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

"""Checkpoints: every number that training reads or writes, by name, in one file that is whole or absent.

`tf.train.Checkpoint` on a subclassed Keras model left the nested networks' weights out of the file and said nothing,
and neither it nor `.weights.h5` holds the states of seed generators; hence plain `.npz`, which a test compares by name.
"""

import json
import re
import zipfile
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from gan_tf.files import one_line, write_whole
from gan_tf.gan import GAN
from gan_tf.runs.folder import RunError, differences
from gan_tf.untrusted import read_arrays

KEPT = 3
MOST_BYTES = 1 << 30  # of one checkpoint; that of the networks of TensorFlow's tutorial has 40 MB
CURE = "Lower rates (--generator-learning-rate, --discriminator-learning-rate) or --precision float32 may help"


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
        records: arrays to keep beside the variables, by names with a dot before any slash.

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
    for old in paths(folder)[:-KEPT]:
        old.unlink()


def paths(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    return sorted(path for path in folder.glob("*.npz") if re.fullmatch(r"[0-9]{9}", path.stem))


def restore(folder: Path, gan: GAN, config: dict | None = None) -> dict[str, np.ndarray] | None:
    """Load the newest whole checkpoint into a GAN and return its records, or None where no checkpoint was written.

    One that cannot be read is warned of, and the one before it is used.

    Args:
        folder: where `save` wrote.
        gan: compiled, of the same settings.
        config: what the run's config.json should hold; None asks nobody.

    Raises:
        RunError: it belongs to another run or model, or there are some and all are damaged.
    """
    written = paths(folder)
    for path in reversed(written):
        try:
            state = _read(path)
            different = differences(json.loads(str(state["run.config"])), config) if config else []
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds
            tqdm.write(f"warning: {path} is damaged ({one_line(error)}); the checkpoint before it is used")
            continue

        if different:
            raise RunError(f"{path} is of another run ({'; '.join(different)}); restore the right one, or delete it")
        _assign(path, gan, state)
        return {name: array for name, array in state.items() if _is_record(name)}

    if written:
        raise RunError(f"every checkpoint in {folder} is damaged; train into another folder")
    return None


def _is_record(name: str) -> bool:
    return "." in name.split("/")[0]  # the variables' names begin with "gan/", "generator_optimizer/" and so on


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read a checkpoint whose records fit its step, or raise whatever tells that it is damaged."""
    with zipfile.ZipFile(path) as archive:
        if (size := sum(member.file_size for member in archive.infolist())) > MOST_BYTES:
            raise ValueError(f"it unpacks to {size:,} bytes")
        names = [name.removesuffix(".npy") for name in archive.namelist()]

    state = read_arrays(path, dict.fromkeys(names, MOST_BYTES))
    steps = state["losses.step"]
    if steps[-1] != int(path.stem):
        raise ValueError(f"it is of step {steps[-1]}")
    for name, column in state.items():
        if name.startswith("losses.") and not (column.shape == steps.shape and np.isfinite(column).all()):
            raise ValueError("its records do not fit its step")
    return state


def _assign(path: Path, gan: GAN, state: dict[str, np.ndarray]) -> None:
    expected = variables(gan)
    if unlike := {name for name in state if not _is_record(name)} ^ set(expected):
        raise RunError(f"{path} is of another model ({min(unlike)} is only on one side); use another folder")
    for name, variable in expected.items():
        if state[name].shape != tuple(variable.shape):
            shapes = f"{state[name].shape} there, {tuple(variable.shape)} here"
            raise RunError(f"{path} is of another model ({name}: {shapes}); use another folder")

    for name, variable in expected.items():
        variable.assign(state[name])

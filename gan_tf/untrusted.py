"""Files that somebody else may have made: read without running their code, unpacking bombs or following links."""

import contextlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np

from gan_tf import Error

ALLOWED_MODULES = ("keras", "keras.layers", "keras.initializers", "keras.src.models.functional", "gan_tf.models", None)
MODEL_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
MOST_BYTES = 1 << 30  # of one model's weights; this package's largest generator has 9 MB


class KerasVersionError(Error):
    """A model that another version of Keras saved, and that this one cannot read."""


def read_arrays(path: Path, most_bytes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read the arrays with these names from an `.npz`; one that is larger or holds Python objects is a ValueError.

    A damaged archive, or one without such an array, raises what zipfile and zlib raise, KeyError or OSError.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name, most in most_bytes.items():
            member = archive.getinfo(f"{name}.npy")
            usual = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if member.file_size > most + 1024 or not usual:
                raise ValueError(f"{name} is too large ({member.file_size:,} bytes) or oddly packed")

            with archive.open(member) as file:
                content = file.read(member.file_size)  # archive.read(member) would unpack more than it states
            arrays[name] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)

    return arrays


def load_model(path: Path) -> keras.Model:
    """Load a `.keras` file of this package's kinds of layers, in safe mode.

    Raises:
        ValueError: it holds other members, packed ones, other kinds of objects, links, or more than a gigabyte.
        KerasVersionError: another version of Keras saved it, and this one cannot read it.
        Exception: whatever zipfile, h5py and Keras raise for a damaged one.
    """
    with zipfile.ZipFile(path) as archive:
        if {member.filename for member in archive.infolist()} != MODEL_MEMBERS:
            raise ValueError(f"it holds {', '.join(archive.namelist())[:80]}: no such model")
        for member in archive.infolist():  # Keras does not pack, so that no member is larger than the file
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError(f"{member.filename} is packed")

        config = json.loads(archive.read("config.json"))
        _check_kinds(config)
        with _versions_named(archive):
            needed = _bytes_to_make(config)
        if needed > MOST_BYTES:
            raise ValueError(f"its weights would take {needed:,} bytes")

        with archive.open("model.weights.h5") as file, h5py.File(file, "r") as weights:
            if _bytes_stored(weights) > MOST_BYTES:
                raise ValueError("its weights unpack to more than a gigabyte")

        with _versions_named(archive):
            return keras.saving.load_model(path, compile=False, safe_mode=True)


@contextlib.contextmanager
def _versions_named(archive: zipfile.ZipFile):
    """Where a model cannot be made, say so if another version of Keras than the installed one saved it."""
    try:
        yield
    except Exception as error:  # Keras raises many kinds
        with archive.open("metadata.json") as file:
            saved = re.search(rb'"keras_version": "([0-9][0-9a-z.]{0,20})"', file.read(1000))

        if not saved or (version := saved[1].decode()) == keras.__version__:
            raise

        raise KerasVersionError(
            f"Keras {version} saved it, and the installed Keras {keras.__version__} cannot read it; "
            f"pip install keras=={version} reads it: {error}"
        ) from error


def _check_kinds(config) -> None:
    """Refuse what is not from Keras's layers or this package, wherever it stands in a model's configuration."""
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        _check_kinds(value)

    kind = config.get("class_name", "") if isinstance(config, dict) else ""
    if kind and (config.get("module") not in ALLOWED_MODULES or kind in ("Lambda", "function", "TFSMLayer")):
        raise ValueError(f"{config.get('module')}.{kind} is none of this package's kinds of layers")


def _bytes_to_make(config: dict) -> int:
    """Return what the weights of a model's configuration would take, without making them."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            return sum(4 * math.prod(variable.shape) for variable in model.variables)

    # Keras notes, for each thread, what is still to be made, and the next such scope makes it: not in this thread.
    with ThreadPoolExecutor(max_workers=1) as other:
        return other.submit(count).result()


def _bytes_stored(group: h5py.Group) -> int:
    """Return the bytes of all datasets; links and data kept elsewhere are refused."""
    total = 0
    for name in group:
        entry = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if entry is None or (isinstance(entry, h5py.Dataset) and (entry.external or entry.is_virtual)):
            raise ValueError(f"its weights {name!r} are a link to other data")

        total += entry.nbytes if isinstance(entry, h5py.Dataset) else _bytes_stored(entry)
    return total


def link_out_of(folder: Path) -> Path | None:
    """Return a symbolic link somewhere in a folder that leads out of it, or None."""
    inside = folder.resolve()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and inside not in path.resolve().parents:
                return path
    return None

"""A run's folder: what config.json says, who may write there, and what an error is called."""

import contextlib
import dataclasses
import json
import platform
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout
from tqdm import tqdm

import gan_tf
from gan_tf.data import Dataset
from gan_tf.files import one_line
from gan_tf.folders import names_of
from gan_tf.runs.settings import USUAL_SIZE, Settings
from gan_tf.untrusted import link_out_of

MOST_CONFIG_BYTES = 1_000_000
PICTURES = "pictures.json"  # where a run keeps the SHA-256 of each of your own files
MOST_PICTURES_BYTES = 1 << 28
ORIGIN = ("run", "generator", "discriminator")  # what is known of the run that another one starts from


class RunError(gan_tf.Error):
    """A run that cannot go on; the message says why and what to do."""


def read_config(folder: Path) -> dict | None:
    """Return a run's config.json, or None where a run can begin.

    Raises:
        RunError: it is damaged, or the folder holds something else.
    """
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
        config = json.loads(path.read_text(encoding="utf-8"))
        config["settings"]["dataset"], config["dataset_sha256"]
        if not of_another_version(config):  # which may have had other settings
            epochs, done = Settings(**config["settings"]).epochs, config.get("finished_epochs")
            if not epochs or ("finished_epochs" in config and not (type(done) is int and 0 < done < epochs)):
                raise ValueError(f"epochs: {done} finished of {epochs}")
            if not {type(config["from"][name]) for name in ORIGIN if "from" in config} <= {str}:
                raise ValueError("what it started from is no run")
        return config
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); restore it, or name another folder") from error


def describe(settings: Settings, dataset: Dataset, replicas: int, build: Callable, origin: dict | None = None) -> dict:
    """Return what config.json holds: settings, who builds the GAN, replicas, the dataset's digest and the versions.

    And the run whose networks it starts from, where there is one.
    """
    versions = {"python": platform.python_version(), "gan_tf": gan_tf.__version__}
    versions |= {package.__name__: package.__version__ for package in (tf, keras, np)}
    return {
        "settings": settings.to_json(),
        "build": f"{build.__module__}:{build.__qualname__}",
        "replicas": replicas,
        "dataset_sha256": dataset.digest,
        "versions": versions,
    } | {name: value for name, value in {"class_names": list(dataset.class_names), "from": origin}.items() if value}


def of_another_version(config: dict) -> bool:
    """Return whether a run is of versions of this package, as 0.1, whose steps or files were others."""
    return str(config["versions"]["gan_tf"]).split(".")[:2] != gan_tf.__version__.split(".")[:2]


def differences(before: dict, now: dict) -> list[str]:
    """Name what keeps a run from being continued to the same bits: settings, replicas, images, versions.

    More epochs than before do not.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}  # of what is newer than the run
    defaults |= {
        "size": USUAL_SIZE,
        "channels": 1,
        "augment": "none",
        "classes": 10 if before["settings"].get("conditional") else None,
    }
    old, new = defaults | before["settings"], now["settings"]
    if before["dataset_sha256"] == now["dataset_sha256"]:
        old = old | {"dataset": new.get("dataset")}  # a folder that was moved holds the same pictures
    unlike = [name for name in new if old.get(name) != new[name] and (name != "epochs" or old[name] > new[name])]
    found = [f"{name}: {old.get(name)} there, {new[name]} asked" for name in unlike]
    found += [
        f"{name}: {before.get(name)} there, {now[name]} here"
        for name in ("build", "replicas")
        if before.get(name) != now[name]
    ]
    for name in ("gan_tf", "tensorflow", "keras"):
        if (old := before["versions"].get(name)) != (new := now["versions"].get(name)):
            found.append(f"{name}: {old} there, {new} installed")
    if any(before.get("from", {}).get(name) != now.get("from", {}).get(name) for name in ORIGIN[1:]):
        found.append("it started from other networks")
    return found + ["other images"] * (before["dataset_sha256"] != now["dataset_sha256"] and not found)


def check_pictures(folder: Path, config: dict | None, dataset: Dataset) -> None:
    """Refuse to go on with your own pictures where they have changed since the run began, and name the first of them.

    Raises:
        RunError: they have.
    """
    path = folder / PICTURES
    if not config or not dataset.files or config["settings"]["dataset"] != dataset.name or not path.exists():
        return
    try:
        if path.stat().st_size > MOST_PICTURES_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); restore it, or delete it") from error
    now = dataset.files
    if before == now:
        return
    found = {name: "is gone" for name in before if name not in now}
    found |= {name: "is new" for name in now if name not in before}
    found |= {name: "is another" for name in now if name in before and before[name] != now[name]}
    listed = names_of(f"{name} {what}" for name, what in sorted(found.items()))
    raise RunError(
        f"{dataset.name}: pictures have changed: {listed}. Put back what {folder} was trained on, or name another run"
    )


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


def frame_paths(folder: Path) -> dict[Path, int]:
    """Return a run's frames in order, each with the number of images seen by then."""
    found = {path: path.stem for path in sorted((folder / "frames").glob("*.png"))}
    return {path: int(stem) for path, stem in found.items() if stem.isascii() and stem.isdigit()}


@contextlib.contextmanager
def os_errors_in_one_line(path: Path):
    """Turn a full disk, a folder without permission and the like into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{path} cannot be written: {reason}; what was saved before is intact") from error


@contextlib.contextmanager
def missed_if_unwritable(path: Path, missed: set[Path]):
    """Go on without a table or a picture that cannot be written, and say so once: it shows what is kept elsewhere.

    Args:
        path: of the file.
        missed: those that were warned of already.
    """
    try:
        yield
    except (OSError, RunError, ValueError) as error:
        if path not in missed:
            tqdm.write(f"warning: {path} is not up to date ({one_line(error)}); nothing else is lost")
        missed.add(path)

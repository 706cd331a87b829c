"""Files on disk -> verified uint8 arrays -> `tf.data` batches; and the two conversions between uint8 and [-1, 1].

Images are uint8 (n, 28, 28, 1) in [0, 255] on disk and in figures, float32 in [-1, 1] inside the networks; labels are
uint8 (n,) in [0, 9].
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_tf import Error, UsageError
from gan_tf.files import one_line
from gan_tf.untrusted import read_arrays

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
SHAPES = {
    "mnist": ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,)),
    "digits": ((1500, 28, 28), (1500,), (297, 28, 28), (297,)),
}
DIGESTS = {  # SHA-256 of each array's raw bytes, whatever file they came in
    "mnist": (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
    "digits": (
        "ee433e366311ca368b5c3f70163976469cb2696a64dac3ec4701d02b6661d7fb",
        "e2fd6b6f26a4b1209a81b338ea6e2e743f689f6e990db31cfd6d59849794c750",
        "3a5a3dce13a446b6157824ac996a59bde0a0f2b0524aa582a8d2ade6d6ac478a",
        "e7e87e0ab1d1814c4420ecd904dea92bf6a05de1b7d724842fa0ccce6c7b11f3",
    ),
}
TITLES = {"mnist": "MNIST", "digits": "bundled digits"}
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
STALL_SECONDS = 15  # a download gives up after so long without a byte
DOWNLOAD_SECONDS = 120  # and after so long in all
CHECKOUT = Path(__file__).resolve().parent.parent
DATA_DIR = (CHECKOUT if (CHECKOUT / "pyproject.toml").exists() else Path.cwd()) / "data"


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


class DataError(Error):
    """A dataset that cannot be used; the message names the file and says what to do."""


class Dataset(NamedTuple):
    """Images and labels, for training and for testing."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the four arrays: what a run keeps, to know its data again."""
        return _joined(map(_digest, (self.x_train, self.y_train, self.x_test, self.y_test)))

    def __repr__(self) -> str:
        title, train, test = title_of(self.name, self.digest), len(self.x_train), len(self.x_test)
        return f"{title}: {train:,} training and {test:,} test images, uint8 (28, 28, 1), 10 classes"


def title_of(name: str, digest: str) -> str:
    """Return what to call a dataset for people, and whether the digest says that it is no longer what it was."""
    changed = name in DIGESTS and digest != _joined(DIGESTS[name])
    return TITLES.get(name, name) + (", changed" if changed else "")


def load(name: str = "auto") -> Dataset:
    """Load "mnist" or "digits" and verify the content by SHA-256, or raise a DataError that says what to do.

    MNIST is looked for as `mnist.npz` or as the four IDX files (plain or `.gz`) in $GAN_TF_DATA, in `data/` and in
    Keras's cache, else downloaded into `data/`, unless GAN_TF_OFFLINE is set. The digits are bundled: 1,797 of them.
    "auto" is MNIST where it can be had, else the digits, with a printed line that says so and why.
    """
    if name == "mnist":
        return _load_mnist()

    if name == "digits":
        installed = Path(__file__).with_name("digits.npz")
        return _read_npz(installed if installed.exists() else CHECKOUT / "data" / "digits.npz", "digits")

    if name != "auto":
        raise UsageError(f'name must be "auto", "mnist" or "digits", got {name!r}')

    try:
        return load("mnist")
    except DataError as error:
        print(f"Using the bundled digits, because MNIST cannot be had: {error}")
        return load("digits")


def to_float(images) -> tf.Tensor:
    """Convert uint8 images of any shape to float32: 0 becomes -1 and 255 becomes 1, the range of the generator's tanh.

    Anything but uint8 is a TypeError, so that nothing is scaled twice.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8:
        raise TypeError(f"images must be uint8 in [0, 255], got {images.dtype.name}: were they converted already?")
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def to_uint8(images) -> np.ndarray:
    """Convert float images of any shape in [-1, 1] to uint8, clipping what is outside; NaN is a ValueError."""
    images = np.asarray(images)
    if not tf.as_dtype(images.dtype).is_floating:
        raise TypeError(f"images must be floating point in [-1, 1], got {images.dtype}")
    if np.isnan(images).any():
        raise DataError("images hold NaN: the model that made them has diverged; train it again, at a lower rate")

    return np.clip(np.round((images.astype(np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def batches(
    images: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    labels: np.ndarray | None = None,
    drop_remainder: bool = True,
    endless: bool = False,
    skip: int = 0,
) -> tf.data.Dataset:
    """Serve shuffled training batches: each pass over the result is one epoch, in another order each time.

    A batch is float32 (batch_size, 28, 28, 1) in [-1, 1]; or, with labels uint8 (n,), a dict of `images` and `labels`.
    Only indices are shuffled, and the uint8 (n, 28, 28, 1) images stay so in memory: a quarter of what float32 takes.

    Args:
        seed: of the order. With the same seed, here and in `keras.utils.set_random_seed`, any process sees the same
            sequence of epochs.
        drop_remainder: leave out the last n % batch_size images of each epoch (others each time), so that all batches
            weigh the same and the step is compiled for one shape; False serves them as a shorter batch.
        endless: go from epoch to epoch without an end, for `fit(steps_per_epoch=...)`.
        skip: batches to leave out at the start, to continue where an earlier process stopped.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 in [0, 255], got {images.dtype}")
    if batch_size not in range(1, len(images) + 1):
        raise ValueError(f"batch_size must be from 1 to the {len(images)} images there are, got {batch_size!r}")
    if skip < 0:
        raise ValueError(f"skip must be at least 0, got {skip}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels must be as many as the {len(images)} images, got {len(labels)}")

    order = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    order = order.batch(batch_size, drop_remainder=drop_remainder).repeat(None if endless else 1).skip(skip)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread was seen to hold up the end of `fit` for half a minute
    order = order.with_options(options)

    pixels, classes = tf.constant(images), None if labels is None else tf.constant(labels)

    def serve(rows):
        served = to_float(tf.gather(pixels, rows))
        return served if classes is None else {"images": served, "labels": tf.gather(classes, rows)}

    return order.map(serve, num_parallel_calls=2).prefetch(2)


def _load_mnist() -> Dataset:
    for folder in _folders():
        if os.path.lexists(folder / "mnist.npz"):
            return _read_npz(folder / "mnist.npz", "mnist")
        if any(_idx_path(folder, stem) for stem in IDX_FILES):
            return _read_idx(folder)

    if os.environ.get("GAN_TF_OFFLINE"):
        raise DataError("no mnist.npz found and GAN_TF_OFFLINE forbids a download; unset it or set GAN_TF_DATA")
    return _download()


def _folders() -> list[Path]:
    """Return where to look, in order; a folder that the user named must exist."""
    named = os.environ.get("GAN_TF_DATA")
    if named and not (os.path.isdir(named) and os.access(named, os.R_OK | os.X_OK)):
        raise DataError(f"GAN_TF_DATA names {named!r}, which is not a folder that can be read; correct it or unset it")

    keras_home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return [*([Path(named)] if named else []), DATA_DIR, keras_home / "datasets"]


@contextlib.contextmanager
def _failures_named(path: Path):
    """Turn whatever a bad file raises in the libraries below into one line that names the file."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is a folder or a device, not a file; move it away")

    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, gzip and NumPy raise many kinds, not all of them documented
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{path} cannot be read: {error.strerror}; check the file and its permissions") from error
        raise DataError(f"{path} is damaged or not a dataset ({one_line(error)}); delete it and load again") from error


def _read_npz(path: Path, name: str) -> Dataset:
    with _failures_named(path):
        sizes = (8 * int(np.prod(shape)) for shape in SHAPES[name])  # as float64: then the dtype can be told as wrong
        arrays = read_arrays(path, dict(zip(ARRAYS, sizes, strict=True)))
    return _verified(name, arrays, path)


def _idx_path(folder: Path, stem: str) -> Path | None:
    names = [stem, f"{stem}.gz", stem.replace("-idx", ".idx"), f"{stem.replace('-idx', '.idx')}.gz"]
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)


def _read_idx(folder: Path) -> Dataset:
    arrays = {}
    for array, stem, shape in zip(ARRAYS, IDX_FILES, SHAPES["mnist"], strict=True):
        path = _idx_path(folder, stem)
        if path is None:
            raise DataError(f"{folder} holds only part of MNIST: add {stem}, or {stem}.gz")

        header = b"".join(number.to_bytes(4, "big") for number in (2048 + len(shape), *shape))
        size = len(header) + int(np.prod(shape))
        with _failures_named(path), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(size + 1)

        if content[: len(header)] != header or len(content) != size:
            raise DataError(f"{path} is not an IDX file of shape {shape} and {size:,} bytes; replace it")

        arrays[array] = np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
    return _verified("mnist", arrays, folder)


def _verified(name: str, arrays: dict[str, np.ndarray], path: Path) -> Dataset:
    for array, shape, digest in zip(ARRAYS, SHAPES[name], DIGESTS[name], strict=True):
        found = arrays[array]
        if found.dtype != np.uint8 or found.shape != shape:
            raise DataError(f"{path}: {array} is {found.dtype} {found.shape}, should be uint8 {shape}; replace it")
        if _digest(found) != digest:
            raise DataError(f"{path}: {array} is not that of {TITLES[name]} (its SHA-256 differs); replace it")
    x_train, y_train, x_test, y_test = arrays.values()
    return Dataset(name, x_train[..., np.newaxis], y_train, x_test[..., np.newaxis], y_test)


def _download() -> Dataset:
    """Download mnist.npz into a folder of its own inside `data/`, verify it, and only then give it its name."""
    try:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=DATA_DIR, prefix=".download-", ignore_cleanup_errors=True) as folder:
            path = Path(folder, "mnist.npz")
            _fetch(MNIST_URL, path)
            try:
                dataset = _read_npz(path, "mnist")
            except DataError as error:
                raise DataError(f"what came from {MNIST_URL} is not MNIST; put mnist.npz into {DATA_DIR}") from error
            os.replace(path, DATA_DIR / "mnist.npz")
            return dataset
    except OSError as error:
        raise DataError(f"{DATA_DIR} cannot take MNIST ({one_line(error)}); repair it or set GAN_TF_DATA") from error


def _fetch(url: str, path: Path) -> None:
    """Download a file, and give up when no byte comes for a while, or not all of them in time."""
    end = time.monotonic() + DOWNLOAD_SECONDS
    try:
        with urllib.request.urlopen(url, timeout=STALL_SECONDS) as answer, open(path, "wb") as file:
            size = int(answer.headers["Content-Length"] or 0)
            with tqdm(total=size or None, desc=path.name, unit="B", unit_scale=True, leave=False) as bar:
                while part := answer.read1(1 << 16):  # what has come, without a wait for more
                    file.write(part)
                    bar.update(len(part))
                    if time.monotonic() > end:
                        raise TimeoutError(f"not all of it in {DOWNLOAD_SECONDS} s")

            if file.tell() < size:
                raise EOFError(f"incomplete, {file.tell():,} of {size:,} bytes")
    except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
        reason = one_line(error)
        raise DataError(f"the download failed ({reason}); put mnist.npz into {DATA_DIR} or set GAN_TF_DATA") from error

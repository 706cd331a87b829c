"""What a dataset is, and the published ones: files on disk -> verified uint8 arrays.

A published dataset is looked for as `NAME.npz` or as the four IDX files (plain or `.gz`) in $GAN_TF_DATA, in `data/`
and in Keras's cache; the IDX files of one may also lie in a folder of its name there.
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
from tqdm import tqdm

from gan_tf import Error
from gan_tf.files import one_line
from gan_tf.untrusted import read_arrays

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
OF_28 = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
SHAPES = {
    "mnist": OF_28,
    "fashion_mnist": OF_28,
    "kmnist": OF_28,
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
PACKED_DIGESTS = {  # MD5 of each `.gz` file, all that the authors of these two publish
    "fashion_mnist": (  # github.com/zalandoresearch/fashion-mnist
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": (  # codh.rois.ac.jp/kmnist, as torchvision has them
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}
TITLES = {"mnist": "MNIST", "digits": "bundled digits", "fashion_mnist": "Fashion-MNIST", "kmnist": "Kuzushiji-MNIST"}
CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
STALL_SECONDS = 15  # a download gives up after so long without a byte
DOWNLOAD_SECONDS = 120  # and after so long in all
CHECKOUT = Path(__file__).resolve().parent.parent
DATA_DIR = (CHECKOUT if (CHECKOUT / "pyproject.toml").exists() else Path.cwd()) / "data"


def _digest(array: np.ndarray | None) -> str:
    return hashlib.sha256(b"" if array is None else np.ascontiguousarray(array)).hexdigest()


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


class DataError(Error):
    """A dataset that cannot be used; the message names the file and says what to do."""


class Dataset(NamedTuple):
    """Images and labels, for training and for testing: uint8 (n, height, width, channels), and (n,) or None."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    class_names: tuple[str, ...] = ()  # of the labels 0, 1, ...; none where the names are the numbers
    files: dict[str, str] = {}  # noqa: RUF012, never written to: of a folder's pictures, each with its SHA-256

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.x_train.shape[1:]

    @property
    def classes(self) -> int:
        """How many labels there are; 0 without any."""
        if self.y_train is None:
            return 0
        return len(self.class_names) or 1 + int(max(self.y_train.max(), self.y_test.max(initial=0)))

    def rows(self, part: str, chosen) -> tuple[np.ndarray, np.ndarray | None]:
        """Return images and labels of some rows, a slice or an index, of a part, "train" or "test"."""
        images, labels = (getattr(self, f"{axis}_{part}") for axis in "xy")
        return images[chosen], None if labels is None else labels[chosen]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the four arrays: what a run keeps, to know its data again."""
        return _joined(map(_digest, (self.x_train, self.y_train, self.x_test, self.y_test)))

    def __repr__(self) -> str:
        title, train, test = title_of(self.name, self.digest), len(self.x_train), len(self.x_test)
        classes = f"{self.classes} classes" if self.classes else "no labels"
        return f"{title}: {train:,} training and {test:,} test images, uint8 {self.image_shape}, {classes}"


def title_of(name: str, digest: str) -> str:
    """Return what to call a dataset for people, and whether the digest says that it is no longer what it was."""
    changed = name in DIGESTS and digest != _joined(DIGESTS[name])
    return TITLES.get(name, name) + (", changed" if changed else "")


def load_bundled() -> Dataset:
    """Load the digits that come with the package."""
    installed = Path(__file__).with_name("digits.npz")
    return _read_npz(installed if installed.exists() else CHECKOUT / "data" / "digits.npz", "digits")


def load_published(name: str) -> Dataset:
    """Load "mnist", "fashion_mnist" or "kmnist", and download the first where it is not there.

    Raises:
        DataError: it is not there, or a file is damaged or not what was published.
    """
    for folder in _folders():
        if os.path.lexists(folder / f"{name}.npz"):
            return _read_npz(folder / f"{name}.npz", name)
        own = [] if name == "mnist" else [folder / name, folder / name.replace("_", "-")]
        for place in (*own, folder):
            if any(_idx_path(place, stem) for stem in IDX_FILES) and (found := _read_idx(place, name)):
                return found

    if name != "mnist":
        place = Path(os.environ.get("GAN_TF_DATA") or DATA_DIR, name)
        raise DataError(f"no {TITLES[name]} found: put its four files, {IDX_FILES[0]}.gz and so on, into {place}")
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


def _read_idx(folder: Path, name: str) -> Dataset | None:
    """Read the four files of a folder, or return None where they are those of another published dataset."""
    arrays, packed = {}, []
    for array, stem, shape in zip(ARRAYS, IDX_FILES, SHAPES[name], strict=True):
        path = _idx_path(folder, stem)
        if path is None:
            raise DataError(f"{folder} holds only part of {TITLES[name]}: add {stem}, or {stem}.gz")

        header = b"".join(number.to_bytes(4, "big") for number in (2048 + len(shape), *shape))
        size = len(header) + int(np.prod(shape))
        with _failures_named(path), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(size + 1)

        if content[: len(header)] != header or len(content) != size:
            raise DataError(f"{path} is not an IDX file of shape {shape} and {size:,} bytes; replace it")

        arrays[array] = np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
        if path.suffix == ".gz":
            packed.append(hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())

    found = tuple(map(_digest, arrays.values()))
    if any(tuple(packed) == PACKED_DIGESTS.get(other) or found == DIGESTS.get(other) for other in {*TITLES} - {name}):
        return None
    return _verified(name, arrays, folder, tuple(packed))


def _verified(name: str, arrays: dict[str, np.ndarray], path: Path, packed: tuple[str, ...] = ()) -> Dataset:
    for array, shape in zip(ARRAYS, SHAPES[name], strict=True):
        found = arrays[array]
        if found.dtype != np.uint8 or found.shape != shape:
            raise DataError(f"{path}: {array} is {found.dtype} {found.shape}, should be uint8 {shape}; replace it")

    published, digests = (
        (DIGESTS[name], map(_digest, arrays.values())) if name in DIGESTS else (PACKED_DIGESTS[name], packed)
    )
    if name not in DIGESTS and len(packed) < len(ARRAYS):
        print(f"{TITLES[name]} in {path}: not verified, because digests are published of the four .gz files alone")
        published = digests = ()
    for array, expected, digest in zip(ARRAYS, published, digests, strict=False):
        if digest != expected:
            raise DataError(f"{path}: {array} is not that of {TITLES[name]} (its digest differs); replace it")

    x_train, y_train, x_test, y_test = arrays.values()
    names = CLASS_NAMES.get(name, ())
    return Dataset(name, x_train[..., np.newaxis], y_train, x_test[..., np.newaxis], y_test, names)


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

"""Loading, converting and batching, with a fake MNIST of 17 images of 4x4 pixels in the place of the real one.

Only `test_the_real_mnist` needs the real files, and is skipped without them.
"""

import builtins
import errno
import functools
import gzip
import hashlib
import http.server
import importlib.util
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from gan_tf import UsageError, data, datasets

SHAPES = ((12, 4, 4), (12,), (5, 4, 4), (5,))
REMEDIES = re.compile(
    r"delete it|replace it|put its four files|move it away|check the file|add train|add t10k|put mnist.npz|"
    r"set GAN_TF_DATA"
)


def fake_arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    limits = (256, 10, 256, 10)
    return {
        name: random.integers(0, limit, shape, np.uint8)
        for name, limit, shape in zip(datasets.ARRAYS, limits, SHAPES, strict=True)
    }


def digests(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in datasets.ARRAYS)


@pytest.fixture
def arrays(monkeypatch, tmp_path) -> dict[str, np.ndarray]:
    """Make the fake MNIST the one to look for, and let it be looked for in empty folders of `tmp_path` only."""
    arrays = fake_arrays()
    monkeypatch.setitem(datasets.SHAPES, "mnist", SHAPES)
    monkeypatch.setitem(datasets.DIGESTS, "mnist", digests(arrays))
    monkeypatch.setattr(datasets, "DATA_DIR", tmp_path / "data")
    monkeypatch.setattr(datasets, "MNIST_URL", "http://127.0.0.1:9/nobody/listens/here/mnist.npz")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("GAN_TF_OFFLINE", "1")
    monkeypatch.setenv("GAN_TF_DATA", str(tmp_path / "named"))
    for folder in ("named", "data", "keras/datasets"):
        (tmp_path / folder).mkdir(parents=True)
    return arrays


@pytest.fixture
def named(arrays, tmp_path) -> Path:
    """Return the folder that GAN_TF_DATA names."""
    return tmp_path / "named"


def assert_same(dataset: data.Dataset, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        found = getattr(dataset, name)
        assert found.dtype == np.uint8
        assert found.flags.writeable
        np.testing.assert_array_equal(found, array if array.ndim == 1 else array[..., np.newaxis])


def refusal(*parts: object, name: str = "mnist") -> str:
    """Assert that loading fails with one line that holds the parts and says what to do; return that line."""
    with pytest.raises(data.DataError) as caught:
        data.load(name)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    for part in parts:
        assert str(part) in message
    assert REMEDIES.search(message), f"no remedy in: {message}"
    return message


# The containers: one content, five kinds of file.


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def idx(array: np.ndarray) -> bytes:
    """Return the bytes of an IDX file as LeCun describes it: 0, 0, 8 for uint8, the rank, the sizes, the content."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder: Path, arrays: dict[str, np.ndarray], suffix: str = "") -> None:
    for name, stem in zip(datasets.ARRAYS, datasets.IDX_FILES, strict=True):
        content = idx(arrays[name])
        (folder / (stem + suffix)).write_bytes(gzip.compress(content) if suffix == ".gz" else content)


def write_idx_with_dots(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    write_idx(folder, arrays)
    for stem in datasets.IDX_FILES:
        (folder / stem).rename(folder / stem.replace("-idx", ".idx"))


CONTAINERS = {
    "npz": lambda folder, arrays: write_npz(folder / "mnist.npz", arrays),
    "npz, not compressed": lambda folder, arrays: np.savez(folder / "mnist.npz", **arrays),
    "npz, Fortran order": lambda folder, arrays: np.savez(
        folder / "mnist.npz", **{name: np.asfortranarray(array) for name, array in arrays.items()}
    ),
    "npz, arrays in another order": lambda folder, arrays: np.savez(
        folder / "mnist.npz", **dict(reversed(arrays.items()))
    ),
    "IDX": write_idx,
    "IDX, gzipped": lambda folder, arrays: write_idx(folder, arrays, ".gz"),
    "IDX, named with a dot": write_idx_with_dots,
}


@pytest.mark.parametrize("write", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_gives_the_same_arrays(write, arrays, named):
    write(named, arrays)
    dataset = data.load("mnist")
    assert_same(dataset, arrays)
    assert digests(dataset._asdict()) == datasets.DIGESTS["mnist"]


def test_a_dataset_introduces_itself(arrays, named):
    write_npz(named / "mnist.npz", arrays)
    assert repr(data.load("mnist")).startswith("MNIST: 12 training and 5 test images, uint8")
    assert data.load("mnist").digest != data.load("digits").digest


WHOLE = {  # what runs and reports have kept since 0.1
    "mnist": "c473ce9de4170e6fe7638543697b7512b19cc4b2c68279feabf4a085461033dd",
    "digits": "66d03ef0c29af942394aa73aab60fa527810498cce3109154d77fbcd6e8ba7f2",
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_digest_of_a_whole_dataset_stays(name):
    assert hashlib.sha256("".join(datasets.DIGESTS[name]).encode()).hexdigest() == WHOLE[name]
    if name == "digits":  # those of MNIST, where they are: test_the_real_mnist
        assert data.load(name).digest == WHOLE[name]


@pytest.mark.parametrize(
    "change",
    [
        lambda digits: {"x_train": digits.x_train[:100], "y_train": digits.y_train[:100]},
        lambda digits: {"x_train": 255 - digits.x_train},
        lambda digits: {"y_test": digits.y_test[::-1]},
        lambda digits: {"name": "mnist"},
        lambda digits: {"name": "my own"},
    ],
    ids=["fewer", "negative", "other labels", "another's name", "a name of its own"],
)
def test_what_was_changed_no_longer_claims_to_be_the_dataset(change):
    digits = data.load("digits")
    changes = change(digits)
    other = digits._replace(**changes)
    assert (other.digest == digits.digest) == (set(changes) == {"name"})  # the digest is of the images and labels
    expected = {"digits": "bundled digits, changed", "mnist": "MNIST, changed", "my own": "my own"}[other.name]
    assert repr(other).startswith(f"{expected}: ")
    assert datasets.title_of("digits", digits.digest) == "bundled digits"
    assert repr(digits).startswith("bundled digits: ")


# Fashion-MNIST and Kuzushiji-MNIST, whose files have the names of MNIST's.

OTHERS = ("fashion_mnist", "kmnist")


@pytest.fixture
def other(arrays, monkeypatch) -> dict[str, np.ndarray]:
    """Make fakes of both datasets, of the shapes of the fake MNIST, and return the first."""
    made = {name: {key: value[::-1] // (2 + i) for key, value in arrays.items()} for i, name in enumerate(OTHERS)}
    for name, fakes in made.items():
        packed = (hashlib.md5(gzip.compress(idx(fakes[key]), mtime=0)).hexdigest() for key in datasets.ARRAYS)
        monkeypatch.setitem(datasets.SHAPES, name, SHAPES)
        monkeypatch.setitem(datasets.PACKED_DIGESTS, name, tuple(packed))
    return made["fashion_mnist"]


def write_gz_idx(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    for name, stem in zip(datasets.ARRAYS, datasets.IDX_FILES, strict=True):
        (folder / f"{stem}.gz").write_bytes(gzip.compress(idx(arrays[name]), mtime=0))


@pytest.mark.parametrize("place", ["", "fashion_mnist", "fashion-mnist"])
def test_packed_files_of_another_published_dataset_are_verified(place, other, named, capsys):
    write_gz_idx(named / place, other)
    dataset = data.load("fashion_mnist")
    assert_same(dataset, other)
    assert dataset.name == "fashion_mnist"
    assert dataset.class_names[9] == "Ankle boot"
    assert "not verified" not in capsys.readouterr().out
    assert repr(dataset) == "Fashion-MNIST: 12 training and 5 test images, uint8 (4, 4, 1), 10 classes"


def test_packed_files_of_another_content_are_refused(other, named):
    write_gz_idx(named, other | {"x_test": 255 - other["x_test"]})
    refusal(named, "x_test is not that of Fashion-MNIST (its digest differs)", name="fashion_mnist")


@pytest.mark.parametrize("container", ["npz", "idx"])
def test_unpacked_files_are_taken_with_a_line_that_says_so(container, other, named, capsys):
    if container == "npz":
        write_npz(named / "fashion_mnist.npz", other)
    else:
        write_idx(named, other)
    assert_same(data.load("fashion_mnist"), other)
    assert "not verified, because digests are published of the four .gz files alone" in capsys.readouterr().out


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_mnist_are_not_taken_for_another_and_are_passed_over(packed, arrays, other, named):
    if packed:
        write_gz_idx(named, arrays)
    else:
        write_idx(named, arrays)
    refusal("no Fashion-MNIST found: put its four files", name="fashion_mnist")
    write_gz_idx(named / "fashion_mnist", other)
    assert_same(data.load("fashion_mnist"), other)
    assert_same(data.load("mnist"), arrays)


def test_one_of_the_two_is_not_taken_for_the_other(other, named):
    write_gz_idx(named, other)
    refusal("no Kuzushiji-MNIST found", name="kmnist")
    refusal("no mnist.npz found", name="mnist")


def test_the_published_digests_are_those_of_the_files():
    """Each is an MD5 of 32 digits, and none is there twice."""
    digests = [digest for name in OTHERS for digest in datasets.PACKED_DIGESTS[name]]
    assert len({digest for digest in digests if re.fullmatch("[0-9a-f]{32}", digest)}) == 8


# Where it looks. The files that must not be read are damaged, so that reading one of them fails.

FOLDERS = ("named", "data", "keras/datasets")


@pytest.mark.parametrize("first", range(3))
def test_the_first_folder_that_has_it_is_used(first, arrays, tmp_path):
    write_npz(tmp_path / FOLDERS[first] / "mnist.npz", arrays)
    for later in FOLDERS[first + 1 :]:
        (tmp_path / later / "mnist.npz").write_text("damaged", encoding="utf-8")
    assert_same(data.load("mnist"), arrays)


@pytest.mark.parametrize("first", range(3))
def test_a_damaged_file_is_not_passed_over_in_silence(first, arrays, tmp_path):
    (tmp_path / FOLDERS[first] / "mnist.npz").write_text("damaged", encoding="utf-8")
    for later in FOLDERS[first + 1 :]:
        write_npz(tmp_path / later / "mnist.npz", arrays)
    refusal(tmp_path / FOLDERS[first] / "mnist.npz")


def test_npz_comes_before_idx(arrays, named):
    write_npz(named / "mnist.npz", arrays)
    (named / datasets.IDX_FILES[0]).write_text("damaged", encoding="utf-8")
    assert_same(data.load("mnist"), arrays)


@pytest.mark.parametrize("value", [None, ""])
def test_without_gan_tf_data_the_search_begins_in_data(value, arrays, tmp_path, monkeypatch):
    write_npz(tmp_path / "named" / "mnist.npz", {})
    write_npz(tmp_path / "data" / "mnist.npz", arrays)
    monkeypatch.delenv("GAN_TF_DATA") if value is None else monkeypatch.setenv("GAN_TF_DATA", value)
    assert_same(data.load("mnist"), arrays)


@pytest.mark.parametrize("value", ["missing", "file", "file/below", "x" * 5000])
def test_gan_tf_data_must_name_a_folder(value, arrays, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    write_npz(tmp_path / "data" / "mnist.npz", arrays)
    monkeypatch.setenv("GAN_TF_DATA", str(tmp_path / value) if len(value) < 100 else value)
    with pytest.raises(data.DataError, match=rf"GAN_TF_DATA names .*{value[:100]}.* unset it"):
        data.load("mnist")


def test_gan_tf_data_must_be_readable(arrays, named, monkeypatch):
    """The permission is refused by a stand-in, because root may read everything."""
    write_npz(named / "mnist.npz", arrays)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(data.DataError, match=f"GAN_TF_DATA names '{named}', which is not a folder that can be read"):
        data.load("mnist")


def test_nothing_found_and_no_download_allowed(arrays):
    refusal("GAN_TF_OFFLINE", "GAN_TF_DATA")


@pytest.mark.parametrize("name", ["MNIST", "", None, "cifar10", 0])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UsageError, match="name must be one of auto, mnist, digits, fashion_mnist, kmnist, or a folder"):
        data.load(name)


# Bad .npz files.

HTML = b"<!DOCTYPE html>\n<html><body>Please log in to the\nnetwork</body></html>\n"


def one_bit_changed(images: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[3, 2, 1] ^= 1
    return changed


# what is changed in a good dataset, and what the message says of it
BAD_CONTENT = {
    "other labels": (lambda a: {"y_train": (a["y_train"] + 1) % 10}, "y_train is not that of MNIST"),
    "labels in another order": (lambda a: {"y_train": a["y_train"][::-1]}, "y_train is not that of MNIST"),
    "training labels for testing": (lambda a: {"y_test": a["y_train"][:5]}, "y_test is not that of MNIST"),
    "images in another order": (lambda a: {"x_train": a["x_train"][::-1]}, "x_train is not that of MNIST"),
    "images transposed": (lambda a: {"x_test": a["x_test"].swapaxes(1, 2)}, "x_test is not that of MNIST"),
    "images negative": (lambda a: {"x_train": 255 - a["x_train"]}, "x_train is not that of MNIST"),
    "one bit of one pixel": (lambda a: {"x_train": one_bit_changed(a["x_train"])}, "x_train is not that of MNIST"),
    "training and test swapped": (lambda a: {"x_train": a["x_test"], "x_test": a["x_train"]}, "uint8 (5, 4, 4)"),
    "images and labels swapped": (lambda a: {"x_train": a["y_train"], "y_train": a["x_train"]}, "uint8 (12,)"),
    "one image too few": (lambda a: {"x_train": a["x_train"][1:]}, "(11, 4, 4), should be uint8 (12, 4, 4)"),
    "images flattened": (lambda a: {"x_train": a["x_train"].reshape(12, 16)}, "(12, 16), should be uint8 (12, 4, 4)"),
    "images with a channel": (lambda a: {"x_train": a["x_train"][..., np.newaxis]}, "x_train is uint8 (12, 4, 4, 1)"),
    "no image": (lambda a: {"x_train": a["x_train"][:0]}, "x_train is uint8 (0, 4, 4)"),
    "a number": (lambda a: {"y_test": np.uint8(7)}, "y_test is uint8 ()"),
    "images from 0 to 1": (lambda a: {"x_train": (a["x_train"] / 255).astype(np.float32)}, "x_train is float32"),
    "images as float64": (lambda a: {"x_train": a["x_train"].astype(np.float64)}, "x_train is float64"),
    "images as int8": (lambda a: {"x_train": a["x_train"].view(np.int8)}, "x_train is int8"),
    "labels as int64": (lambda a: {"y_train": a["y_train"].astype(np.int64)}, "y_train is int64"),
    "labels as text": (lambda a: {"y_test": a["y_test"].astype("U1")}, "y_test is <U1"),
    "pixels as bool": (lambda a: {"x_train": a["x_train"] > 127}, "x_train is bool"),
}


@pytest.mark.parametrize("case", BAD_CONTENT)
def test_other_content_is_refused(case, arrays, named):
    change, phrase = BAD_CONTENT[case]
    write_npz(named / "mnist.npz", arrays | change(arrays))
    refusal(named / "mnist.npz", phrase)


BAD_FILES = {
    "empty": b"",
    "one byte": b"P",
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "HTML": HTML,
    "an .npy file": npy(np.zeros((12, 4, 4), np.uint8)),
    "a gzip file": gzip.compress(bytes(100)),
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_what_is_no_npz_is_refused(content, arrays, named):
    (named / "mnist.npz").write_bytes(content)
    refusal(named / "mnist.npz", "is damaged or not a dataset")


def npy_header(text: str) -> bytes:
    """Return the beginning of an .npy file, with a text in the place of the description, and the 192 bytes that fit."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(192)


def header_of(shape: str, dtype: str = "|u1") -> bytes:
    return npy_header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n")


def write_with_member(path: Path, arrays: dict, content: bytes, *, method=zipfile.ZIP_DEFLATED, **index) -> None:
    """Write an .npz file with these bytes as x_train.npy, and anything you like in the zip file's index about them."""
    members = {name: npy(array) for name, array in arrays.items()} | {"x_train": content}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
        for field, value in index.items():
            setattr(archive.getinfo("x_train.npy"), field, value)


BAD_MEMBERS = {
    "empty": b"",
    "HTML": HTML,
    "an .npz file": b"PK\x05\x06" + bytes(18),
    "one byte short": header_of("(12, 4, 4)")[:-1],
    "a header that is no Python": npy_header("{'descr': (\n"),
    "a header that nests too deep": npy_header("[" * 500),
    "a header of many lines": npy_header("a,\n" * 500),
    "a shape that is a formula": header_of("(10**15,)"),
    "a shape of gigabytes": header_of("(4000000000,)"),
    "a shape of petabytes": header_of("(4000000000000000,)"),
    "a shape past 64 bits": header_of("(1" + "0" * 30 + ",)"),
    "a negative shape": header_of("(-12, 4, 4)"),
}


@pytest.mark.parametrize("content", BAD_MEMBERS.values(), ids=BAD_MEMBERS)
def test_what_is_no_array_is_refused(content, arrays, named):
    write_with_member(named / "mnist.npz", arrays, content)
    refusal(named / "mnist.npz", "is damaged or not a dataset")


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ({"flag_bits": 0x01}, "encrypted"),
        ({"flag_bits": 0x20}, "compressed patched data"),
        ({"flag_bits": 0x40}, "strong encryption"),
        ({"file_size": 300}, "Bad CRC-32"),
        ({"file_size": 1 << 40}, "x_train is too large (1,099,511,627,776 bytes) or"),
        ({"CRC": 0}, "Bad CRC-32"),
        ({"header_offset": 1 << 20}, "damaged"),
        ({"compress_type": 97}, "or oddly packed"),
        ({"method": zipfile.ZIP_BZIP2}, "or oddly packed"),
        ({"method": zipfile.ZIP_LZMA}, "or oddly packed"),
    ],
    ids=str,
)
def test_an_odd_zip_file_is_refused(changed, phrase, arrays, named):
    write_with_member(named / "mnist.npz", arrays, npy(arrays["x_train"]))
    assert_same(data.load("mnist"), arrays)
    write_with_member(named / "mnist.npz", arrays, npy(arrays["x_train"]), **changed)
    refusal(named / "mnist.npz", phrase)


def test_another_dataset_is_not_taken_for_mnist(arrays, named):
    (named / "mnist.npz").write_bytes((datasets.CHECKOUT / "data" / "digits.npz").read_bytes())
    refusal(named / "mnist.npz", "x_train is too large (1,176,128 bytes) or")


NOT_FILES = {
    "a folder": (lambda path: path.mkdir(), "is a folder or a device"),
    "a pipe": (lambda path: os.mkfifo(path), "is a folder or a device"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "cannot be read: No such file"),
    "a link to itself": (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
}


@pytest.mark.parametrize("file", ["mnist.npz", datasets.IDX_FILES[2], datasets.IDX_FILES[2] + ".gz"])
@pytest.mark.parametrize("case", NOT_FILES)
def test_what_is_no_file_is_refused(case, file, arrays, named):
    make, phrase = NOT_FILES[case]
    write_idx(named, arrays, Path(file).suffix.replace(".npz", ""))
    (named / file).unlink(missing_ok=True)
    make(named / file)
    refusal(named / file, phrase)


@pytest.mark.parametrize("missing", datasets.ARRAYS)
def test_each_array_must_be_there(missing, arrays, named):
    write_npz(named / "mnist.npz", {name: array for name, array in arrays.items() if name != missing})
    refusal(named / "mnist.npz", f"There is no item named '{missing}.npy'")


def test_a_file_cut_anywhere_is_refused(arrays, named):
    path = named / "mnist.npz"
    write_npz(path, arrays)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)
    path.write_bytes(whole)
    assert_same(data.load("mnist"), arrays)


def test_a_flipped_bit_anywhere_is_refused_or_harmless(arrays, named):
    """A date in the zip file may change, a pixel may not: what comes out is a refusal or the right arrays."""
    path = named / "mnist.npz"
    write_npz(path, arrays)
    whole, harmless = path.read_bytes(), 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            dataset = data.load("mnist")
        except data.DataError as error:
            assert str(path) in str(error)  # noqa: PT017 (both outcomes are right)
        else:
            assert_same(dataset, arrays)
            harmless += 1
    assert 0 < harmless < len(whole) / 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("file", ["mnist.npz", datasets.IDX_FILES[1], datasets.IDX_FILES[1] + ".gz"])
def test_a_file_that_the_system_refuses_to_read(file, number, arrays, named, monkeypatch):
    """The error is raised by a stand-in for `open`, because root may read everything."""
    write_npz(named / file, arrays) if file == "mnist.npz" else write_idx(named, arrays, Path(file).suffix)
    real_open = builtins.open

    def refusing_open(path, *arguments, **options):
        if str(path) == str(named / file):
            raise OSError(number, os.strerror(number), str(path))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refusing_open)
    monkeypatch.setattr(io, "open", refusing_open)
    refusal(named / file, os.strerror(number), "check the file and its permissions")


class Trap:
    """Unpickling an object of this class creates a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def write_gz(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


TRAPS = {
    "an object array": lambda at, a, trap: write_npz(at / "mnist.npz", a | {"x_train": np.array([trap])}),
    "objects for labels": lambda at, a, trap: write_npz(at / "mnist.npz", a | {"y_test": np.array([trap] * 5)}),
    "a pickle in an .npz": lambda at, a, trap: write_with_member(at / "mnist.npz", a, pickle.dumps(trap)),
    "a pickle for an .npz": lambda at, a, trap: (at / "mnist.npz").write_bytes(pickle.dumps(trap)),
    "a pickle for an IDX file": lambda at, a, trap: (at / datasets.IDX_FILES[0]).write_bytes(pickle.dumps(trap)),
    "a pickle, gzipped": lambda at, a, trap: write_gz(at / f"{datasets.IDX_FILES[0]}.gz", pickle.dumps(trap)),
}


@pytest.mark.parametrize("write", TRAPS.values(), ids=TRAPS)
def test_no_code_in_a_data_file_is_run(write, arrays, named, tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Trap(marker))).close()
    assert marker.exists(), "the trap must be a live one"
    marker.unlink()
    write(named, arrays, Trap(marker))
    refusal(named)
    assert not marker.exists()


# Bad IDX files: a good set, of which one file is then spoiled.


BAD_IDX = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:7],
    "header only": lambda content: content[:16],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "a labels file": lambda content: idx(np.zeros(12, np.uint8)),
    "the other images": lambda content: idx(fake_arrays()["x_test"]),
    "float content": lambda content: b"\0\0\x0d\3" + content[4:],
    "little-endian": lambda content: np.frombuffer(content[:16], ">u4").astype("<u4").tobytes() + content[16:],
    "a header that claims 2^96 bytes": lambda content: content[:4] + b"\xff" * 12 + content[16:],
    "HTML": lambda content: HTML,
    "an .npy file": lambda content: npy(fake_arrays()["x_train"]),
    "a gzip file": gzip.compress,
    "a megabyte too long": lambda content: content + bytes(1 << 20),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("case", BAD_IDX)
def test_a_bad_idx_file_is_refused(case, suffix, arrays, named):
    write_idx(named, arrays, suffix)
    path = named / (datasets.IDX_FILES[0] + suffix)
    content = BAD_IDX[case](idx(arrays["x_train"]))
    write_gz(path, content) if suffix else path.write_bytes(content)
    refusal(path, "is not an IDX file of shape (12, 4, 4)")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("stem", datasets.IDX_FILES)
def test_a_missing_idx_file_is_named(stem, suffix, arrays, named):
    write_idx(named, arrays, suffix)
    (named / (stem + suffix)).unlink()
    refusal(named, f"holds only part of MNIST: add {stem}")


def test_mislabelled_idx_files_are_refused(arrays, named):
    write_idx(named, arrays | {"y_train": arrays["y_train"][::-1]})
    refusal(named, "y_train is not that of MNIST")


def test_a_gz_file_that_is_not_gzipped(arrays, named):
    write_idx(named, arrays)
    (named / datasets.IDX_FILES[0]).rename(named / f"{datasets.IDX_FILES[0]}.gz")
    refusal(named / f"{datasets.IDX_FILES[0]}.gz", "Not a gzipped file")


def test_a_gz_file_cut_or_flipped_anywhere_is_refused_or_harmless(arrays, named):
    write_idx(named, arrays, ".gz")
    path = named / f"{datasets.IDX_FILES[0]}.gz"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position])
        refusal(path)
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        try:
            assert_same(data.load("mnist"), arrays)  # a date or a name in the gzip header
        except data.DataError as error:
            assert str(named) in str(error)  # noqa: PT017 (both outcomes are right)


@functools.cache
def zeros() -> bytes:
    """Return 64 MiB, which compress to 64 kB or less: 300,000 times what the images of the fake MNIST hold."""
    return bytes(64 << 20)


def write_gz_bomb(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    write_idx(folder, arrays, ".gz")
    write_gz(folder / f"{datasets.IDX_FILES[0]}.gz", idx(arrays["x_train"])[:16] + zeros())


BOMBS = {
    "npz": lambda at, a: write_with_member(at / "mnist.npz", a, zeros()),
    "npz that hides its size": lambda at, a: write_with_member(at / "mnist.npz", a, zeros(), file_size=328),
    "npz packed by bzip2": lambda at, a: write_with_member(
        at / "mnist.npz", a, zeros(), file_size=328, method=zipfile.ZIP_BZIP2
    ),
    "gz": write_gz_bomb,
}


@pytest.mark.parametrize("write", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_without_unpacking_it(write, arrays, named):
    """1 MiB is 12 times what the refusals were seen to take, and a 64th of what unpacking takes."""
    write(named, arrays)
    tracemalloc.start()
    refusal(named)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


# Downloads, from a server on this machine.


class Server(http.server.ThreadingHTTPServer):
    """Calls `answer(handler)` for each request and counts them; `closing` is set when the test is over."""

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            self.server.answer(self)

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        self.requests = 0
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/mnist.npz"

    def handle_error(self, *_):
        """A client that gave up is no error."""


@pytest.fixture
def server(arrays, monkeypatch):
    """Yield a server in the place of the one on the Internet; downloads are allowed, and nothing is on disk.

    Nobody gives up because the machine is busy: tests of the limits set their own.
    """
    monkeypatch.delenv("GAN_TF_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    threads = set(threading.enumerate())
    with Server() as server:
        monkeypatch.setattr(datasets, "MNIST_URL", server.url)
        monkeypatch.setattr(datasets, "STALL_SECONDS", 600)
        monkeypatch.setattr(datasets, "DOWNLOAD_SECONDS", 600)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.closing.set()
        server.shutdown()
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)


def body(content: bytes, missing: int = 0):
    """Return an answer that announces `missing` bytes more than it sends."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) + missing))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def hang_after(content: bytes):
    def answer(handler):
        body(content, missing=1000)(handler) if content else None
        handler.server.closing.wait(60)

    return answer


def drip(handler):
    body(b"", missing=100_000)(handler)
    while not handler.server.closing.wait(0.02):
        handler.wfile.write(b"x" * 500)


def redirect_to_itself(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.server.url)
    handler.end_headers()


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_what_is_downloaded_is_kept(server, arrays, tmp_path):
    content = npz_bytes(arrays)
    server.answer = body(content)
    assert_same(data.load("mnist"), arrays)
    assert content_of(tmp_path / "data") == {"mnist.npz": content}
    assert_same(data.load("mnist"), arrays)
    assert server.requests == 1


def test_data_is_made_where_it_is_missing(server, arrays, tmp_path):
    (tmp_path / "data").rmdir()
    server.answer = body(npz_bytes(arrays))
    assert_same(data.load("auto"), arrays)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_good_file_is_never_downloaded_over(folder, server, arrays, tmp_path):
    server.answer = body(npz_bytes({}))
    write_npz(tmp_path / folder / "mnist.npz", arrays)
    before = content_of(tmp_path)
    assert_same(data.load("mnist"), arrays)
    assert content_of(tmp_path) == before
    assert server.requests == 0


def test_gan_tf_offline_sends_no_request(server, arrays, monkeypatch):
    monkeypatch.setenv("GAN_TF_OFFLINE", "1")
    refusal("GAN_TF_OFFLINE")
    assert server.requests == 0


FAILURES = {
    "404": (lambda handler: handler.send_error(404), "404"),
    "500": (lambda handler: handler.send_error(500), "500"),
    "nothing": (lambda handler: None, "without response"),
    "not HTTP": (lambda handler: handler.wfile.write(b"220 ftp ready\r\n"), "220 ftp ready"),
    "an endless redirect": (redirect_to_itself, "infinite loop"),
    "less than announced": (lambda handler: body(npz_bytes(fake_arrays())[:-9], missing=9)(handler), "incomplete"),
    "cut, and announced so": (lambda handler: body(npz_bytes(fake_arrays())[:-9])(handler), "is not MNIST"),
    "an empty file": (body(b""), "is not MNIST"),
    "HTML": (body(HTML), "is not MNIST"),
    "another dataset": (lambda handler: body(npz_bytes({"x_train": np.zeros(3)}))(handler), "is not MNIST"),
    "a bomb": (
        lambda handler: body(npz_bytes({name: np.zeros(1 << 20) for name in datasets.ARRAYS}))(handler),
        "is not MNIST",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_download_leaves_nothing_behind(case, server, tmp_path):
    server.answer, phrase = FAILURES[case]
    (tmp_path / "data" / "digits.npz").write_bytes(b"a good file")
    before = content_of(tmp_path)
    refusal(tmp_path / "data", phrase)
    assert content_of(tmp_path) == before
    assert server.requests >= 1
    assert socket.getdefaulttimeout() is None


# The limit that must end it is below 1 s, the other 600 s: the error says which it was, on a busy machine too.
HANGS = {
    "before the answer": (hang_after(b""), 0.3, 600, "timed out"),
    "in the content": (hang_after(b"PK"), 0.3, 600, "timed out"),
    "never, but drips": (drip, 600, 0.5, "not all of it in 0.5 s"),
}


@pytest.mark.parametrize("case", HANGS)
def test_a_download_that_hangs_is_given_up(case, server, tmp_path, monkeypatch):
    server.answer, stall, most, phrase = HANGS[case]
    monkeypatch.setattr(datasets, "STALL_SECONDS", stall)
    monkeypatch.setattr(datasets, "DOWNLOAD_SECONDS", most)
    start = time.monotonic()
    refusal(tmp_path / "data", phrase)
    assert time.monotonic() - start >= min(stall, most)
    assert content_of(tmp_path / "data") == {}
    assert socket.getdefaulttimeout() is None


def test_nobody_listens(server, tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        monkeypatch.setattr(datasets, "MNIST_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/mnist.npz")
        refusal(tmp_path / "data", "Connection refused")
    assert content_of(tmp_path / "data") == {}


def test_a_file_in_the_place_of_data(server, tmp_path):
    (tmp_path / "data").rmdir()
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    refusal(tmp_path / "data", "File exists")
    assert server.requests == 0
    assert (tmp_path / "data").read_text(encoding="utf-8") == "a file"


@pytest.mark.parametrize(
    ("function", "number"), [("tempfile.mkdtemp", errno.EACCES), ("os.replace", errno.ENOSPC)], ids=["begin", "end"]
)
def test_data_that_cannot_be_written(function, number, server, arrays, tmp_path, monkeypatch):
    """The error is raised by a stand-in, because root may write everywhere and no disk is full."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    server.answer = body(npz_bytes(arrays))
    monkeypatch.setattr(function, fail)
    refusal(tmp_path / "data", os.strerror(number))
    assert content_of(tmp_path / "data") == {}


def test_an_error_without_text_is_still_told(arrays, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise TimeoutError

    monkeypatch.delenv("GAN_TF_OFFLINE")
    monkeypatch.setattr("urllib.request.urlopen", fail)
    refusal(tmp_path / "data", "TimeoutError")


# "auto": MNIST where it can be had, else the digits, and one line that says so.


def nothing_there(tmp_path: Path, monkeypatch) -> str:
    return "GAN_TF_OFFLINE forbids a download"


def a_damaged_file(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "data" / "mnist.npz").write_bytes(HTML)
    return str(tmp_path / "data" / "mnist.npz")


def no_folder(tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("GAN_TF_DATA", str(tmp_path / "missing"))
    return str(tmp_path / "missing")


def no_server(tmp_path: Path, monkeypatch) -> str:
    monkeypatch.delenv("GAN_TF_OFFLINE")
    return "the download failed"


@pytest.mark.parametrize("prepare", [nothing_there, a_damaged_file, no_folder, no_server])
def test_auto_falls_back_to_the_digits_and_says_why(prepare, arrays, tmp_path, monkeypatch, capsys):
    reason = prepare(tmp_path, monkeypatch)
    assert data.load("auto").name == "digits"
    lines = [line for line in capsys.readouterr().out.splitlines() if "bundled digits" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Using the bundled digits, because MNIST cannot be had: ")
    assert reason in lines[0]
    with pytest.raises(data.DataError):
        data.load("mnist")


def test_auto_takes_mnist_without_a_word(arrays, named, capsys):
    write_npz(named / "mnist.npz", arrays)
    assert data.load().name == "mnist"
    assert capsys.readouterr() == ("", "")


# The bundled digits, and the real MNIST where it is.


def test_the_digits_are_bundled():
    digits = data.load("digits")
    assert digits.x_train.shape == (1500, 28, 28, 1)
    assert digits.x_test.shape == (297, 28, 28, 1)
    # the classes of the UCI set's test half, which scikit-learn ships
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(np.concatenate([digits.y_train, digits.y_test])).tolist() == counts
    assert digits.x_train.max() > 240
    assert not digits.x_train[:, :4].any(), "a frame of 4 black pixels"
    assert (datasets.CHECKOUT / "data" / "digits.npz").stat().st_size < 500_000


def test_the_digits_can_be_made_again():
    pytest.importorskip("sklearn", reason="the digits are made from those of scikit-learn, which is not installed")
    spec = importlib.util.spec_from_file_location("make_digits", datasets.CHECKOUT / "data" / "make_digits.py")
    make_digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_digits)
    assert_same(data.load("digits"), make_digits.make())


def test_missing_digits_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "gan_tf" / "datasets.py"))
    monkeypatch.setattr(datasets, "CHECKOUT", tmp_path)
    refusal(tmp_path / "data" / "digits.npz", name="digits")


# of the four original files, uncompressed, header included
MNIST_MD5 = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)


def test_the_real_mnist():
    """The arrays, with the IDX header put before them, are the original files to the byte."""
    folders = [Path(folder) for folder in (os.environ.get("GAN_TF_DATA"), datasets.DATA_DIR) if folder]
    if not any((folder / name).exists() for folder in folders for name in ("mnist.npz", datasets.IDX_FILES[0])):
        pytest.skip("MNIST is neither in the folder that GAN_TF_DATA names nor in data/")
    mnist = data.load("mnist")
    assert repr(mnist) == "MNIST: 60,000 training and 10,000 test images, uint8 (28, 28, 1), 10 classes"
    for name, md5 in zip(datasets.ARRAYS, MNIST_MD5, strict=True):
        array = getattr(mnist, name)
        assert hashlib.md5(idx(array[..., 0] if array.ndim == 4 else array)).hexdigest() == md5
    assert mnist.digest == WHOLE["mnist"]


# The two conversions.

EVERY_VALUE = np.arange(256, dtype=np.uint8)


def test_to_float_is_the_linear_map_of_0_to_255_on_minus_1_to_1():
    floats = data.to_float(EVERY_VALUE)
    assert floats.dtype == tf.float32
    # three roundings to float32 at most, of numbers below 2, each by 2^-24 at most
    np.testing.assert_allclose(floats, np.linspace(-1, 1, 256), rtol=0, atol=3 * 2**-24)
    assert (floats[0], floats[-1]) == (-1, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_to_uint8_brings_every_value_back(dtype):
    """float16 holds steps of 2^-11 near 1, a grey level is 2^-7 wide; bfloat16's 2^-8 may be one level off."""
    back = data.to_uint8(data.to_float(EVERY_VALUE).numpy().astype(dtype))
    assert back.dtype == np.uint8
    np.testing.assert_allclose(back.astype(int), EVERY_VALUE, rtol=0, atol=1 if dtype == ml_dtypes.bfloat16 else 0)


def test_to_uint8_rounds_and_clips():
    floats = [-np.inf, -2, -1, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 1 - 0.4 / 127.5, 1, 1.01, np.inf]
    assert data.to_uint8(tf.constant(floats)).tolist() == [0, 0, 0, 0, 1, 255, 255, 255, 255]


@pytest.mark.parametrize("images", [np.zeros(3), np.zeros(3, np.int32), [0, 255], data.to_float(EVERY_VALUE)])
def test_to_float_converts_nothing_twice(images):
    with pytest.raises(TypeError, match=r"images must be uint8 in \[0, 255\], got"):
        data.to_float(images)


@pytest.mark.parametrize("images", [EVERY_VALUE, [0, 1], np.zeros(3, bool), np.zeros(3, complex), np.array(["1"])])
def test_to_uint8_takes_floats_only(images):
    with pytest.raises(TypeError, match=r"images must be floating point in \[-1, 1\], got"):
        data.to_uint8(images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_to_uint8_refuses_nan(dtype):
    with pytest.raises(data.DataError, match="images hold NaN"):
        data.to_uint8(np.array([0, np.nan], dtype))


# Batches. Every pixel of image i is i, so that a batch tells which images are in it.

COUNT = 100


def numbered_images() -> np.ndarray:
    return np.arange(COUNT, dtype=np.uint8).repeat(28 * 28).reshape(COUNT, 28, 28, 1)


def numbers(batches) -> list[list[int]]:
    """Return the numbers of the images in each batch."""
    return [data.to_uint8(batch)[:, 5, 6, 0].tolist() for batch in batches]


def flat(batches) -> list[int]:
    return [number for batch in numbers(batches) for number in batch]


def test_batches_are_whole_images_in_the_range_of_the_models():
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28, 1), np.uint8)
    batches = data.batches(images, 8, seed=0)
    assert batches.element_spec == tf.TensorSpec((8, 28, 28, 1), tf.float32)
    served = np.concatenate(list(batches))
    assert (served.min(), served.max()) == (-1, 1)
    assert {image.tobytes() for image in data.to_uint8(served)} < {image.tobytes() for image in images}


@pytest.mark.parametrize("batch_size", [1, 8, 33, 50, 99, 100])
def test_an_epoch_holds_every_image_once(batch_size):
    batches = numbers(data.batches(numbered_images(), batch_size, seed=0, drop_remainder=False))
    assert sorted(number for batch in batches for number in batch) == list(range(COUNT))
    rest = COUNT % batch_size
    assert [len(batch) for batch in batches] == [batch_size] * (COUNT // batch_size) + [rest] * bool(rest)


@pytest.mark.parametrize("batch_size", [1, 8, 33, 50, 99, 100])
def test_drop_remainder_leaves_out_the_last_short_batch_only(batch_size):
    batches = numbers(data.batches(numbered_images(), batch_size, seed=0))
    assert [len(batch) for batch in batches] == [batch_size] * (COUNT // batch_size)
    assert len({number for batch in batches for number in batch}) == COUNT - COUNT % batch_size


def test_each_epoch_has_its_own_order_and_leaves_out_others():
    batches = data.batches(numbered_images(), 30, seed=0)
    epochs = [flat(batches) for _ in range(5)]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert len({frozenset(epoch) for epoch in epochs}) == 5


def test_the_shuffle_is_of_the_whole_set():
    """Of 50 first batches of 10 out of 100, each image is in 5 on average (standard deviation 2.1), never in 18."""
    batches = data.batches(numbered_images(), 10, seed=0)
    first = np.bincount(np.ravel([numbers(batches.take(1)) for _ in range(50)]), minlength=COUNT)
    assert first.sum() == 500
    assert first.max() < 18
    assert 3.5 < first[50:].mean() < 6.5  # 4 standard deviations of a mean over 50 images are 1.2


def test_the_seed_decides_the_order():
    first, again, other = (
        data.batches(numbered_images(), 10, seed=3),
        data.batches(numbered_images(), 10, seed=3),
        data.batches(numbered_images(), 10, seed=4),
    )
    for _ in range(3):
        order = numbers(first)
        assert numbers(again) == order
        assert numbers(other) != order


@pytest.mark.parametrize("drop_remainder", [True, False])
def test_endless_batches_are_the_epochs_one_after_the_other(drop_remainder):
    options = {"seed": 1, "drop_remainder": drop_remainder}
    epochs = data.batches(numbered_images(), 30, **options)
    expected = [batch for _ in range(3) for batch in numbers(epochs)]
    endless = data.batches(numbered_images(), 30, endless=True, **options)
    assert numbers(endless.take(len(expected))) == expected


@pytest.mark.parametrize("skip", [0, 1, 3, 7, 10])
def test_skip_continues_where_another_process_stopped(skip):
    whole = numbers(data.batches(numbered_images(), 30, seed=1, endless=True).take(12))
    rest = data.batches(numbered_images(), 30, seed=1, endless=True, skip=skip)
    assert numbers(rest.take(12 - skip)) == whole[skip:]


def test_only_a_batch_at_a_time_is_converted_to_float(monkeypatch):
    converted = []

    def spy(images):
        converted.append(images.shape[0])
        return real_to_float(images)

    real_to_float = data.to_float
    monkeypatch.setattr(data, "to_float", spy)
    list(data.batches(numbered_images(), 8, seed=0))
    assert converted == [8]  # traced once, for one batch; the set has 100


@pytest.mark.parametrize("batch_size", [0, -1, COUNT + 1, 1.5, "8", None])
def test_batch_size_must_be_from_1_to_the_number_of_images(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be from 1 to the 100 images there are, got {batch_size!r}"):
        data.batches(numbered_images(), batch_size, seed=0)


def test_no_image_no_batch():
    with pytest.raises(ValueError, match="batch_size must be from 1 to the 0 images"):
        data.batches(numbered_images()[:0], 1, seed=0)


def test_skip_must_not_be_negative():
    with pytest.raises(ValueError, match="skip must be at least 0, got -1"):
        data.batches(numbered_images(), 8, seed=0, skip=-1)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_batches_are_made_from_uint8(dtype):
    with pytest.raises(TypeError, match=r"images must be uint8 in \[0, 255\], got"):
        data.batches(numbered_images().astype(dtype), 8, seed=0)


# Two processes at once.


def download_and_print_two_epochs(url: str, folder: str) -> None:
    """Do in another process what the test does in its own."""
    datasets.SHAPES["mnist"], datasets.DIGESTS["mnist"] = SHAPES, digests(fake_arrays())
    datasets.MNIST_URL, datasets.DATA_DIR = url, Path(folder)
    datasets.STALL_SECONDS = datasets.DOWNLOAD_SECONDS = 600
    assert_same(data.load("mnist"), fake_arrays())
    keras.utils.set_random_seed(0)
    print("\nepochs:", two_epochs())


def two_epochs() -> list[list[int]]:
    batches = data.batches(numbered_images(), 10, seed=3)
    return [flat(batches), flat(batches)]


@pytest.mark.slow
def test_two_processes_download_at_once_and_serve_one_order(server, arrays, tmp_path):
    """The server answers when both have asked, so that they do write at the same time."""
    both = threading.Barrier(2, timeout=600)

    def answer(handler):
        both.wait()
        body(npz_bytes(arrays))(handler)

    server.answer = answer
    environment = {name: value for name, value in os.environ.items() if name != "GAN_TF_DATA"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [datasets.CHECKOUT, datasets.CHECKOUT / "tests"]))
    code = f"import test_data; test_data.download_and_print_two_epochs({server.url!r}, {str(tmp_path / 'data')!r})"
    other = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    while not server.requests:  # the other one needs some seconds to start
        assert other.poll() is None
        time.sleep(0.05)
    assert_same(data.load("mnist"), arrays)
    output, _ = other.communicate()
    assert other.returncode == 0
    assert content_of(tmp_path / "data") == {"mnist.npz": npz_bytes(arrays)}
    keras.utils.set_random_seed(0)
    assert output.splitlines()[-1] == f"epochs: {two_epochs()}"


def test_labels_are_served_beside_their_images():
    """In the order in which the images alone come, epoch after epoch."""
    images = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    keras.utils.set_random_seed(0)
    alone = [batch.numpy() for batch in data.batches(images, 4, seed=1, endless=True).take(6)]
    keras.utils.set_random_seed(0)
    both = list(data.batches(images, 4, seed=1, labels=np.arange(12, dtype=np.uint8) + 100, endless=True).take(6))
    for batch, expected in zip(both, alone, strict=True):
        assert set(batch) == {"images", "labels"}
        np.testing.assert_array_equal(batch["images"], expected)
        np.testing.assert_array_equal(batch["labels"], data.to_uint8(expected)[:, 0, 0, 0] + 100)
        assert batch["labels"].dtype == tf.uint8


@pytest.mark.parametrize("count", [0, 11, 13])
def test_there_are_as_many_labels_as_images(count):
    with pytest.raises(ValueError, match=f"labels must be as many as the 12 images, got {count}"):
        data.batches(np.zeros((12, 1, 1, 1), np.uint8), 4, seed=0, labels=np.zeros(count, np.uint8))

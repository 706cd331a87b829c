"""Pictures on disk that nobody prepared: which there are, of what content and classes, and what is wrong with them.

A folder's pictures are all its PNG, JPEG, WebP, BMP and GIF files, whatever their names, in the order of their paths.
Subfolders are classes, in the order of their names, as in Keras's `image_dataset_from_directory`.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from gan_tf.datasets import DataError
from gan_tf.files import one_line, total_memory
from gan_tf.untrusted import read_arrays

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
NAMED = 3  # files in a message; more are counted
AT_A_TIME = 16  # things that a thread takes
BAR = {"leave": False, "delay": 1.0}  # of tqdm: what takes less than a second shows none


class Source(NamedTuple):
    """Pictures that can be opened one by one."""

    names: list[str]
    digests: list[str]  # SHA-256 of each file, or of each row
    open: Callable[[int], Image.Image]
    labels: np.ndarray | None  # uint16 (n,)
    class_names: tuple[str, ...]
    files: dict[str, str]  # each file with its SHA-256
    notes: list[str]  # what people should know, a line each
    unusable: dict[str, str]  # files that should be pictures, and why they are none

    def subset(self, rows: Iterable[int]) -> "Source":
        """Return some of the pictures, in this order."""
        rows = list(rows)
        labels = None if self.labels is None else self.labels[rows]
        names, digests = [self.names[i] for i in rows], [self.digests[i] for i in rows]
        return self._replace(names=names, digests=digests, labels=labels, open=lambda i: self.open(rows[i]))


def look(path: Path) -> Source:
    """Return what pictures there are in a folder or an `.npz`.

    Raises:
        DataError: there are none, or something cannot be read.
    """
    return _look_into_file(path) if path.is_file() else _look_into_folder(path)


def names_of(names: Iterable[str]) -> str:
    """Return the first few of many names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(_printable, names[:NAMED])) + more


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()  # names of files need not be text


def in_threads(work: Callable, things: Sequence) -> Iterator:
    """Yield what `work` returns for each thing, in their order.

    A thread takes several at a time, because to hand a small file over takes longer than to read it.
    """
    parts = [things[i : i + AT_A_TIME] for i in range(0, len(things), AT_A_TIME)]
    with ThreadPoolExecutor() as several:
        for found in several.map(lambda part: [work(thing) for thing in part], parts):
            yield from found


def _look_into_folder(folder: Path) -> Source:
    found = list(_files(folder))
    links = [name for name, path in found if path.is_symlink()]
    paths = {name: path for name, path in found if not path.is_symlink()}
    bar = {"desc": "looking at files", "unit": "file", "disable": None} | BAR
    looked_at = tqdm(in_threads(_picture_digest, list(paths.values())), total=len(paths), **bar)
    digests = dict(zip(paths, looked_at, strict=True))

    unusable = {name: reason for name, (digest, reason) in digests.items() if not digest and reason}
    others = [name for name, (digest, reason) in digests.items() if not digest and not reason]
    files = {name: digest for name, (digest, _) in digests.items() if digest}
    if not files:
        why = f" ({names_of(f'{name}: {reason}' for name, reason in unusable.items())})" if unusable else ""
        raise DataError(f"{folder} holds no PNG, JPEG, WebP, BMP or GIF that can be read{why}; name another folder")

    notes = []
    if others:
        notes.append(f"skipped, no PNG, JPEG, WebP, BMP or GIF: {len(others):,} of the files ({names_of(others)})")
    if links:
        notes.append(f"skipped, links: {len(links):,} ({names_of(links)}); put the files themselves there")

    labels, class_names = _classes(folder, list(files), notes)
    names = _without_copies(files, labels, notes)
    labels = None if labels is None else np.array([labels[name] for name in names], np.uint16)
    return Source(
        names,
        [files[name] for name in names],
        lambda i: Image.open(paths[names[i]], formats=FORMATS),
        labels,
        class_names,
        files,
        notes,
        unusable,
    )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield all that lies below a folder, links to folders too, by path; what begins with a dot is left out."""

    def refuse(error: OSError):
        raise DataError(f"{error.filename} cannot be read: {error.strerror}; change its permissions") from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        inside = Path(parent).relative_to(folder)
        for name in sorted((*files, *linked)):
            if not name.startswith("."):
                yield (inside / name).as_posix(), Path(parent, name)


def _picture_digest(path: Path) -> tuple[str, str]:
    """Return a picture's SHA-256; for another file "" and, if it should be a picture, why it is none."""
    try:
        if not path.is_file():
            return "", ""
        with open(path, "rb") as file:
            known = _is_picture(file.read(16))
            if known:
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest(), ""
    except OSError as error:
        return "", error.strerror or one_line(error)
    return "", "no picture inside" if path.suffix.lower() in SUFFIXES else ""


def _is_picture(start: bytes) -> bool:
    """Tell by a file's first 16 bytes, because names say little."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return webp or start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a"))


def _classes(folder: Path, names: list[str], notes: list[str]) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    """Return each picture's label, and the classes' names; None and () where there are fewer than two classes."""
    parents = {name: name.split("/")[0] if "/" in name else "" for name in names}
    class_names = sorted(set(parents.values()))
    if len(class_names) < 2:
        return None, ()
    if "" in class_names:
        notes.append(f"no labels: pictures lie in {folder} itself, beside its subfolders; move them for classes")
        return None, ()
    numbers = {name: number for number, name in enumerate(class_names)}
    return {name: numbers[parent] for name, parent in parents.items()}, tuple(class_names)


def _without_copies(files: dict[str, str], labels: dict[str, int] | None, notes: list[str]) -> list[str]:
    """Return the names of pictures without those that are another one of their class, byte for byte.

    A copy could be held out while its original is trained on.
    """
    first: dict[tuple, str] = {}
    for name, digest in files.items():
        first.setdefault((digest, labels and labels[name]), name)
    kept = set(first.values())
    if copies := [name for name in files if name not in kept]:
        notes.append(f"skipped, copies of others: {len(copies):,} ({names_of(copies)})")
    return [name for name in files if name in kept]


def _look_into_file(path: Path) -> Source:
    """Look into an `.npz` with `images` uint8 (n, h, w) or (n, h, w, c), and perhaps `labels`, whole numbers (n,)."""
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
        if "images" not in there:
            raise DataError(f"{path} holds no array `images`, only {names_of(sorted(there))}; save it under that name")
        arrays = read_arrays(path, dict.fromkeys(sorted(there & {"images", "labels"}), total_memory() // 3))
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise DataError(f"{path} is damaged or no .npz of pictures ({one_line(error)}); save it again") from error

    images, labels = arrays["images"], arrays.get("labels")
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3))):
        shape = f"{images.dtype} {images.shape}"
        raise DataError(f"{path}: images must be uint8 (n, h, w), (n, h, w, 1) or (n, h, w, 3), got {shape}")
    images = images[..., np.newaxis] if images.ndim == 3 else images
    if min(images.shape[1:3]) < 1 or not len(images):
        raise DataError(f"{path} holds no pictures: images is {images.shape}")
    class_names = ()
    if labels is not None:
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise DataError(f"{path}: labels must be {len(images)} whole numbers, got {labels.dtype} {labels.shape}")
        values, labels = np.unique(labels, return_inverse=True)
        if len(values) > 1 << 16:
            raise DataError(f"{path}: labels have {len(values):,} values, more than 65,536: they are no classes")
        class_names = () if np.array_equal(values, np.arange(len(values))) else tuple(map(str, values))
        labels = labels.astype(np.uint16) if len(values) > 1 else None

    digests = [hashlib.sha256(image).hexdigest() for image in images]
    names = [f"{path.name}[{i}]" for i in range(len(images))]
    notes: list[str] = []
    of_name = None if labels is None else dict(zip(names, labels.tolist(), strict=True))
    kept = set(_without_copies(dict(zip(names, digests, strict=True)), of_name, notes))

    def open_row(i: int) -> Image.Image:
        return Image.fromarray(images[i, ..., 0] if images.shape[-1] == 1 else images[i])

    whole = Source(names, digests, open_row, labels, class_names, {path.name: digest}, notes, {})
    return whole.subset(i for i, name in enumerate(names) if name in kept)

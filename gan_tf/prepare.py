"""Pictures of any kind and size -> a dataset of uint8 squares, kept in a cache, with a part held out for evaluation."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from gan_tf import UsageError, datasets
from gan_tf.datasets import DataError, Dataset
from gan_tf.files import one_line, write_json, write_whole
from gan_tf.folders import BAR, Source, in_threads, look, names_of
from gan_tf.resize import fitted, is_grey
from gan_tf.sizes import SIZES, check_size

USUAL_SIZE = 32
SMALLEST = 8  # pixels on the shorter side of a picture that is of any use
FEWEST, FEW = 32, 1000  # pictures: fewer are refused; fewer are trained on with a warning
HELD_OUT, FEWEST_HELD_OUT = 0.1, 16
MOST_UNUSABLE = 0.01  # of the pictures; with more, somebody should look
MAPPED_BYTES = 1 << 30  # arrays beyond it stay on the disk, mapped into memory
METHOD = 1  # counts how pictures are prepared: what another method left in the cache is not used
AHEAD = 256  # pictures that are decoded before the earlier ones are stored


class Shape(NamedTuple):
    """What each picture becomes."""

    size: int
    channels: int


class Request(NamedTuple):
    """What was asked for."""

    size: int | None
    channels: int | None
    seed: int


def check(size: int | None, channels: int | None) -> None:
    """Refuse, as a UsageError, a size or a number of channels that cannot be had; None is always possible."""
    if size is not None:
        check_size(size)
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (grey) or 3 (colour), got {channels!r:.20}")


def load(path: Path, size: int | None = None, channels: int | None = None, seed: int = 0) -> Dataset:
    """Load a folder of pictures, or an `.npz` of them, as a dataset; the first time, prepare it and keep it.

    Args:
        path: see `gan_tf.folders`.
        size: a side of `sizes.SIZES`; by default the pictures' own, where all agree on one of these, else 32.
        channels: 1 or 3; by default 1 where all pictures are grey.
        seed: of which pictures are held out: a tenth, and at least 16, of each class its share.

    Raises:
        DataError: there are fewer than 32 pictures, or of a hundred more than one is damaged, or the cache cannot be
            written.
    """
    check(size, channels)
    source = look(path)
    place = cache_folder() / _key(source, Request(size, channels, seed))
    if (found := _read(place)) is None:
        with _told(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{place}.lock"):  # of two that prepare the same at once, one waits for the other
                if _read(place) is None:
                    _prepare(source, Request(size, channels, seed), place)
        found = _read(place)
    if found is None:
        raise DataError(f"{place} changed while it was read; delete it and load again")

    images, about = found
    title = path.name or str(path)
    for note in about["notes"]:
        print(f"{title}: {note}")
    if len(images) < FEW:
        print(
            f"{title}: {len(images):,} pictures are few, and a GAN soon learns them by heart. `evaluate` tells copies, "
            "and chapter 25 what to expect and what to do"
        )
    labels = None if about["labels"] is None else np.array(about["labels"])
    if labels is not None:
        labels = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
    train = about["train"]
    parts = [images[:train], images[train:]]
    if images.nbytes <= MAPPED_BYTES:
        parts = [np.array(part) for part in parts]
    of_labels = (None, None) if labels is None else (labels[:train], labels[train:])
    names = tuple(about["class_names"])
    return Dataset(os.path.abspath(path), parts[0], of_labels[0], parts[1], of_labels[1], names, source.files)


def cache_folder() -> Path:
    """Return where prepared pictures are kept: $GAN_TF_CACHE, or `.prepared` in `data/`."""
    return Path(os.environ.get("GAN_TF_CACHE") or datasets.DATA_DIR / ".prepared")


def _key(source: Source, asked: Request) -> str:
    """Return a name for what is made of these files: by their paths and content, and by what was asked for."""
    hashed = hashlib.sha256(json.dumps([METHOD, *asked]).encode())
    for name, digest in zip(source.names, source.digests, strict=True):
        hashed.update(os.fsencode(f"{name}\0{digest}\0"))
    for name in source.unusable:
        hashed.update(os.fsencode(f"{name}\0"))
    return hashed.hexdigest()[:32]


@contextlib.contextmanager
def _told(cache: Path):
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise DataError(
            f"{cache} cannot take the prepared pictures ({reason}); make room, or set GAN_TF_CACHE to another folder"
        ) from error


def _read(place: Path) -> tuple[np.ndarray, dict] | None:
    """Return the images, mapped, train before test, and what is known of them; None where they are not whole."""
    try:
        if place.is_file():  # what was asked for without a size is what was asked for with one
            place = place.with_name(place.read_text(encoding="utf-8"))
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
        shape = (about["count"], about["size"], about["size"], about["channels"])
        about["labels"], about["train"], about["notes"], about["class_names"]
        if (place / "images.u8").stat().st_size != int(np.prod(shape)):
            return None
        return np.memmap(place / "images.u8", np.uint8, "r", shape=shape), about
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _prepare(source: Source, asked: Request, place: Path) -> None:
    """Make all pictures alike, and store them whole or not at all; under a more exact name where there is one."""
    key_of = functools.partial(_key, source._replace(unusable=dict(source.unusable)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it can repair
        source, shape = _settled(source, asked)
        exact = place.with_name(key_of(Request(*shape, asked.seed)))
        if exact != place:
            with FileLock(f"{exact}.lock"):
                if _read(exact) is None:
                    _make(source, shape, asked.seed, exact)
            write_whole(place, lambda file: file.write(exact.name.encode()))
        else:
            _make(source, shape, asked.seed, exact)


def _make(source: Source, shape: Shape, seed: int, place: Path) -> None:
    making = place.with_suffix(".making")
    for left in (making, place):  # of a process that was killed, or damaged
        if left.exists():
            shutil.rmtree(left)
    for left in place.parent.glob("*.making"):  # of another that was killed; a living one has the lock
        with contextlib.suppress(Timeout), FileLock(left.with_suffix(".lock"), timeout=0):
            shutil.rmtree(left, ignore_errors=True)
    needed = 2 * len(source.names) * shape.size**2 * shape.channels
    if (free := shutil.disk_usage(place.parent).free) < needed:
        raise DataError(
            f"{place.parent} has {free / 1e9:.1f} GB left, and the prepared pictures need {needed / 1e9:.1f} GB "
            "meanwhile; make room, set GAN_TF_CACHE to another folder, or ask for a smaller --size"
        )
    making.mkdir()
    try:
        _store(source, shape, seed, making)
        making.rename(place)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _settled(source: Source, asked: Request) -> tuple[Source, Shape]:
    """Open each picture's header: leave out what is of no use, and settle what size and colours all shall have."""

    def header(i: int):
        try:
            with source.open(i) as image:
                if min(image.size) < SMALLEST:
                    return f"{image.width}x{image.height} pixels"
                return image.size, is_grey(image)
        except Exception as error:  # Pillow raises many kinds
            return one_line(error)

    numbers = range(len(source.names))
    headers = list(tqdm(in_threads(header, numbers), "reading headers", len(numbers), unit="picture", **BAR))
    there = len(headers) + len(source.unusable)
    _note_unusable(source, {i: found for i, found in enumerate(headers) if isinstance(found, str)}, there)
    kept = [i for i, found in enumerate(headers) if not isinstance(found, str)]
    _check_count(source, len(kept))

    sides = {headers[i][0] for i in kept}
    width, height = min(sides)
    own = width if len(sides) == 1 and width == height and width in SIZES else USUAL_SIZE
    channels = 1 if all(headers[i][1] for i in kept) else 3
    return source.subset(kept), Shape(asked.size or own, asked.channels or channels)


def _note_unusable(source: Source, found: dict[int, str], there: int) -> None:
    """Add pictures that cannot be used to the list, and refuse where these are over a hundredth of what is there."""
    source.unusable.update({source.names[i]: reason for i, reason in found.items()})
    if len(source.unusable) > MOST_UNUSABLE * there:
        listed = names_of(f"{name}: {reason}" for name, reason in source.unusable.items())
        raise DataError(
            f"{len(source.unusable):,} of {there:,} pictures cannot be used ({listed}), more than one in a hundred: "
            "repair them, or move them away"
        )


def _check_count(source: Source, count: int) -> None:
    if count < FEWEST:
        why = f" ({'; '.join(source.notes)})" if source.notes else ""
        raise DataError(f"{count} pictures can be used{why}, and a GAN needs at least {FEWEST}: add more")


def _store(source: Source, shape: Shape, seed: int, making: Path) -> None:
    """Decode all pictures in their order, then write those to be trained on, and after them those held out."""
    full = (len(source.names), shape.size, shape.size, shape.channels)
    decoded = np.memmap(making / "decoded.u8", np.uint8, "w+", shape=full)
    good, damaged = [], {}

    def decode(i: int) -> np.ndarray | str:
        try:
            with source.open(i) as image:
                return fitted(image, shape.size, shape.channels)
        except Exception as error:  # Pillow raises many kinds
            return one_line(error)

    with tqdm(total=full[0], desc="preparing", unit="picture", **BAR) as bar:
        for start in range(0, full[0], AHEAD):
            rows = range(start, min(start + AHEAD, full[0]))
            for i, found in zip(rows, in_threads(decode, rows), strict=True):
                if isinstance(found, str):
                    damaged[i] = found
                else:
                    decoded[i] = found
                    good.append(i)
            bar.update(len(rows))
    _note_unusable(source, damaged, full[0] + len(source.unusable))
    _check_count(source, len(good))

    good = np.array(good)
    labels = None if source.labels is None else source.labels[good]
    train, held_out = split(len(good), labels, seed)
    order = np.concatenate([train, held_out])
    with open(making / "images.u8", "wb") as file:
        for start in range(0, len(order), 1000):
            file.write(decoded[good[order[start : start + 1000]]].tobytes())
        file.flush()
        os.fsync(file.fileno())
    del decoded
    (making / "decoded.u8").unlink()

    notes = list(source.notes)
    if source.unusable:
        listed = names_of(f"{name}: {reason}" for name, reason in source.unusable.items())
        notes.append(f"skipped, damaged or of no use: {len(source.unusable):,} ({listed})")
    if labels is not None:
        single = np.flatnonzero(np.bincount(labels, minlength=len(source.class_names)) == 1)
        if len(single):
            named = names_of(source.class_names[i] if source.class_names else str(i) for i in single)
            notes.append(f"classes with one picture, which is trained on and never held out: {len(single):,} ({named})")
    about = shape._asdict() | {"count": len(order), "train": len(train), "notes": notes}
    about |= {"labels": None if labels is None else labels[order].tolist(), "class_names": source.class_names}
    write_json(making / "about.json", about)


def split(count: int, labels: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, each in a random order; of each class the same share.

    The only picture of a class is never held out.
    """
    order = np.random.default_rng(seed).permutation(count)
    size = max(FEWEST_HELD_OUT, round(HELD_OUT * count))
    place = np.empty(count)  # of each row in its class's order, from 0 to 1
    by_class = order if labels is None else order[np.argsort(labels[order], kind="stable")]
    for rows in [order] if labels is None else np.split(by_class, np.cumsum(np.bincount(labels))):
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows) if len(rows) > 1 else np.inf
    last = order[np.argsort(place[order], kind="stable")]
    if not np.isfinite(place[last[:size]]).all():
        raise DataError(f"{len(np.unique(labels))} classes for {count} pictures: most have one; give each at least two")
    held_out = np.isin(order, last[:size])
    return order[~held_out], order[held_out]

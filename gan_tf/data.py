"""Pictures -> `tf.data` batches; and the two conversions between uint8 and [-1, 1].

Images are uint8 (n, height, width, channels) in [0, 255] on disk and in figures, float32 in [-1, 1] inside the
networks; labels are whole numbers (n,) from 0 on. What a dataset is stands in `gan_tf.datasets`.
"""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from gan_tf import UsageError, datasets, prepare, resize
from gan_tf.datasets import DataError, Dataset

__all__ = ["DataError", "Dataset", "batches", "load", "to_float", "to_uint8"]

NAMES = ("auto", *datasets.TITLES)


def load(name: str | Path = "auto", size: int | None = None, channels: int | None = None) -> Dataset:
    """Load a published dataset, verified, or pictures of your own, prepared.

    MNIST is looked for as `mnist.npz` or as the four IDX files (plain or `.gz`) in $GAN_TF_DATA, in `data/` and in
    Keras's cache, else downloaded into `data/`, unless GAN_TF_OFFLINE is set. The digits are bundled: 1,797 of them.

    Args:
        name: "mnist", "digits", "fashion_mnist" or "kmnist"; "auto" for MNIST where it can be had, else the digits,
            with a printed line that says so and why; or the path of a folder of pictures, whose subfolders are classes,
            or of an `.npz` with `images` uint8 (n, h, w) or (n, h, w, 1 or 3), and perhaps `labels` (n,).
        size: the images' side, one of `sizes.SIZES`; by default as they are, pictures of unlike sizes 32.
        channels: 1 (grey) or 3 (colour); by default as they are.

    Raises:
        DataError: it cannot be used; the message says what to do.
        UsageError: there is no such dataset, size or number of channels.
    """
    prepare.check(size, channels)
    if name == "auto":
        try:
            return load("mnist", size, channels)
        except DataError as error:
            print(f"Using the bundled digits, because MNIST cannot be had: {error}")
            return load("digits", size, channels)

    if name in NAMES:
        dataset = datasets.load_bundled() if name == "digits" else datasets.load_published(name)
        return resize.fitted_dataset(dataset, size, channels)

    is_path = isinstance(name, str | os.PathLike) and str(name).strip()
    if is_path and (os.path.isdir(name) or (Path(name).suffix == ".npz" and os.path.isfile(name))):
        return prepare.load(Path(name), size, channels)
    raise UsageError(
        f"name must be one of {', '.join(NAMES)}, or a folder of pictures or an .npz that is there, got {name!r:.200}"
    )


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

    A batch is float32 (batch_size, height, width, channels) in [-1, 1]; or, with labels (n,), a dict of `images` and
    `labels`. Only indices are shuffled, and the images stay uint8, a quarter of what float32 takes: in memory, or where
    they are a `np.memmap` on the disk.

    Args:
        seed: of the order. With the same seed, here and in `keras.utils.set_random_seed`, any process sees the same
            sequence of epochs.
        drop_remainder: leave out the last n % batch_size images of each epoch (others each time), so that all batches
            weigh the same and the step is compiled for one shape; False serves them as a shorter batch.
        endless: go from epoch to epoch without an end, for `fit(steps_per_epoch=...)`.
        skip: batches to leave out at the start, to continue where an earlier process stopped.
    """
    images = np.asanyarray(images)
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

    mapped = isinstance(images, np.memmap)
    pixels, classes = None if mapped else tf.constant(images), None if labels is None else tf.constant(labels)

    def read(rows):
        return tf.ensure_shape(tf.numpy_function(lambda rows: np.asarray(images[rows]), [rows], tf.uint8), shape)

    shape = (batch_size if drop_remainder else None, *images.shape[1:])

    def serve(rows):
        served = to_float(read(rows) if mapped else tf.gather(pixels, rows))
        return served if classes is None else {"images": served, "labels": tf.gather(classes, rows)}

    return order.map(serve, num_parallel_calls=2).prefetch(2)

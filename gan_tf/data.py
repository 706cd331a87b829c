"""Pictures -> `tf.data` batches; and the two conversions between uint8 and [-1, 1].

Images are uint8 (n, height, width, channels) in [0, 255] on disk and in figures, float32 in [-1, 1] inside the
networks; labels are whole numbers (n,) from 0 on. What a dataset is stands in `gan_tf.datasets`.
"""

import numpy as np
import tensorflow as tf

from gan_tf import UsageError, datasets
from gan_tf.datasets import DataError, Dataset

__all__ = ["DataError", "Dataset", "batches", "load", "to_float", "to_uint8"]

NAMES = ("auto", "mnist", "digits", "fashion_mnist", "kmnist")


def load(name: str = "auto") -> Dataset:
    """Load "mnist", "digits", "fashion_mnist" or "kmnist", verified, or raise a DataError that says what to do.

    MNIST is looked for as `mnist.npz` or as the four IDX files (plain or `.gz`) in $GAN_TF_DATA, in `data/` and in
    Keras's cache, else downloaded into `data/`, unless GAN_TF_OFFLINE is set. The digits are bundled: 1,797 of them.
    "auto" is MNIST where it can be had, else the digits, with a printed line that says so and why.
    """
    if name == "digits":
        return datasets.load_bundled()

    if name != "auto":
        if name not in NAMES:
            raise UsageError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
        return datasets.load_published(name)

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

"""The shipped digit classifier: images -> features and class probabilities. What is made of them is in `gan_tf.scores`.

Images are uint8 (n, 28, 28, 1), features float32 (n, 128), probabilities float32 (n, 10). For images of other datasets
there is `gan_tf.judges`.
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gan_tf import data
from gan_tf.files import one_line
from gan_tf.scores import (
    QUICK_SCORES,
    TABLE_ROWS,
    EvaluatorError,
    Features,
    all_scores,
    quick_scores,
    report,
    table,
)
from gan_tf.untrusted import KerasVersionError, load_model, read_arrays

__all__ = ["QUICK_SCORES", "SHA256", "SHIPPED", "TABLE_ROWS", "Evaluator", "EvaluatorError", "Features", "Network"]
__all__ += ["all_scores", "checked", "classifier", "in_32_bits", "load_weights", "quick_scores", "report"]
__all__ += ["save_weights", "table"]

SHIPPED = Path(__file__).with_name("evaluator.npz")
SHA256 = "ef03618efe97dfa838522cdacc32eb5d63ccc0b8102535b1e2a00578238c2b75"  # of that file
BATCH_SIZE = 250


def classifier() -> keras.Model:
    """Build the shipped evaluator's network, untrained: four convolutions, 128 features, 10 logits.

    Its weights are stored beside this code and not with Keras's description of the layers, which other versions of
    Keras cannot read.
    """
    with in_32_bits():
        image = keras.Input((28, 28, 1), name="image")
        x = _convolution(image, 32, 5)
        x = layers.MaxPooling2D()(x)  # (batch, 14, 14, 32)

        x = _convolution(x, 64, 3)
        x = _convolution(x, 64, 3)
        x = layers.MaxPooling2D()(x)  # (batch, 7, 7, 64)

        x = _convolution(x, 96, 3)
        x = layers.MaxPooling2D()(x)  # (batch, 3, 3, 96)

        x = layers.Dropout(0.3)(layers.Flatten()(x))
        features = layers.Dense(128, activation="relu", name="features")(x)  # (batch, 128)
        logits = layers.Dense(10, name="logits")(layers.Dropout(0.3)(features))
        return keras.Model(image, [features, logits], name="digit-classifier")


@contextlib.contextmanager
def in_32_bits() -> Iterator[None]:
    """Let the layers that are made meanwhile compute in float32, whatever the global policy says."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _convolution(x, filters: int, size: int):
    """Add a convolution with batch normalisation and ReLU."""
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def save_weights(path: Path, model: keras.Model) -> None:
    """Store a classifier's weights, float32, by their position."""
    np.savez(path, **{f"{i:02d}": weight for i, weight in enumerate(model.get_weights())})


def load_weights(path: Path) -> keras.Model:
    """Build a classifier and give it the weights that `save_weights` stored."""
    model = classifier()
    names = {f"{i:02d}": weight.nbytes for i, weight in enumerate(model.get_weights())}
    model.set_weights(list(read_arrays(path, names).values()))
    return model


class Network:
    """What looks at images: a network from float32 (n, h, w, c) in [-1, 1] to features (n, d) and logits (n, classes).

    Args:
        model: of the class, in inference.
        sha256: by which it is told from others, beside its name.
    """

    def __init__(self, model: keras.Model, sha256: str):
        self.model, self.sha256, self.name, self.facts = model, sha256, model.name, {}
        self._predict = tf.function(
            functools.partial(self.model, training=False), input_signature=[tf.TensorSpec(self.model.input_shape)]
        )

    def __str__(self) -> str:
        return f"{self.name}, SHA-256 {self.sha256[:12]}"

    def extract(self, images: np.ndarray, progress=iter) -> Features:
        """Compute features and class probabilities, 250 images at a time; `progress` wraps the loop, as `tqdm` does."""
        images = checked(images, self.model.input_shape[1:])
        features, probabilities = (np.empty((len(images), shape[1]), np.float32) for shape in self.model.output_shape)

        for start in progress(range(0, len(images), BATCH_SIZE)):
            part = slice(start, start + BATCH_SIZE)
            features[part], logits = self._predict(data.to_float(images[part]))
            probabilities[part] = keras.ops.softmax(logits)

        return Features(features, probabilities, str(self))


class Evaluator(Network):
    """A digit classifier whose last hidden layer serves as features.

    Args:
        path: by default the shipped one; or an `.npz` that `save_weights` wrote, or a `.keras` file of a model from
            float32 (n, 28, 28, 1) in [-1, 1] to features (n, d) and logits (n, 10). Else an EvaluatorError.
    """

    def __init__(self, path: str | Path | None = None):
        shipped, path = path is None, Path(path or SHIPPED)
        try:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if shipped and sha256 != SHA256:
                raise ValueError(f"its SHA-256 is {sha256[:12]}, that of the shipped one {SHA256[:12]}")
            model = load_weights(path) if path.suffix == ".npz" else load_model(path)
            features, logits = model.output_shape
            if len(model.input_shape) != 4 or len(features) != 2 or logits[1:] != (10,):
                raise ValueError("it is not a model from images to features and 10 logits")
        except KerasVersionError as error:
            raise EvaluatorError(f"{path} cannot be read: {one_line(error)}") from error
        except Exception as error:  # Keras raises many kinds for a bad archive
            cure = "install gan_tf again" if shipped else "name another file, or none for the shipped one"
            raise EvaluatorError(f"{path} is no evaluator ({one_line(error)}); {cure}") from error
        super().__init__(model, sha256)


def checked(images, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images as an array, or say why an evaluator of this shape cannot see them."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 in [0, 255], got {images.dtype}; data.to_uint8 converts")
    if images.shape[1:] != shape or len(images) == 0:
        raise ValueError(f"images must be at least one, each of shape {shape}, got {images.shape}")
    return images

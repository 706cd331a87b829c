"""The shipped digit classifier: images -> features and class probabilities -> a report of scores.

A score means something only beside the network that made the features. Its name and SHA-256 go with all that it says,
and what two evaluators say is never compared. And it means something only between two others: the **real-data
reference**, what training images get in the generator's place, and the **untrained baseline**, what the generator gets
before training. Images are uint8 (n, 28, 28, 1), features float32 (n, 128), probabilities float32 (n, 10).
"""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tqdm import tqdm

from gan_tf import Error, classes, data, datasets, metrics
from gan_tf.files import one_line
from gan_tf.neighbours import nearest
from gan_tf.untrusted import KerasVersionError, load_model, read_arrays

SHIPPED = Path(__file__).with_name("evaluator.npz")
SHA256 = "ef03618efe97dfa838522cdacc32eb5d63ccc0b8102535b1e2a00578238c2b75"  # of that file
BATCH_SIZE = 250


class EvaluatorError(Error):
    """An evaluator that cannot be used, or scores of different ones side by side."""


def classifier() -> keras.Model:
    """Build the shipped evaluator's network, untrained: four convolutions, 128 features, 10 logits.

    Its weights are stored beside this code and not with Keras's description of the layers, which other versions of
    Keras cannot read. In 32 bits, whatever the global policy says.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
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


class Features(NamedTuple):
    """What an evaluator sees in n images, and which one it was."""

    features: np.ndarray
    probabilities: np.ndarray
    evaluator: str

    def subset(self, rows) -> "Features":
        """Return the rows of an index, a slice or a mask."""
        return Features(self.features[rows], self.probabilities[rows], self.evaluator)


class Evaluator:
    """A digit classifier whose last hidden layer serves as features.

    Args:
        path: by default the shipped one; or an `.npz` that `save_weights` wrote, or a `.keras` file of a model from
            float32 (n, 28, 28, 1) in [-1, 1] to features (n, d) and logits (n, 10). Else an EvaluatorError.
    """

    def __init__(self, path: str | Path | None = None):
        shipped, path = path is None, Path(path or SHIPPED)
        try:
            self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if shipped and self.sha256 != SHA256:
                raise ValueError(f"its SHA-256 is {self.sha256[:12]}, that of the shipped one {SHA256[:12]}")
            self.model = load_weights(path) if path.suffix == ".npz" else load_model(path)
            features, logits = self.model.output_shape
            if len(self.model.input_shape) != 4 or len(features) != 2 or logits[1:] != (10,):
                raise ValueError("it is not a model from images to features and 10 logits")
        except KerasVersionError as error:
            raise EvaluatorError(f"{path} cannot be read: {one_line(error)}") from error
        except Exception as error:  # Keras raises many kinds for a bad archive
            cure = "install gan_tf again" if shipped else "name another file, or none for the shipped one"
            raise EvaluatorError(f"{path} is no evaluator ({one_line(error)}); {cure}") from error

        self.name = self.model.name
        self._predict = tf.function(
            functools.partial(self.model, training=False), input_signature=[tf.TensorSpec(self.model.input_shape)]
        )

    def __str__(self) -> str:
        return f"{self.name}, SHA-256 {self.sha256[:12]}"

    def extract(self, images: np.ndarray, progress=iter) -> Features:
        """Compute features and class probabilities, 250 images at a time; `progress` wraps the loop, as `tqdm` does."""
        images = self._checked(images)
        features = np.empty((len(images), self.model.output_shape[0][1]), np.float32)
        probabilities = np.empty((len(images), 10), np.float32)

        for start in progress(range(0, len(images), BATCH_SIZE)):
            part = slice(start, start + BATCH_SIZE)
            features[part], logits = self._predict(data.to_float(images[part]))
            probabilities[part] = keras.ops.softmax(logits)

        return Features(features, probabilities, str(self))

    def _checked(self, images) -> np.ndarray:
        """Return images as an array, or say why this evaluator cannot see them."""
        images, shape = np.asarray(images), self.model.input_shape[1:]
        if images.dtype != np.uint8:
            raise TypeError(f"images must be uint8 in [0, 255], got {images.dtype}; data.to_uint8 converts")
        if images.shape[1:] != shape or len(images) == 0:
            raise ValueError(f"images must be at least one, each of shape {shape}, got {images.shape}")
        return images


def _check_same_evaluator(*sets: Features) -> None:
    """Refuse, as an EvaluatorError, features that come from different evaluators."""
    names = {features.evaluator for features in sets}
    if len(names) > 1:
        raise EvaluatorError(f"scores of different evaluators cannot be compared: {' and '.join(sorted(names))}")


QUICK_SCORES = ("frechet_distance", "classifier_score", "label_jsd", "smallest_class")


def quick_scores(real: Features, fake: Features) -> dict[str, float]:
    """Compute the scores that take less than a second, `QUICK_SCORES`: what `train --evaluate-every` follows."""
    _check_same_evaluator(real, fake)
    real_histogram, histogram = (metrics.mode_histogram(features.probabilities) for features in (real, fake))
    scores = (
        metrics.frechet_distance(real.features, fake.features),
        metrics.classifier_score(fake.probabilities),
        metrics.jensen_shannon_divergence(real_histogram, histogram),
        float(histogram.min()),
    )
    return dict(zip(QUICK_SCORES, scores, strict=True))


def all_scores(real: Features, fake: Features, train: Features, held_out: np.ndarray | None = None) -> dict[str, float]:
    """Compute every score of `metrics`.

    Args:
        real: held-out images.
        fake: generated images.
        train: the training images, all of them: what `fake` could have copied.
        held_out: distances of held-out images to the nearest of `train`; by default those of `real`, computed here.
    """
    _check_same_evaluator(real, fake, train)
    pair = real.features, fake.features
    kernel = metrics.kernel_distance(*pair)
    memorisation = metrics.memorisation(train.features, real.features if held_out is None else held_out, fake.features)

    return {
        **quick_scores(real, fake),
        "kernel_distance": kernel.value,
        "kernel_distance_error": kernel.standard_error,
        **metrics.precision_recall(*pair)._asdict(),
        **metrics.density_coverage(*pair)._asdict(),
        "data_copying_z": memorisation.z_score,
        "copied": memorisation.copied,
    }


def report(
    evaluator: Evaluator, dataset: data.Dataset, fake: np.ndarray, untrained: np.ndarray, seed: int, asked=None
) -> dict:
    """Score generated images against test images, with the reference and the baseline beside: what metrics.json holds.

    Args:
        evaluator: computes the features.
        dataset: its test images are the real ones; as many as there are fakes, drawn by the seed, if it has more. How
            far new images are from the training set is learned from all of them.
        fake: at most as many images as there are test images.
        untrained: as many, of a generator before training.
        seed: of the draws.
        asked: the classes that the fakes were asked to be, whole numbers: each is judged by itself, too.
    """
    count, random = len(fake), np.random.default_rng(seed)
    bar = functools.partial(tqdm, desc="features", unit="batch", leave=False, disable=None)  # only on a terminal
    train = evaluator.extract(dataset.x_train, bar)
    test = evaluator.extract(dataset.x_test)
    rows = np.sort(random.choice(len(dataset.x_test), count, replace=False))
    real = test.subset(rows)
    held_out = nearest(test.features, train.features)  # the same for all contestants

    copied = random.choice(len(dataset.x_train), count, replace=False)
    contestants = {
        "generator": evaluator.extract(fake),
        "training_images": train.subset(copied),  # copies, each
        "untrained_generator": evaluator.extract(untrained),
    }
    labels = {"generator": asked, "training_images": dataset.y_train[copied]}
    by_class = {} if asked is None else classes.report(real, dataset.y_test[rows], contestants, labels)
    bar = tqdm(contestants.items(), desc="scores", unit="set", leave=False, disable=None)
    return {
        "evaluator": {"name": evaluator.name, "sha256": evaluator.sha256},
        "dataset": dataset.name,
        "dataset_sha256": dataset.digest,
        "split": "test",
        "count": count,
        "seed": seed,
        "scores": {name: all_scores(real, features, train, held_out) for name, features in bar},
    } | ({"classes": by_class} if by_class else {})


TABLE_ROWS = {  # of each score: title, format, which way is better
    "frechet_distance": ("Fréchet distance", "{:.3f}", "lower"),
    "kernel_distance": ("kernel distance", "{:.4f}", "lower"),
    "kernel_distance_error": ("  its standard error", "{:.4f}", ""),
    "precision": ("precision", "{:.3f}", "higher"),
    "recall": ("recall", "{:.3f}", "higher"),
    "density": ("density", "{:.3f}", "higher"),
    "coverage": ("coverage", "{:.3f}", "higher"),
    "classifier_score": ("classifier score (1 to 10)", "{:.2f}", "higher"),
    "label_jsd": ("label JSD", "{:.4f}", "lower"),
    "smallest_class": ("share of the rarest class", "{:.3f}", "near 0.1"),
    "data_copying_z": ("data-copying z", "{:.1f}", "near 0"),
    "copied": ("copied", "{:.3f}", "near 0.01"),
}


def table(**reports: dict) -> str:
    """Lay reports side by side, each under its name, and the real-data reference and untrained baseline of the first.

    Those that differ in the evaluator, the dataset, the split or the number of images are an EvaluatorError.
    """
    first, *others = reports.values()
    for other in others:
        for name in ("evaluator", "dataset_sha256", "split", "count"):
            if first[name] != other[name]:
                raise EvaluatorError(
                    f"scores of another {name} cannot be compared: {first[name]} and {other[name]}; evaluate both again"
                )

    columns = {name: one["scores"]["generator"] for name, one in reports.items()}
    columns |= {name.replace("_", " "): first["scores"][name] for name in ("training_images", "untrained_generator")}
    widths = {name: max(len(name), 8) + 2 for name in columns}
    lines = [f"{'':26}" + "".join(f"{name:>{width}}" for name, width in widths.items()) + "  better"]
    for key, (title, shape, better) in TABLE_ROWS.items():
        values = "".join(f"{shape.format(column[key]):>{widths[name]}}" for name, column in columns.items())
        lines.append(f"{title:26}{values}  {better}".rstrip())

    name, digest = first["evaluator"]["name"], first["evaluator"]["sha256"][:12]
    count, dataset = f"{first['count']:,}", datasets.title_of(first["dataset"], first["dataset_sha256"])
    reference = first["scores"]["training_images"]["frechet_distance"]
    head = f"{count} images of each against {count} {first['split']} images of {dataset}; evaluator {name}, "
    head += f"SHA-256 {digest}; seed {first['seed']}"
    foot = f"The training images are the real-data reference: with {count} images even they have a Fréchet distance of "
    foot += f"{reference:.3f}, not 0. The untrained generator is the baseline."
    by_class = [f"\n{classes.report_table(name, one['classes'])}" for name, one in reports.items() if "classes" in one]
    return "\n".join([head, "", *lines, "", foot, *by_class])

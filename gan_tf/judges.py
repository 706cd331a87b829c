"""An evaluator for any dataset: the shipped one for digits, else a classifier of its classes, else a random network.

The classifier is trained once, on the dataset's training images, and kept: in the run's folder, so that its scores can
be made again, and beside the prepared pictures, so that other runs on the same images are judged by the same one. It
tells classes apart as a person would and has seen the training images, so that these look better to it than they
should; the second space, the images averaged to 8x8, has learned nothing (`gan_tf.random_network`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from tqdm import tqdm

from gan_tf import data, datasets, evaluator, prepare
from gan_tf.files import one_line, write_whole
from gan_tf.random_network import SMALL, RandomNetwork, averages
from gan_tf.scores import Features, Judge
from gan_tf.untrusted import read_arrays

OF_SHIPPED = ("mnist", "digits")
FEWEST = 10  # training images of a class that can be learned
FEATURES = 64
WIDTHS = (96, 48, 32, 16, 16)  # channels of the convolutions, the last one first
BATCH, EPOCHS, STEPS = 64, 20, (250, 1000)  # as many epochs, but at least and at most so many steps
RATE = 2e-3  # of Adam, falling to 0 along a cosine
MOVED = 8  # a training image is moved by up to this part of its side
RECIPE = 1  # counts how a classifier is trained: what another recipe left in a folder is not used


def of_dataset(
    dataset: datasets.Dataset,
    folder: str | Path | None = None,
    say: Callable[[str], object] = print,
    cache: str | Path | None = None,
    digest: str | None = None,
) -> Judge:
    """Return the evaluator of a dataset; the first time, train it if there are labels, about a minute.

    Args:
        dataset: images uint8 (n, h, w, c).
        folder: of a run, which keeps a trained evaluator as `evaluator.npz`; None for no run.
        say: is told, a line each, how good a new one is, and what stood in the way of a file.
        cache: a folder in which a trained evaluator is kept for all runs; by default that of prepared pictures.
        digest: the dataset's, where it is known already.
    """
    if dataset.name in OF_SHIPPED and dataset.image_shape == (28, 28, 1):
        return evaluator.Evaluator()
    if dataset.y_train is None or dataset.y_test is None:
        return RandomNetwork(dataset.image_shape)
    if np.sum(np.bincount(dataset.y_train) >= FEWEST) < 2:
        say(f"No two classes have {FEWEST} training images, so a network of random weights is the evaluator.")
        return RandomNetwork(dataset.image_shape)

    digest = digest or dataset.digest
    told = {} if folder is None else {Path(folder) / "evaluator.npz": say}
    told[Path(cache or prepare.cache_folder()) / f"evaluator-{digest[:32]}.npz"] = lambda line: None
    missing = []
    for place in told:
        if judge := _stored(place, dataset, digest, say):
            break
        missing.append(place)
    else:
        judge = _trained(dataset, say)
    for place in missing:
        _store(place, judge, digest, told[place])
    return judge


class Classifier(evaluator.Network):
    """A classifier of a dataset's classes, and the images averaged to 8x8.

    Args:
        model: as `classifier_network` makes it, trained.
        accuracy: the share of held-out images that it names rightly.
    """

    def __init__(self, model: keras.Model, accuracy: float):
        super().__init__(model, _sha256(model.get_weights()))
        self.name = f"classifier of these classes, {FEATURES} features, and {SMALL}x{SMALL} averages"
        self.facts = {"features": FEATURES, "classes": model.output_shape[1][1], "accuracy": accuracy}

    def extract(self, images: np.ndarray, progress=iter) -> Features:
        """Compute features, class probabilities and small images; `progress` wraps the loop, as `tqdm` does."""
        return super().extract(images, progress)._replace(small=averages(np.asarray(images)))


def classifier_network(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the classifier: convolutions down to 4 pixels or fewer, and what each channel has at most and on average.

    Above 32 pixels a convolution has stride 2; from there on its output is pooled by maxima. Nothing is drawn but by
    fixed seeds.
    """
    stages = max(1, (image_shape[0] - 1).bit_length() - 2)
    with evaluator.in_32_bits():
        x = image = keras.Input(image_shape, name="image")
        for number, width in enumerate(reversed(WIDTHS[:stages])):
            large = x.shape[1] > 32
            draw = keras.initializers.HeUniform(seed=number)
            x = layers.Conv2D(width, 3, 2 if large else 1, "same", use_bias=False, kernel_initializer=draw)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
            x = x if large else layers.MaxPooling2D()(x)

        x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)])
        x = layers.Dropout(0.1, seed=0)(x)
        draw = [keras.initializers.GlorotUniform(seed=seed) for seed in range(2)]
        features = layers.Dense(FEATURES, "relu", kernel_initializer=draw[0], name="features")(x)
        x = layers.Dropout(0.1, seed=1)(features)
        logits = layers.Dense(classes, kernel_initializer=draw[1], name="logits")(x)
        return keras.Model(image, [features, logits], name="classifier")


def _trained(dataset: datasets.Dataset, say: Callable) -> Classifier:
    """Train a classifier on the training images, each moved a little, and say how good it is."""
    model = classifier_network(dataset.image_shape, dataset.classes)
    head = keras.Model(model.input, model.outputs[1])
    steps = int(np.clip(EPOCHS * len(dataset.x_train) // BATCH, *STEPS))
    head.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    for images, labels in _batches(dataset, steps):
        head.train_on_batch(images, labels)
    _rescale(model, Classifier(model, 0.0).extract(dataset.x_train).features)

    found = Classifier(model, 0.0).extract(dataset.x_test).probabilities.argmax(axis=1)
    accuracy, commonest = float(np.mean(found == dataset.y_test)), float(np.bincount(dataset.y_test).max())
    title = datasets.TITLES.get(dataset.name, Path(dataset.name).name)
    say(
        f"The evaluator of {title} was trained: it names {accuracy:.1%} of {len(dataset.x_test):,} held-out images "
        f"rightly; who always says the commonest class, {commonest / len(dataset.y_test):.1%}."
    )
    return Classifier(model, accuracy)


def _rescale(model: keras.Model, features: np.ndarray) -> None:
    """Let these features have the mean square 1, for which the kernel (x·y / d + 1)³ is made; the logits stay."""
    size = max(float(np.sqrt(np.mean(np.square(features)))), 1e-6)
    of_features, of_logits = (model.get_layer(name) for name in ("features", "logits"))
    (kernel, bias), (kernel_of_logits, bias_of_logits) = (each.get_weights() for each in (of_features, of_logits))
    of_features.set_weights([kernel / size, bias / size])
    of_logits.set_weights([kernel_of_logits * size, bias_of_logits])


def _batches(dataset: datasets.Dataset, steps: int) -> Iterable[tuple]:
    """Yield batches of images float32 in [-1, 1], each moved by up to an eighth of its side, and labels."""
    random, side = np.random.default_rng(0), dataset.image_shape[0]
    most = side // MOVED
    for _ in tqdm(range(steps), desc="evaluator", unit="step", leave=False, disable=None):
        rows = np.sort(random.integers(len(dataset.x_train), size=BATCH))
        images, labels = dataset.rows("train", rows)
        images = np.pad(images, [(0, 0), (most, most), (most, most), (0, 0)], "edge")
        places = random.integers(2 * most + 1, size=(BATCH, 2))
        moved = [image[y : y + side, x : x + side] for image, (y, x) in zip(images, places, strict=True)]
        yield data.to_float(np.stack(moved)), labels.astype(np.int32)


def _sha256(weights: list[np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for weight in weights:
        hashed.update(np.ascontiguousarray(weight, "<f4"))
    return hashed.hexdigest()


class _About(NamedTuple):
    """What a stored classifier says of itself."""

    recipe: int
    dataset_sha256: str
    accuracy: float


def _store(place: Path, judge: Classifier, digest: str, say: Callable) -> None:
    """Keep a classifier, whole or not at all; what cannot be written is said, and costs a training another time."""
    weights = {f"{i:02d}": weight for i, weight in enumerate(judge.model.get_weights())}
    about = json.dumps(_About(RECIPE, digest, judge.facts["accuracy"])._asdict())
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, lambda file: np.savez(file, about=np.array(about), **weights))
    except OSError as error:
        say(f"{place} cannot be written ({error.strerror or one_line(error)}); the evaluator is not kept there")


def _stored(place: Path, dataset: datasets.Dataset, digest: str, say: Callable) -> Classifier | None:
    """Return the classifier that a file holds, which somebody else may have made; or None, and say why."""
    if not place.is_file():
        return None
    try:
        about = _About(**json.loads(str(read_arrays(place, {"about": 4000})["about"])))
        if (about.recipe, about.dataset_sha256) != (RECIPE, digest):
            raise ValueError("it is of another dataset, or of another version of gan_tf")
        if type(about.accuracy) is not float or not 0.0 <= about.accuracy <= 1.0:
            raise ValueError(f"its accuracy is {about.accuracy!r:.20}")
        model = classifier_network(dataset.image_shape, dataset.classes)
        sizes = {f"{i:02d}": weight.nbytes for i, weight in enumerate(model.get_weights())}
        weights = list(read_arrays(place, sizes).values())
        if not all(weight.dtype == np.float32 and np.isfinite(weight).all() for weight in weights):
            raise ValueError("its weights are no numbers of 32 bits")
        model.set_weights(weights)
        return Classifier(model, about.accuracy)
    except Exception as error:  # zipfile, zlib, json, NumPy and Keras raise many kinds
        say(f"{place} is not the evaluator of these images ({one_line(error)}); it is replaced")
        return None

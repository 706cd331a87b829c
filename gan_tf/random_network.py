"""An evaluator that learned nothing, for images without labels: a frozen random network, and the images made small.

Random convolutions serve for comparing sets of images about as well as trained ones, where no network was trained on
anything of the kind (Naeem et al. 2020, *Reliable Fidelity and Diversity Metrics for Generative Models*, whose random
VGG has 64 features, too; Lee et al. 2022, *Demystifying Randomly Initialized Networks for Evaluating Generative
Models*). These filters have the mean 0, so that the network sees edges and textures wherever they are, and next to
nothing of brightness. The images averaged to 8x8 are its complement: where what is how bright, in which colour.
"""

import hashlib
import math

import numpy as np
import tensorflow as tf

from gan_tf import data
from gan_tf.evaluator import BATCH_SIZE, Features, checked

CHANNELS = (8, 12, 12)  # of the convolutions, each of which gives as many means and standard deviations: 64 features
SLOPE = 0.2  # of the leaky ReLUs
SCALE = 10.0  # of the features: with it, differences show in the digits of a table
SMALL = 8  # the side of the averaged images


class RandomNetwork:
    """Three convolutions of 3x3, each of stride 2, with random weights, the same for all images of one shape.

    Args:
        image_shape: height, width and channels of the images.
    """

    name = f"frozen random network, {2 * sum(CHANNELS)} features, and {SMALL}x{SMALL} averages"

    def __init__(self, image_shape: tuple[int, int, int]):
        self.image_shape, self.facts = tuple(map(int, image_shape)), {"features": 2 * sum(CHANNELS)}
        self.filters = random_filters(image_shape[-1])
        hashed = hashlib.sha256(f"{self.image_shape} {SLOPE} {SCALE} {SMALL}".encode())
        for filters in self.filters:
            hashed.update(filters.astype("<f4").tobytes())
        self.sha256 = hashed.hexdigest()
        self._look = tf.function(self.look, input_signature=[tf.TensorSpec((None, *self.image_shape))])

    def __str__(self) -> str:
        return f"{self.name}, SHA-256 {self.sha256[:12]}"

    def look(self, images: tf.Tensor) -> tf.Tensor:
        """Return each channel's mean and standard deviation over the places of each layer: float32 (n, 64)."""
        x, found = images, []
        for filters in self.filters:
            x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")  # zeros would be an edge around a dark image
            x = tf.nn.leaky_relu(tf.nn.conv2d(x, filters, 2, "VALID"), SLOPE)  # (n, h / 2, w / 2, channels)
            found += [tf.reduce_mean(x, [1, 2]), tf.math.reduce_std(x, [1, 2])]
        return SCALE * tf.concat(found, axis=1)

    def extract(self, images: np.ndarray, progress=iter) -> Features:
        """Compute features and small images, 250 images at a time; `progress` wraps the loop, as `tqdm` does."""
        images = checked(images, self.image_shape)
        starts = progress(range(0, len(images), BATCH_SIZE))
        found = [self._look(data.to_float(images[start : start + BATCH_SIZE])).numpy() for start in starts]
        return Features(np.concatenate(found), None, str(self), averages(images))


def random_filters(channels: int, seed: int = 0) -> list[np.ndarray]:
    """Draw the filters of all layers, float32 (3, 3, channels, filters), uniform, each with the mean 0.

    They are made of whole numbers by sums, products and roots that every processor rounds alike; He et al. 2015,
    equation 10, for the variance.
    """
    random, drawn = np.random.default_rng(seed), []
    for count in CHANNELS:
        whole = np.floor(256.0 * random.random((3, 3, channels, count)))
        centred = whole - whole.sum(axis=(0, 1)) / 9.0
        drawn.append((centred * (math.sqrt(6.0 / (9 * channels)) / 128.0)).astype(np.float32))
        channels = count
    return drawn


def averages(images: np.ndarray, side: int = SMALL) -> np.ndarray:
    """Average uint8 images (n, h, w, c) over side x side boxes, float32 (n, side² c) in [-1, 1].

    Pixels on the border of two boxes count for both, by the parts that lie in them.
    """
    rows, columns = (_boxes(length, side) for length in images.shape[1:3])
    found = np.empty((len(images), side * side * images.shape[3]), np.float32)
    for start in range(0, len(images), BATCH_SIZE):
        part = np.asarray(images[start : start + BATCH_SIZE], np.float32)
        small = np.einsum("ai,bj,nijc->nabc", rows, columns, part, optimize=True)
        found[start : start + BATCH_SIZE] = (small / 127.5 - 1.0).reshape(len(part), -1)
    return found


def _boxes(length: int, side: int) -> np.ndarray:
    """Return the share of each pixel in each box's average, float32 (side, length)."""
    edges, pixels = np.linspace(0, length, side + 1), np.arange(length)
    shared = np.minimum(edges[1:, np.newaxis], pixels + 1) - np.maximum(edges[:-1, np.newaxis], pixels)
    return (np.clip(shared, 0, None) * side / length).astype(np.float32)

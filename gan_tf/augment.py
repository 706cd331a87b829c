"""Differentiable augmentation: what the discriminator sees is changed at random, real and fake images alike.

Zhao et al. 2020, *Differentiable Augmentation for Data-Efficient GAN Training*, section 3.2, with the constants of the
paper and of its authors' code. A discriminator that never sees a training image twice as it is cannot know it by heart.
Hand one of these to `GAN.compile(augment=...)`: each is a pure function of images, float (batch, height, width,
channels) in [-1, 1] and at least 8 pixels high and wide, and of a seed, two integers. It returns images of the same
shape and dtype, draws for each image by itself, and can be differentiated in the images, so that the generator learns
through it. Nothing is clipped: what is drawn out of [-1, 1] stays there, where a clip would stop the gradient.

What goes through it must be real and fake. Where only real images do, their augmentation is what the generator learns:
it leaks (Zhao et al., section 3.1). Where both do, it leaks only as far as a distribution cannot be told from its
augmented one (Karras et al. 2020, *Training Generative Adversarial Networks with Limited Data*, section 2.2).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from gan_tf import UsageError
from gan_tf.seeds import fold

SMALLEST = 8  # pixels; an eighth of fewer is no pixel, and a shift by that is none

registered = keras.saving.register_keras_serializable(package="gan_tf")


@registered
def translation(images: tf.Tensor, seed: tf.Tensor, share: float = 0.125) -> tf.Tensor:
    """Move each image by whole pixels, down and across by a draw each, uniform up to `share` of the side both ways.

    What comes in from outside repeats the edge, where the paper has 0, grey. On a picture with a black or white ground
    grey is a frame that no picture has, and that the discriminator must learn to see through; Karras et al. (appendix
    B) reflect the picture for that. On the bundled digits (60,000 images seen, one seed) the Fréchet distance was 21
    with the edge, 28 with grey. A digit moved on black is a digit out of its place, which could leak: the centres of
    the fakes were measured to be spread as with grey, and less than those of the digits.

    Args:
        images: of the form above.
        seed: two integers.
        share: the largest shift, of the height and of the width, in [0, 1), rounded down to pixels; 1/8 in the paper.
    """
    images = _checked(images, share)
    for axis, word in ((1, "down"), (2, "across")):
        most = int(share * images.shape[axis])
        images = _moved(images, axis, _whole(images, fold(seed, "translation", word), -most, most + 1))
    return images


@registered
def cutout(images: tf.Tensor, seed: tf.Tensor, share: float = 0.5) -> tf.Tensor:
    """Set a square of each image to 0, grey: its middle is drawn from the whole image, so that it may stand out of it.

    Args:
        images: of the form above.
        seed: two integers.
        share: what it takes of the height and of the width, in [0, 1), rounded down to pixels; 1/2 in the paper.
    """
    images = _checked(images, share)
    cut = True
    for axis, word in ((1, "down"), (2, "across")):
        side = images.shape[axis]
        size = int(share * side)
        first = _whole(images, fold(seed, "cutout", word), -(size // 2), side + 1 - size % 2 - size // 2)
        place = tf.range(side) - first[:, None]  # (batch, side), from 0 on inside the square
        cut &= _along(axis, (place >= 0) & (place < size))
    return tf.where(cut, tf.zeros((), images.dtype), images)


@registered
def colour(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change each image's brightness, its saturation where it has three channels, and its contrast, in this order.

    x becomes x + b, then m + s (x - m), where m is the mean of a pixel's channels, then μ + c (x - μ), where μ is the
    image's mean; b is uniform in [-0.5, 0.5], s in [0, 2], c in [0.5, 1.5]. Images in [-1, 1] stay within ±2.5, those
    of three channels within ±4.5. The sums are taken in float32, for in float16 a large image's would overflow.
    """
    images = _checked(images)
    x = tf.cast(images, tf.float32)
    x += _uniform(x, fold(seed, "brightness"), -0.5, 0.5)
    if x.shape[-1] == 3:
        x = _spread(x, [3], _uniform(x, fold(seed, "saturation"), 0.0, 2.0))
    x = _spread(x, [1, 2, 3], _uniform(x, fold(seed, "contrast"), 0.5, 1.5))
    return tf.cast(x, images.dtype)


@registered
def diffaugment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change the colour, then move, then cut out: the paper's strongest policy, for the smallest sets of images."""
    return in_sequence(colour, translation, cutout)(images, seed)


@registered
class InSequence:
    """Functions of (images, seed), one after the other, each with a seed of its own; `in_sequence` makes it.

    A GAN that is compiled with it is saved with it, if each function has a name by which Keras finds it again.
    """

    def __init__(self, functions: list[Callable]):
        self.functions = list(functions)
        for function in self.functions:
            if not callable(function) or isinstance(function, keras.Layer):
                raise UsageError(f"in_sequence takes functions of (images, seed), got {function!r:.50}")

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for number, function in enumerate(self.functions):
            images = function(images, fold(seed, "in turn", number))
        return images

    def get_config(self) -> dict:
        """Return what `__init__` is given."""
        return {"functions": self.functions}

    @classmethod
    def from_config(cls, config: dict) -> "InSequence":
        """Make it of what `get_config` returned and Keras wrote."""
        return cls([keras.saving.deserialize_keras_object(function) for function in config["functions"]])


def in_sequence(*functions: Callable) -> InSequence:
    """Return an augmentation that does what others do, in their order: `in_sequence(translation, cutout)`."""
    return InSequence(functions)


def _moved(images: tf.Tensor, axis: int, by: tf.Tensor) -> tf.Tensor:
    side = images.shape[axis]
    source = tf.range(side) - by[:, None]  # (batch, side), the place that each place is filled from
    return tf.gather(images, tf.clip_by_value(source, 0, side - 1), axis=axis, batch_dims=1)


def _along(axis: int, values: tf.Tensor) -> tf.Tensor:
    """Return values of (batch, side) as (batch, side, 1, 1) or (batch, 1, side, 1)."""
    return values[:, :, None, None] if axis == 1 else values[:, None, :, None]


def _spread(x: tf.Tensor, axes: list[int], factor: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(x, axes, keepdims=True)
    return mean + factor * (x - mean)


def _whole(images: tf.Tensor, seed: tf.Tensor, low: int, high: int) -> tf.Tensor:
    """Draw a whole number from low to high - 1 for each image: int32 (batch,)."""
    return tf.random.stateless_uniform((tf.shape(images)[0],), seed, low, high, tf.int32)


def _uniform(images: tf.Tensor, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Draw a number for each image: float32 (batch, 1, 1, 1)."""
    return tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, low, high)


def _checked(images, share: float = 0.0) -> tf.Tensor:
    images = tf.convert_to_tensor(images)
    if not 0.0 <= share < 1.0:
        raise UsageError(f"share is a part of the image's side, in [0, 1), got {share}")
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise UsageError(f"augmentation takes images (batch, height, width, channels), got {images.shape}")
    if not images.dtype.is_floating:
        raise UsageError(f"augmentation takes floats in [-1, 1], as data.to_float makes, got {images.dtype.name}")
    height, width, _ = images.shape[1:]
    if min(height, width) < SMALLEST:
        raise UsageError(f"augmentation takes images of at least {SMALLEST}x{SMALLEST}, got {height}x{width}")
    return images

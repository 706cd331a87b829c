"""Penalties on the discriminator's gradient: pure functions for `GAN.compile(penalties=[(penalties.r1, weight)])`.

Each takes (critic, real, fake, seed) and returns a scalar, a mean over images. `critic` maps images to logits, of its
labels and augmentation it knows by itself, see `GAN.judge`; real and fake are floats (batch, ...) in [-1, 1] of one
shape; the seed, two integers, is this penalty's and this replica's own. The gradient is by the images, of the sum of
the batch's logits, and the length of an image's gradient is over all axes but the first. It is in the images' float32
whatever the layers compute in.

That gradient is each image's own only where D judges each image by itself. Through `models.MinibatchStddev` or batch
normalisation in D an image also moves the logits of all others: then the penalty is of a mixture of them (Gulrajani et
al. 2017, section 4, recommend layer normalisation for that reason). Augmentation must be differentiable, as those of
`gan_tf.augment` are; the gradient is by the image before it.

What is differentiated twice is wrong through Keras's normalisation layers, see `models.LayerNormalization`; those that
`models` puts into its discriminators are right.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

registered = keras.saving.register_keras_serializable(package="gan_tf")


class Penalty(NamedTuple):
    """What the discriminator's loss has beside the game: `weight * of(critic, real, fake, seed)`, a scalar.

    `critic` maps images to logits, see `GAN.judge`. A lazy penalty is computed in every `every`-th step only, and then
    `every` times as large (Karras et al. 2020, appendix B). That is not harmless: R1 and R2 in every 8th step did not
    converge at all on Stacked MNIST and in the plane (Huang et al. 2024, appendix E).
    """

    of: Callable[[Callable, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    weight: float
    every: int = 1


@registered
def gradient_penalty(critic: Callable, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return E[(||∇D(x̂)|| - 1)²] at points x̂ between real and fake; 1 where D is constant.

    Gulrajani et al. 2017, equation 3: weight 10 there, with `losses.wasserstein` and five critic steps. It pulls from
    both sides: a gradient shorter than 1 costs, too. The 1e-12 under the root keeps the gradient finite, and 0, where
    ||∇D|| is 0, as behind dead ReLUs: the root's own slope is infinite there. It changes a length of 1 by 5e-13.
    """
    squares = _squared_lengths(critic, between(real, fake, seed))
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1.0))


@registered
def r1(critic: Callable, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return E[||∇D(x)||²] at real images; 0 where D is constant.

    Mescheder et al. 2018, equation 9, which has a factor of γ/2 before it: that is the weight, `(penalties.r1, γ / 2)`.
    """
    return tf.reduce_mean(_squared_lengths(critic, real))


@registered
def r2(critic: Callable, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return E[||∇D(G(z))||²] at fakes; 0 where D is constant.

    Mescheder et al. 2018, section 4.1, with the weight γ/2, as R1. Beside it in R3GAN (Huang et al. 2024).
    """
    return tf.reduce_mean(_squared_lengths(critic, fake))


@registered
def approximate_r1(
    critic: Callable, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor, deviation: float = 0.01
) -> tf.Tensor:
    """Return E[(D(x) - D(x + σε))²] at real images, ε standard normal: R1 without a gradient; 0 where D is constant.

    Lin et al. 2025, *Diffusion Adversarial Post-Training*, the approximated R1 with their σ, `deviation`; their weight
    of it, λ, is 100. To first order it is σ² E[||∇D(x)||²], so that λ = γ / (2σ²) stands for R1's γ: theirs is 0.02.
    D must draw nothing by itself: dropout and noise differ from one call to the next, and the difference would be full
    of that. For layers in 16 bits, whose steps are as large as the noise, it is nothing.
    """
    near = real + tf.cast(deviation, real.dtype) * tf.random.stateless_normal(tf.shape(real), seed, dtype=real.dtype)
    return tf.reduce_mean(tf.square(critic(real) - critic(near)))


def between(real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return a point on the line from each real image to the fake at its place: one number an image, uniform in [0, 1).

    Gulrajani et al. 2017, algorithm 1, lines 5 and 6.
    """
    shape = tf.concat([tf.shape(real)[:1], tf.ones([real.shape.rank - 1], tf.int32)], 0)
    share = tf.random.stateless_uniform(shape, seed, dtype=real.dtype)
    return real + share * (tf.cast(fake, real.dtype) - real)


def _squared_lengths(critic: Callable, images: tf.Tensor) -> tf.Tensor:
    """Return ||∇D||² for each image: (batch,)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = critic(images)
    gradient = tape.gradient(logits, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.reduce_sum(tf.square(gradient), axis=range(1, images.shape.rank))

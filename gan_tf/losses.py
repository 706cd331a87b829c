"""Adversarial objectives as pairs of pure functions on logits.

A discriminator returns logits l = log(D / (1 - D)), so that D = sigmoid(l). With softplus(l) = log(1 + exp(l)),
-log D = softplus(-l) and -log(1 - D) = softplus(l): no logarithm of a rounded probability is ever taken, and every loss
here is finite with a finite gradient for logits of +-1e4 and beyond.

Each objective is a `Loss`: `loss.discriminator(real_logits, fake_logits)` and `loss.generator(fake_logits)`, both to be
minimised, each by its own player.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Loss(NamedTuple):
    """What each player minimises.

    Args:
        generator: fake_logits (batch, 1) -> scalar.
        discriminator: real_logits (batch, 1), fake_logits (batch, 1) -> scalar.
    """

    generator: Callable[[tf.Tensor], tf.Tensor]
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def share(self, replicas: int) -> "Loss":
        """Return what each of several replicas minimises: their gradients add up to those of the whole batch."""
        if replicas == 1:
            return self
        return Loss(lambda fake: self.generator(fake) / replicas, lambda *both: self.discriminator(*both) / replicas)


def cross_entropy_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -V(D, G) = -E[log D(x)] - E[log(1 - D(G(z)))], which the discriminator minimises.

    It is binary cross-entropy with label 1 for real and 0 for fake, summed over the two halves.

    Args:
        real_logits: float (batch, 1), the discriminator's logits for real images.
        fake_logits: float (batch, 1), its logits for generated ones.

    Returns:
        A float scalar, in nats; 2 log 2 = 1.386 when D says 1/2 everywhere.

    Source: Goodfellow et al. 2014, equation 1. Differs: none.
    """
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))


def non_saturating_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -E[log D(G(z))], whose gradient is strong where the discriminator is sure that a fake is fake.

    Args:
        fake_logits: float (batch, 1), the discriminator's logits for generated images.

    Returns:
        A float scalar, in nats; log 2 = 0.693 when D says 1/2.

    Source: Goodfellow et al. 2014, section 3, last paragraph. Differs: none.
    """
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def minimax_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[log(1 - D(G(z)))], the saturating loss: its gradient fades as the discriminator rejects the fakes.

    Args:
        fake_logits: float (batch, 1), the discriminator's logits for generated images.

    Returns:
        A float scalar, in nats, never positive; -log 2 = -0.693 when D says 1/2.

    Source: Goodfellow et al. 2014, equation 1, the part of V(D, G) that depends on G. Differs: none.
    """
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


def least_squares_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[(D(x) - 1)^2] / 2 + E[D(G(z))^2] / 2, where D is the raw output without a sigmoid.

    Args:
        real_logits: float (batch, 1), the discriminator's outputs for real images.
        fake_logits: float (batch, 1), its outputs for generated ones.

    Returns:
        A float scalar; 1/4 when D says 1/2 everywhere.

    Source: Mao et al. 2017, equation 2 with a = 0, b = 1. Differs: none.
    """
    return 0.5 * tf.reduce_mean(tf.square(real_logits - 1.0)) + 0.5 * tf.reduce_mean(tf.square(fake_logits))


def least_squares_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[(D(G(z)) - 1)^2] / 2, where D is the raw output without a sigmoid.

    Args:
        fake_logits: float (batch, 1), the discriminator's outputs for generated images.

    Returns:
        A float scalar; 1/8 when D says 1/2.

    Source: Mao et al. 2017, equation 2 with c = 1. Differs: none.
    """
    return 0.5 * tf.reduce_mean(tf.square(fake_logits - 1.0))


non_saturating = Loss(non_saturating_generator_loss, cross_entropy_discriminator_loss)
minimax = Loss(minimax_generator_loss, cross_entropy_discriminator_loss)
least_squares = Loss(least_squares_generator_loss, least_squares_discriminator_loss)

LOSSES = {"non_saturating": non_saturating, "minimax": minimax, "least_squares": least_squares}


def reconstruction(
    fake_logits: tf.Tensor, target: tf.Tensor, output: tf.Tensor, *, weight: float, adversarial: Loss = non_saturating
) -> tf.Tensor:
    """Return adversarial.generator(fake_logits) + weight * MSE(target, output), for a generator with a known target.

    Args:
        fake_logits: float (batch, 1), the discriminator's logits for `output`.
        target: float (batch, ...), what the generator should have made, in [-1, 1] for images.
        output: float, the same shape, what it made.
        weight: lambda, at least 0; 0 leaves the adversarial loss alone.
        adversarial: the pair whose generator half is used.

    Returns:
        A float scalar.

    Raises:
        ValueError: `weight` is negative or not finite, or `target` and `output` differ in shape.

    Source: Pathak et al. 2016, equation 3 (L2 plus adversarial); Isola et al. 2017, equation 4 (the same sum with L1).
    Differs: one weight, on the reconstruction; the mean over pixels, so that lambda does not depend on the image size.
    """
    if not 0.0 <= weight < float("inf"):
        raise ValueError(f"weight must be a finite number of at least 0, got {weight}")
    if not tf.TensorShape(target.shape).is_compatible_with(output.shape):
        raise ValueError(f"target and output must have one shape, got {target.shape} and {output.shape}")
    return adversarial.generator(fake_logits) + weight * tf.reduce_mean(tf.square(target - output))

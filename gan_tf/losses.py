"""Adversarial objectives: pairs of pure functions on logits, each to be minimised by its own player.

Logits are float (batch, 1), losses are scalars in nats. A logit l stands for the probability D = sigmoid(l), so that
-log D = softplus(-l) and -log(1 - D) = softplus(l), where softplus(l) = log(1 + exp(l)). No logarithm of a rounded
probability is ever taken: every loss here is finite, with a finite gradient, for logits of ±10,000 and beyond.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from gan_tf import UsageError


class Loss(NamedTuple):
    """What each player minimises, as functions of (real_logits, fake_logits).

    Only a `paired` generator loss looks at the real logits, as a relativistic one does; others are given None for them.
    """

    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    paired: bool = False


def cross_entropy_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -V(D, G) = -E[log D(x)] - E[log(1 - D(G(z)))]; 2 log 2 = 1.386 when D says 1/2 everywhere.

    Goodfellow et al. 2014, equation 1. It is the sum of two binary cross-entropies: label 1 for real, 0 for fake.
    """
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))


def non_saturating_generator_loss(real_logits: tf.Tensor | None, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -E[log D(G(z))], whose gradient is strong where D is sure that a fake is fake; log 2 when D says 1/2.

    Goodfellow et al. 2014, section 3, last paragraph.
    """
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def minimax_generator_loss(real_logits: tf.Tensor | None, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[log(1 - D(G(z)))], whose gradient fades where D is sure that a fake is fake; -log 2 when D says 1/2.

    Goodfellow et al. 2014, equation 1: the part of V(D, G) that depends on G.
    """
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


def least_squares_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[(D(x) - 1)²] / 2 + E[D(G(z))²] / 2, where D is the raw output; 1/4 when that is 1/2 everywhere.

    Mao et al. 2017, equation 2 with a = 0 and b = 1.
    """
    return 0.5 * tf.reduce_mean(tf.square(real_logits - 1.0)) + 0.5 * tf.reduce_mean(tf.square(fake_logits))


def least_squares_generator_loss(real_logits: tf.Tensor | None, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[(D(G(z)) - 1)²] / 2, where D is the raw output; 1/8 when that is 1/2.

    Mao et al. 2017, equation 2 with c = 1.
    """
    return 0.5 * tf.reduce_mean(tf.square(fake_logits - 1.0))


non_saturating = Loss(non_saturating_generator_loss, cross_entropy_discriminator_loss)
minimax = Loss(minimax_generator_loss, cross_entropy_discriminator_loss)
least_squares = Loss(least_squares_generator_loss, least_squares_discriminator_loss)

LOSSES = {"non_saturating": non_saturating, "minimax": minimax, "least_squares": least_squares}


def named(loss: Loss | str) -> Loss:
    """Return a loss, looked up where only its name is given.

    Raises:
        UsageError: it is none.
    """
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    if not isinstance(loss, Loss):
        raise UsageError(f"loss must be a losses.Loss or one of {', '.join(LOSSES)}, got {loss!r:.100}")
    return loss

"""Adversarial objectives: pairs of pure functions on logits, each to be minimised by its own player.

Logits are float (batch, 1), losses are scalars in nats. A logit l stands for the probability D = sigmoid(l), so that
-log D = softplus(-l) and -log(1 - D) = softplus(l), where softplus(l) = log(1 + exp(l)). No logarithm of a rounded
probability is ever taken: every loss here is finite, with a finite gradient, for logits of ±10,000 and beyond.
Least squares, hinge and Wasserstein read a logit as it is, a raw output; Wasserstein and relativistic losses do not
change where the same number is added to all logits, so that a logit by itself, and its sign, mean nothing there.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from gan_tf import UsageError

registered = keras.saving.register_keras_serializable(package="gan_tf")


class Loss(NamedTuple):
    """What each player minimises, as functions of (real_logits, fake_logits).

    Only a `paired` generator loss looks at the real logits, as a relativistic one does; others are given None for them.
    """

    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    paired: bool = False


@registered
def cross_entropy_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor, real_label: float = 1.0
) -> tf.Tensor:
    """Return -V(D, G) = -E[log D(x)] - E[log(1 - D(G(z)))]; 2 log 2 = 1.386 when D says 1/2 everywhere.

    Goodfellow et al. 2014, equation 1. It is the sum of two binary cross-entropies: label 1 for real, 0 for fake. For
    another `real_label` see `smoothed`; it adds (1 - real_label) E[logit of x], for -log(1 - D) + log D = l.
    """
    loss = tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))
    return loss if real_label == 1.0 else loss + (1.0 - real_label) * tf.reduce_mean(real_logits)


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


@registered
def least_squares_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor, real_label: float = 1.0
) -> tf.Tensor:
    """Return E[(D(x) - 1)²] / 2 + E[D(G(z))²] / 2, where D is the raw output; 1/4 when that is 1/2 everywhere.

    Mao et al. 2017, equation 2 with a = 0 and b = 1; b is `real_label`, see `smoothed`.
    """
    return 0.5 * tf.reduce_mean(tf.square(real_logits - real_label)) + 0.5 * tf.reduce_mean(tf.square(fake_logits))


def least_squares_generator_loss(real_logits: tf.Tensor | None, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[(D(G(z)) - 1)²] / 2, where D is the raw output; 1/8 when that is 1/2.

    Mao et al. 2017, equation 2 with c = 1.
    """
    return 0.5 * tf.reduce_mean(tf.square(fake_logits - 1.0))


def hinge_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], where D is the raw output; 2 when that is 0 everywhere.

    Lim and Ye 2017, *Geometric GAN*; Miyato et al. 2018, equation 16, with the sign of what is minimised. An image that
    is beyond the margin, real above 1 or fake below -1, no longer teaches the discriminator.
    """
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))


def wasserstein_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[D(G(z))] - E[D(x)], where D is the raw output; 0 when that is the same everywhere.

    Arjovsky et al. 2017, equation 2, negated. Minus this loss estimates the Wasserstein distance, from below, only for
    a D that is 1-Lipschitz. The paper clips D's weights for that; nothing here does: without a gradient penalty
    (`gan_tf.penalties`) or spectral normalisation the loss falls without bound.
    """
    return tf.reduce_mean(fake_logits) - tf.reduce_mean(real_logits)


def wasserstein_generator_loss(real_logits: tf.Tensor | None, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -E[D(G(z))], where D is the raw output; -1 when that is 1. Its gradient is as strong for every D(G(z)).

    Arjovsky et al. 2017, algorithm 1, line 10; with the hinge loss, Miyato et al. 2018, equation 17.
    """
    return -tf.reduce_mean(fake_logits)


def relativistic_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[softplus(D(G(z)) - D(x))]: that real is above fake, by pairs; log 2 when all logits are equal.

    Jolicoeur-Martineau 2019, section 4.1 (RSGAN); Huang et al. 2024 (R3GAN), equation 2. The papers' mean is over pairs
    drawn from both distributions: here, as in R3GAN's code, real image i meets fake i alone, so that there must be as
    many of both.
    """
    return tf.reduce_mean(tf.nn.softplus(fake_logits - real_logits))


def relativistic_generator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return E[softplus(D(x) - D(G(z)))]: that fake is above real, by pairs; log 2 when all logits are equal.

    The non-saturating half, as in Jolicoeur-Martineau 2019 and in R3GAN's code; the text of R3GAN writes a zero-sum
    game, in which the generator would minimise the discriminator's loss negated.
    """
    return tf.reduce_mean(tf.nn.softplus(real_logits - fake_logits))


non_saturating = Loss(non_saturating_generator_loss, cross_entropy_discriminator_loss)
minimax = Loss(minimax_generator_loss, cross_entropy_discriminator_loss)
least_squares = Loss(least_squares_generator_loss, least_squares_discriminator_loss)
hinge = Loss(wasserstein_generator_loss, hinge_discriminator_loss)
wasserstein = Loss(wasserstein_generator_loss, wasserstein_discriminator_loss)
relativistic = Loss(relativistic_generator_loss, relativistic_discriminator_loss, paired=True)

LOSSES = {"non_saturating": non_saturating, "minimax": minimax, "least_squares": least_squares}
LOSSES |= {"hinge": hinge, "wasserstein": wasserstein, "relativistic": relativistic}
WITH_LABELS = (cross_entropy_discriminator_loss, least_squares_discriminator_loss)


@registered
@dataclasses.dataclass(frozen=True)
class Smoothed:
    """A discriminator's loss with another label for real images than 1: what `smoothed` makes, and `save` keeps.

    Raises:
        UsageError: the loss has no label, or the label is not in (0.5, 1].
    """

    function: Callable[..., tf.Tensor]
    real_label: float

    def __post_init__(self):
        if self.function not in WITH_LABELS:
            known = ", ".join(name for name, loss in LOSSES.items() if loss.discriminator in WITH_LABELS)
            raise UsageError(f"only losses with labels can be smoothed: {known}")
        if not isinstance(self.real_label, int | float) or not 0.5 < self.real_label <= 1.0:
            raise UsageError(f"real_label must be above 0.5 and at most 1, got {self.real_label!r:.50}")

    def __call__(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return self.function(real_logits, fake_logits, self.real_label)

    def get_config(self) -> dict:
        """Return what `__init__` is given."""
        return {"function": self.function, "real_label": self.real_label}

    @classmethod
    def from_config(cls, config: dict) -> "Smoothed":
        """Make it of what `get_config` returned and Keras wrote."""
        return cls(keras.saving.deserialize_keras_object(config["function"]), config["real_label"])


def smoothed(loss: Loss | str, real_label: float = 0.9) -> Loss:
    """Return a loss whose discriminator aims at `real_label`, in (0.5, 1], for real images and still at 0 for fakes.

    One-sided label smoothing, Salimans et al. 2016, section 3.2: the best D is real_label p / (p + q), p and q the
    densities of real images and fakes, and is never certain. A label of fakes above 0 would add a multiple of q to the
    numerator: where there are only fakes, nothing would tell them to move. At logits of 0 the cross-entropy is 2 log 2
    for any label. The generator's half is as it was.

    Raises:
        UsageError: the loss has no labels, or the label is out of range.
    """
    pair = named(loss)
    return pair._replace(discriminator=Smoothed(pair.discriminator, real_label))


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

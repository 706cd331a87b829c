"""What can be measured of two players while they play: who wins, who learns, what the fakes are like; and its figure.

A row of diagnostics.csv comes from a `look` and the `gradient_lengths` on as many images as a step has, in the mode of
training, with every state put back: to measure is not to train. `gan_tf.doctor` puts names to what the rows show.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.spatial.distance import cdist, pdist

from gan_tf import gan, losses
from gan_tf.gan import Batch

# The logit of a D that takes an image for neither; for other losses 0. None: of these only differences mean something.
UNDECIDED = {losses.least_squares: 0.5, losses.wasserstein: None, losses.relativistic: None}
Measured = dict[str, tf.Tensor]


def look(model: gan.GAN, batch: Batch, held_out: Batch, seed: tf.Tensor) -> Measured:
    """Show the discriminator training images, fakes and as many held-out images, and change nothing.

    Returns:
        `real_logits`, `fake_logits`, `held_out_logits`, float32 (batch,), and `fake`, float32 images.
    """
    with model.unchanged():
        fake = model.generator(model.generator_inputs(batch, seed), training=True)
        critic = model.critic(batch, seed)
        logits = {"real": critic(batch["images"], "real"), "fake": critic(fake, "fake")}
        logits["held_out"] = model.critic(held_out, seed)(held_out["images"], "held-out")

    found = {f"{name}_logits": tf.reshape(value, [-1]) for name, value in logits.items()}
    return found | {"fake": tf.cast(fake, tf.float32)}


def gradient_lengths(model: gan.GAN, batch: Batch, seed: tf.Tensor) -> Measured:
    """Return the lengths of both players' gradients over all their weights, scalars, and change nothing."""
    with model.unchanged():
        fake = model.generator(model.generator_inputs(batch, seed), training=True)
        with tf.GradientTape() as tape:
            loss = model.discriminator_objective(batch, fake, seed) + sum(model.discriminator.losses)
        found = {"discriminator_gradient": _length(model, "discriminator", tape, loss)}

        with tf.GradientTape() as tape:
            fake = model.generator(model.generator_inputs(batch, seed), training=True)
            loss = model.generator_objective(batch, fake, seed) + sum(model.generator.losses)
        return found | {"generator_gradient": _length(model, "generator", tape, loss)}


def _length(model: gan.GAN, player: str, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
    """Return the length of a player's gradient; in float16 it is scaled on its way, as in training."""
    scale = getattr(model, f"{player}_optimizer").scale_loss(tf.ones_like(loss))
    gradients = tape.gradient(loss, getattr(model, player).trainable_variables, output_gradients=scale)
    return tf.linalg.global_norm([None if g is None else tf.cast(g, tf.float32) for g in gradients]) / scale


def summary(
    found: Sequence[dict[str, np.ndarray]], real: np.ndarray, undecided: float | None = 0.0
) -> dict[str, float]:
    """Return a row of diagnostics from what was measured.

    Args:
        found: one or more results of `look` and `gradient_lengths`, as arrays.
        real: images, float32 (n, ...) in [-1, 1], whose diversity is the yardstick.
        undecided: the logit between real and fake; None: half-way between the means of the two.

    Returns:
        real_accuracy, fake_accuracy: shares of real images with a logit above `undecided` and of fakes with one below;
        separation: how often a real image has a higher logit than a fake, over all pairs; 0.5 is a coin, 1 is certain;
        real_logit, fake_logit, held_out_logit: means;
        logit_spread: the standard deviation of real and fake logits together;
        memorised: how far held-out images are from training images, towards the fakes, as D sees them: 0 where they
        are alike, 1 where D takes held-out images for fakes (r_v of Karras et al. 2020, *Training Generative
        Adversarial Networks with Limited Data*, equation 1); nan where D does not tell fakes from training images;
        generator_gradient, discriminator_gradient: mean lengths;
        diversity: the mean distance between two fakes over that between two real images; 0 where all are one image.
    """
    real_logits, fake_logits, held_out = (
        np.concatenate([one[f"{name}_logits"] for one in found]) for name in ("real", "fake", "held_out")
    )
    if undecided is None:
        undecided = (real_logits.mean() + fake_logits.mean()) / 2
    lead = real_logits.mean() - fake_logits.mean()
    gap = real_logits.mean() - held_out.mean()
    fakes = np.concatenate([one["fake"] for one in found])
    row = {
        "real_accuracy": np.mean(real_logits > undecided),
        "fake_accuracy": np.mean(fake_logits < undecided),
        "separation": np.mean(real_logits[:, None] > fake_logits),
        "real_logit": real_logits.mean(),
        "fake_logit": fake_logits.mean(),
        "held_out_logit": held_out.mean(),
        "logit_spread": np.std(np.concatenate([real_logits, fake_logits])),
        "memorised": gap / lead if lead > 0 else np.nan,
    }
    for player in ("generator", "discriminator"):
        row[f"{player}_gradient"] = np.mean([one[f"{player}_gradient"] for one in found])
    row["diversity"] = _mean_distance(fakes) / _mean_distance(real)
    return {name: float(value) for name, value in row.items()}


def _mean_distance(images: np.ndarray) -> float:
    return float(pdist(images.reshape(len(images), -1)).mean())


def class_shares(fakes: np.ndarray, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return how often each class comes among the fakes, as `class_0`, ...: each has that of its nearest image.

    Args:
        fakes: float32 (n, ...).
        images: real images, float32 (m, ...); a thousand are enough to tell a class that crowds out the others.
        labels: theirs, whole numbers (m,).
    """
    distances = cdist(fakes.reshape(len(fakes), -1), images.reshape(len(images), -1))
    nearest = labels[distances.argmin(axis=1)]
    return {f"class_{label}": float(np.mean(nearest == label)) for label in np.unique(labels)}


PANELS = {  # title: unit, scale, columns by their label
    "Who is told apart": ("share", "linear", {"real": "real_accuracy", "fake": "fake_accuracy"}),
    "What the discriminator says": (
        "mean logit",
        "linear",
        {"training images": "real_logit", "held-out images": "held_out_logit", "fakes": "fake_logit"},
    ),
    "Held-out images taken for fakes": ("0: none, 1: all", "linear", {"memorised": "memorised"}),
    "Length of the gradients": (
        "over all weights",
        "log",
        {"discriminator": "discriminator_gradient", "generator": "generator_gradient"},
    ),
    "Length of a step": (
        "part of the weights'",
        "log",
        {"discriminator": "discriminator_update", "generator": "generator_update"},
    ),
    "How unlike the fakes are": ("real images = 1", "linear", {"diversity": "diversity"}),
}


def plot(table: dict[str, list[float]]) -> plt.Figure:
    """Draw diagnostics in six panels over the images seen, and where there are labels the largest class's share."""
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.5), layout="tight", sharex=True)
    colours = {"fake": "C1", "fakes": "C1", "generator": "C1", "held-out images": "C2"}
    for axis, (title, (unit, scale, columns)) in zip(axes.flat, PANELS.items(), strict=True):
        for label, column in columns.items():
            axis.plot(table["images"], table[column], color=colours.get(label, "C0"), label=label)
        axis.set(title=title, ylabel=unit, yscale=scale)
        if axis in axes[1]:
            axis.set_xlabel("images seen")
    axes[0, 0].set_ylim(-0.02, 1.02)
    axes[1, 2].set_ylim(bottom=0)

    shares = [values for name, values in table.items() if name.startswith("class_")]
    if shares:
        largest = np.max(shares, axis=0)
        axes[1, 2].plot(table["images"], largest, color="C3", linestyle="--", label="share of the largest class")
    for axis in axes.flat:
        if len(axis.lines) > 1:
            axis.legend(fontsize="small")
    return figure

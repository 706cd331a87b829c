"""The default recipe: settings -> a compiled GAN."""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from gan_tf import UsageError, augment, conditional, data, gan, losses, models
from gan_tf.runs.settings import Settings
from gan_tf.sizes import doublings

CLASSES = 10  # of MNIST, where a run does not say
AUGMENTATIONS = {"auto": None, "none": None, "translation": augment.translation, "diffaugment": augment.diffaugment}


def build(settings: Settings) -> gan.GAN:
    """Build and compile the GAN of a run: the default recipe, and the place to change it."""
    settings = settings.with_model_defaults()
    keras.utils.set_random_seed(settings.seed)

    with dtype_policy(settings.precision):
        generator, discriminator = networks(settings)

    model = gan.GAN(generator, discriminator, ema_decay=settings.ema_decay, seed=settings.seed)
    model.compile(
        optimizer(settings, settings.generator_learning_rate),
        optimizer(settings, settings.discriminator_learning_rate),
        loss=losses.LOSSES[settings.loss],
        augment=AUGMENTATIONS[settings.augment],
    )
    return model


def networks(settings: Settings) -> tuple[keras.Model, keras.Model]:
    """Build a generator and a discriminator, and put the label into both where the run is conditional."""
    *size, channels = settings.image_shape
    if not settings.conditional:
        return NETWORKS[settings.model](settings, (*size, channels))

    classes = settings.classes or CLASSES
    with_label = dataclasses.replace(settings, latent_dim=settings.latent_dim + conditional.LABEL_DIM)
    generator, discriminator = NETWORKS[settings.model](with_label, (*size, channels + 1))
    generator = conditional.conditional_generator(generator, classes)
    return generator, conditional.concatenation(discriminator, classes)


def dcgan_networks(settings: Settings, seen: tuple[int, int, int]) -> tuple[keras.Model, ...]:
    """Build a generator and a discriminator of convolutions.

    They differ from those of TensorFlow's tutorial. The generator is smaller: 10 numbers of noise in place of 100, half
    the width, 3x3 kernels where images are smallest, then 4x4. The discriminator has a third convolution, noise on what
    it sees in place of dropout, and a look at the whole batch. Both let less through below zero.
    """
    if len(settings.generator_widths) > (most := doublings(settings.image_shape[0]) + 1):
        size, got = settings.image_shape[0], settings.generator_widths
        raise UsageError(f"generator_widths of a dcgan of {size} pixels must be {most} or fewer, got {got}")

    generator = models.dcgan_generator(
        settings.latent_dim,
        settings.generator_widths,
        first_kernel=3,
        kernel=4,
        slope=0.1,
        image_shape=settings.image_shape,
    )
    discriminator = models.dcgan_discriminator(
        settings.discriminator_widths,
        dropout=0.0,
        input_noise=settings.input_noise,
        minibatch_stddev=True,
        slope=0.1,
        image_shape=seen,
    )
    return generator, discriminator


def mlp_networks(settings: Settings, seen: tuple[int, int, int]) -> tuple[keras.Model, ...]:
    """Build the fully connected generator and discriminator of the older tutorials."""
    generator = models.mlp_generator(settings.latent_dim, settings.generator_widths, settings.image_shape)
    discriminator = models.mlp_discriminator(settings.discriminator_widths, image_shape=seen)
    return generator, discriminator


NETWORKS = {"dcgan": dcgan_networks, "mlp": mlp_networks}


def optimizer(settings: Settings, learning_rate: float) -> keras.optimizers.Optimizer:
    """Build one player's Adam."""
    return keras.optimizers.Adam(learning_rate, *settings.betas)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Let the layers that are made meanwhile compute in this precision, and no others."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def step_bytes(model: gan.GAN, batch_size: int) -> int:
    """Estimate the memory of one train step: activations and their gradients, weights, averages and Adam's moments.

    Every layer's output is kept for the gradient; the discriminator works on as many fakes as reals.
    """
    made, judged = (
        sum(math.prod(layer.output.shape[1:]) for layer in player.layers)
        for player in (model.generator, model.discriminator)
    )
    activations = 2 * batch_size * (made + 2 * judged)
    weights = 5 * model.generator.count_params() + 4 * model.discriminator.count_params()
    return 4 * (activations + weights)


def fastest_precision(settings: Settings, dataset: data.Dataset, build: Callable[[Settings], gan.GAN] = build) -> str:
    """Time a few train steps in float32 and in 16 bits on this machine, and return the faster precision.

    Args:
        settings: of the run, `precision` aside.
        dataset: of at least as many training images as a step takes.
        build: makes the compiled GAN of the settings.

    Returns:
        "float32", "mixed_bfloat16" (tried on a CPU) or "mixed_float16" (tried on a GPU); 16 bits must be 5 % faster.
    """
    half = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    if half == "mixed_bfloat16" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        return "float32"  # TensorFlow 2.21 crashes in bfloat16 when oneDNN is forbidden instructions that the CPU has

    seconds = {}
    for precision in ("float32", half):
        model = build(dataclasses.replace(settings, precision=precision))
        labels = dataset.y_train if model.labelled else None
        size = settings.batch_size * model.critic_steps
        batches = data.batches(dataset.x_train, size, seed=0, labels=labels, endless=True)
        model.fit(batches, steps_per_epoch=3, verbose=0)  # compiles
        started = time.perf_counter()
        model.fit(batches, steps_per_epoch=10, verbose=0)
        seconds[precision] = time.perf_counter() - started

    fastest = half if seconds[half] < 0.95 * seconds["float32"] else "float32"
    timed = ", ".join(f"{100 * value:.0f} ms a step in {name}" for name, value in seconds.items())
    print(f"precision: {fastest} ({timed})")
    return fastest

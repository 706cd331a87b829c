"""The default recipe: settings -> a compiled GAN."""

import dataclasses
import os
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gan_tf import data, gan, losses, models, replicas
from gan_tf.runs.settings import Settings


def build(settings: Settings) -> gan.GAN:
    """Build and compile the GAN of a run: the default recipe, and the place to change it.

    The DCGAN differs from the literature's: less generator (half the width, a 3x3 kernel where images are smallest), a
    discriminator with a third convolution, noise on what it sees in place of dropout and a look at the whole batch, and
    Adam with a rate ten times as high. The fully connected GAN keeps the older tutorials' networks and Adam.
    """
    keras.utils.set_random_seed(settings.seed)
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(settings.precision)
    if settings.model == "dcgan":
        generator = models.dcgan_generator(widths=(128, 64, 32), first_kernel=3)
        discriminator = models.dcgan_discriminator((32, 128, 256), 0.0, input_noise=0.2, minibatch_stddev=True)
        rate, betas = 1e-3, (0.0, 0.99)
    else:
        generator, discriminator = models.mlp_generator(), models.mlp_discriminator()
        rate, betas = 2e-4, (0.5, 0.999)
    keras.mixed_precision.set_dtype_policy(policy)
    model = gan.GAN(generator, discriminator, ema_decay=0.9995, seed=settings.seed)
    optimizers = []
    for _ in ("generator", "discriminator"):
        optimizer = keras.optimizers.Adam(rate, *betas)
        scaled = settings.precision == "mixed_float16"
        optimizers.append(replicas.SharedLossScale(optimizer) if scaled else optimizer)
    model.compile(*optimizers, loss=losses.LOSSES[settings.loss])
    return model


def step_bytes(model: gan.GAN, batch_size: int) -> int:
    """Estimate the memory of one train step: activations and their gradients, weights, averages and Adam's moments.

    Every layer's output is kept for the gradient; the discriminator works on as many fakes as reals.
    """
    kept = [
        sum(int(np.prod(layer.output.shape[1:])) for layer in player.layers)
        for player in (model.generator, model.discriminator)
    ]
    weights = 5 * model.generator.count_params() + 4 * model.discriminator.count_params()
    return 4 * (2 * batch_size * (kept[0] + 2 * kept[1]) + weights)


def fastest_precision(settings: Settings, images: np.ndarray, build: Callable[[Settings], gan.GAN] = build) -> str:
    """Time a few train steps in float32 and in 16 bits on this machine, and return the faster precision.

    Args:
        settings: of the run, `precision` aside.
        images: uint8 (n, 28, 28, 1) with n of at least the batch size.
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
        batches = data.batches(images, settings.batch_size, seed=0, endless=True)
        model.fit(batches, steps_per_epoch=3, verbose=0)  # compiles
        started = time.perf_counter()
        model.fit(batches, steps_per_epoch=10, verbose=0)
        seconds[precision] = time.perf_counter() - started
    chosen = half if seconds[half] < 0.95 * seconds["float32"] else "float32"
    timed = ", ".join(f"{100 * value:.0f} ms a step in {name}" for name, value in seconds.items())
    print(f"precision: {chosen} ({timed})")
    return chosen

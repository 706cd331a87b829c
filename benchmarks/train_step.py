"""Images per second of one train step, the same networks and batch for all: `python benchmarks/train_step.py`.

The contestants take turns in one process; a turn is a few steps, a result the median over turns. PyTorch takes part in
each of its modes where it is installed (`pip install torch`); it is not a dependency of the project.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from report import machine, write_section
from tqdm import tqdm
from tutorial import BATCH_SIZE, Tutorial

from gan_tf import data, gan, models

STEPS = 12
ROUNDS = 5


def ours(precision: str, served: tf.data.Dataset) -> Callable[[], object]:
    """Return a turn of `GAN.fit` on the tutorial's networks and optimizers."""
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    model = gan.GAN(models.dcgan_generator(), models.dcgan_discriminator())
    keras.mixed_precision.set_dtype_policy(policy)
    model.compile(keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4))
    return lambda: model.fit(served, steps_per_epoch=STEPS, verbose=0)


def tutorial(real: tf.Tensor) -> Callable[[], object]:
    """Return a turn of the step as it is usually written."""
    contestant = Tutorial(seed=0)
    return lambda: [contestant.step(real)[0].numpy() for _ in range(STEPS)]


def train_on_batch(real: np.ndarray) -> Callable[[], object]:
    """Return a turn of the older way: two compiled models, the discriminator frozen inside the second."""
    generator, discriminator = models.dcgan_generator(), models.dcgan_discriminator()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    z = keras.Input((100,))
    judged = keras.Sequential([keras.Input((28, 28, 1)), *discriminator.layers])  # the same layers, so the same weights
    judged.trainable = False
    combined = keras.Model(z, judged(generator(z)))
    combined.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    discriminator.trainable = True
    ones, zeros, random = np.ones((BATCH_SIZE, 1)), np.zeros((BATCH_SIZE, 1)), np.random.default_rng(0)

    def turn():
        for _ in range(STEPS):
            noise = random.normal(size=(BATCH_SIZE, 100)).astype("float32")
            fake = generator(noise, training=True)
            discriminator.train_on_batch(real, ones)
            discriminator.train_on_batch(fake, zeros)
            combined.train_on_batch(noise, ones)

    return turn


def peak_gflops(dtype: tf.DType) -> float:
    """Measure this machine's matrix multiplication, in 1e9 floating-point operations a second."""
    size = 2048
    left, right = (tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2))
    multiply = tf.function(lambda a, b: tf.reduce_sum(tf.cast(a @ b, tf.float32)))
    multiply(left, right).numpy()
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        multiply(left, right).numpy()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def gflop_per_image(generator: keras.Model, discriminator: keras.Model, *, alternating: bool) -> float:
    """Count the multiplications and additions of one step for one real and one fake image.

    A layer costs the same forward, for its input's gradient and for its weights' gradient. The generator: all three.
    The discriminator: forward on both, both gradients on both, and the input's gradient once more for the generator.
    Players that take turns need new fakes for the generator's step: each goes forward once more.
    """

    def forward(model: keras.Model) -> float:
        total = 0.0
        for layer in model.layers:
            if hasattr(layer, "kernel"):  # used once in a dense layer, at each position in a convolution
                transposed = isinstance(layer, keras.layers.Conv2DTranspose)
                shape = layer.input.shape if transposed else layer.output.shape
                total += 2.0 * np.prod(layer.kernel.shape) * np.prod(shape[1:3] if len(shape) == 4 else ())
        return total

    return ((3 + alternating) * forward(generator) + (7 + alternating) * forward(discriminator)) / 1e9


def main() -> None:
    """Take turns, and write the section of RESULTS.md."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, 28, 28, 1)).astype(np.uint8)
    real = data.to_float(images)
    served = tf.data.Dataset.from_tensors(real).repeat()
    contestants = {
        "the tutorial's step": tutorial(real),
        "ours, float32": ours("float32", served),
        "ours, bfloat16": ours("mixed_bfloat16", served),
        "`train_on_batch`": train_on_batch(real.numpy()),
    }
    notes = []
    if importlib.util.find_spec("torch"):
        from torch_step import turns

        contestants |= turns(real.numpy(), STEPS)
    else:
        notes = ["PyTorch is not installed here and was left out."]
    seconds = {name: [] for name in contestants}
    for turn in tqdm(range(ROUNDS + 1), desc="steps", unit="round"):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            if turn:  # the first round compiles
                seconds[name].append((time.perf_counter() - started) / STEPS)
    peaks = {"float32": peak_gflops(tf.float32), "bfloat16": peak_gflops(tf.bfloat16)}
    players = models.dcgan_generator(), models.dcgan_discriminator()
    work = {alternating: gflop_per_image(*players, alternating=alternating) for alternating in (False, True)}
    base = statistics.median(seconds["the tutorial's step"])
    lines = ["| step | images/s | slowest to fastest turn | times the tutorial's | share of the peak |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, one in seconds.items():
        alternating = name.startswith(("ours", "`train_on_batch`"))
        middle, peak = statistics.median(one), peaks["bfloat16" if "bfloat16" in name else "float32"]
        rates = [BATCH_SIZE / value for value in (middle, max(one), min(one))]
        lines.append(
            f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} to {rates[2]:,.0f} | {base / middle:.2f} "
            f"| {rates[0] * work[alternating] / peak:.0%} |"
        )
    peak_text = ", ".join(f"{value:,.0f} in {name}" for name, value in peaks.items())
    lines += ["", f"The peak is a 2048x2048 matrix multiplication, GFLOP/s: {peak_text}."]
    lines += [
        f"One step is {work[False]:.2f} GFLOP for each real image where both players move at once, {work[True]:.2f} "
        f"where they take turns, as in ours and `train_on_batch`. Batch {BATCH_SIZE}; {ROUNDS} turns of {STEPS} steps."
    ]
    write_section("The train step", [machine(), "", *lines, *notes])


if __name__ == "__main__":
    main()

"""What each choice of the recipe is worth: `python benchmarks/recipes.py [NAME ...]`, about two minutes a name.

Each line changes one thing on the line that it names, in the order in which the choices were made, seed 0. Seconds are
processor seconds of the training over the cores, so that other programs weigh less on them.
"""

import os
import sys
import time

import keras
from report import machine, write_section
from tqdm import tqdm

from gan_tf import data, evaluator, gan, losses, models

IMAGES = 128_000

FIRST = {
    "generator": {"widths": (128, 64, 32)},
    "discriminator": {"widths": (64, 128), "dropout": 0.0},
    "batch_size": 64,
    "generator_rate": 1e-3,
    "discriminator_rate": 1e-3,
    "betas": (0.0, 0.99),
    "decay": 0.998,
    "cosine": True,
}
THIRD = FIRST | {"discriminator": {"widths": (64, 128, 256), "dropout": 0.0}}
SMALL = FIRST | {
    "generator": {"latent_dim": 64, "widths": (128, 64, 32), "first_kernel": 3},
    "discriminator": {"widths": (32, 128, 256), "dropout": 0.0},
}
NOISE = SMALL | {"discriminator": SMALL["discriminator"] | {"input_noise": 0.2}}
STDDEV = NOISE["discriminator"] | {"minibatch_stddev": True}
LAST = NOISE | {
    "batch_size": 32,
    "cosine": False,
    "discriminator": STDDEV,
    "decay": 0.9995,
    "generator": {"widths": (128, 64, 32), "first_kernel": 3},
}
VARIANTS = {  # name: what it changes, settings
    "first": ("the start: half the width, no dropout, Adam(1e-3, 0, 0.99), batch 64, cosine", FIRST),
    "width-48": ("first, generator width 48", FIRST | {"generator": {"widths": (192, 96, 48)}}),
    "latent-64": ("first, z of 64", FIRST | {"generator": {"widths": (128, 64, 32), "latent_dim": 64}}),
    "spectral": ("first, spectral normalisation in the discriminator", FIRST | {"spectral": True}),
    "third": ("first, a third convolution of 256 in the discriminator", THIRD),
    "third-fast-d": ("third, discriminator's rate 2e-3", THIRD | {"discriminator_rate": 2e-3}),
    "small": ("third, generator 3x3 at 7x7 and z of 64, discriminator 32, 128, 256", SMALL),
    "noise": ("small, input noise 0.2", NOISE),
    "noise-0.5": ("small, input noise 0.5", SMALL | {"discriminator": SMALL["discriminator"] | {"input_noise": 0.5}}),
    "batch-16": ("noise, batch 16", NOISE | {"batch_size": 16}),
    "batch-32-fast-g": ("noise, batch 32, generator's rate 2e-3", NOISE | {"batch_size": 32, "generator_rate": 2e-3}),
    "no-stddev": ("last, without the minibatch's deviation", LAST | {"discriminator": NOISE["discriminator"]}),
    "last": ("noise, batch 32, constant rate, decay 0.9995, z of 100, minibatch deviation", LAST),
    "default": ("last, batch 16: the default", LAST | {"batch_size": 16}),
    "last-width-48": (
        "last, generator width 48",
        LAST | {"generator": {"widths": (192, 96, 48), "first_kernel": 3}},
    ),
}


def build(settings: dict, steps: int) -> gan.GAN:
    """Build the GAN of one line."""
    keras.utils.set_random_seed(0)
    generator = models.dcgan_generator(**settings["generator"])
    discriminator = models.dcgan_discriminator(**settings["discriminator"])
    if settings.get("spectral"):
        discriminator = keras.models.clone_model(
            discriminator,
            clone_function=lambda layer: (
                keras.layers.SpectralNormalization(type(layer).from_config(layer.get_config()))
                if hasattr(layer, "kernel")
                else type(layer).from_config(layer.get_config())
            ),
        )
    model = gan.GAN(generator, discriminator, ema_decay=settings["decay"])
    rates = [settings["generator_rate"], settings["discriminator_rate"]]
    if settings["cosine"]:
        rates = [keras.optimizers.schedules.CosineDecay(rate, steps) for rate in rates]
    model.compile(*(keras.optimizers.Adam(rate, *settings["betas"]) for rate in rates), loss=losses.non_saturating)
    return model


def main() -> None:
    """Train the named lines, or all, and print their table; all of them also go into RESULTS.md."""
    names = sys.argv[1:] or list(VARIANTS)
    if unknown := set(names) - set(VARIANTS):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    dataset, judge = data.load("mnist"), evaluator.Evaluator()
    real, cores = judge.extract(dataset.x_test), len(os.sched_getaffinity(0))
    lines = ["| name | what | seconds | Fréchet distance | rarest digit |", "| --- | --- | --- | --- | --- |"]
    for name in tqdm(names, unit="recipe"):
        what, settings = VARIANTS[name]
        steps = IMAGES // settings["batch_size"]
        model = build(settings, steps)
        served = data.batches(dataset.x_train, settings["batch_size"], seed=0, endless=True)
        started = time.process_time()
        model.fit(served, steps_per_epoch=steps, verbose=0)
        seconds = (time.process_time() - started) / cores
        fake = judge.extract(gan.sample_images(model.ema_generator, len(real.features), seed=0))
        scores = evaluator.quick_scores(real, fake)
        lines.append(
            f"| {name} | {what} | {seconds:.0f} | {scores['frechet_distance']:.1f} | {scores['smallest_class']:.1%} |"
        )
        tqdm.write(lines[-1])
    if len(names) == len(VARIANTS):
        note = f"{IMAGES:,} images each, seed 0; evaluator: {judge}."
        write_section("Recipes", [machine(), note, "", *lines])


if __name__ == "__main__":
    main()

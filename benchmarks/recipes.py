"""What each choice of the recipe is worth: `python benchmarks/recipes.py [NAME ...]`, resumable, a row at a time.

Each row changes one thing on today's default, three seeds. A training of 64,000 images is scored on its way, that of
the default and of the recipe before it goes on to 240,000; its row goes into recipes.csv when it is there, and is not
made again. Seconds are images divided by images a second, which are measured at the end with all rows alternating in
one process: what else the machine did in hours weighs on none.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import keras
import tensorflow as tf
from report import machine, spread, write_section
from tqdm import tqdm

from gan_tf import data, evaluator, gan, losses, models
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
IMAGES = (16_000, 32_000, 64_000)
LONG = 240_000  # of the default and of the one before
SEEDS = range(3)
COLUMNS = ("name", "seed", *(f"frechet_{n}" for n in (*IMAGES, LONG)), "smallest_class")

HINGE = losses.Loss(
    lambda real, fake: -tf.reduce_mean(fake),
    lambda real, fake: tf.reduce_mean(tf.nn.relu(1.0 - real)) + tf.reduce_mean(tf.nn.relu(1.0 + fake)),
)
DEFAULT = {
    "generator": {"latent_dim": 10, "widths": (128, 64, 32), "first_kernel": 3, "kernel": 4, "slope": 0.1},
    "discriminator": {
        "widths": (48, 64, 128),
        "dropout": 0.0,
        "input_noise": 0.2,
        "minibatch_stddev": True,
        "slope": 0.1,
    },
    "batches": ((0, 16),),  # from so many images on, so many a step
    "rates": (2e-3, 1e-3),  # generator, discriminator
    "betas": (0.0, 0.99),
    "decay": 0.9995,
    "loss": losses.non_saturating,
}


def changed(**settings) -> dict:
    """Return the default with some settings changed; networks only in what is named."""
    for player in ("generator", "discriminator"):
        settings[player] = DEFAULT[player] | settings.get(player, {})
    return DEFAULT | settings


BEFORE = changed(
    generator={"latent_dim": 100, "kernel": 5, "slope": 0.3},
    discriminator={"widths": (32, 128, 256), "slope": 0.3},
    rates=(1e-3, 1e-3),
)
VARIANTS = {  # name: what it changes, settings
    "default": ("today's default", DEFAULT),
    "before": ("the default of version 0.3: the next five lines at once", BEFORE),
    "latent-100": ("z of 100 numbers", changed(generator={"latent_dim": 100})),
    "slope-0.3": ("leaky ReLUs of slope 0.3", changed(generator={"slope": 0.3}, discriminator={"slope": 0.3})),
    "one-rate": ("the generator's rate 1e-3, as the discriminator's", changed(rates=(1e-3, 1e-3))),
    "kernel-5": ("5x5 kernels where the generator doubles the image", changed(generator={"kernel": 5})),
    "wide": ("discriminator of 32, 128, 256 channels", changed(discriminator={"widths": (32, 128, 256)})),
    "small": (
        "generator of 64, 32, 32 channels, discriminator of 32, 48, 96",
        changed(generator={"widths": (64, 32, 32)}, discriminator={"widths": (32, 48, 96)}),
    ),
    "batch-8": ("batch 8", changed(batches=((0, 8),))),
    "batch-32": ("batch 32", changed(batches=((0, 32),))),
    "batch-grows": (
        "batch 8, 16 from 16,000 images on, 32 from 48,000",
        changed(batches=((0, 8), (16_000, 16), (48_000, 32))),
    ),
    "rate-half": ("both rates halved", changed(rates=(1e-3, 5e-4))),
    "rate-double": ("both rates doubled", changed(rates=(4e-3, 2e-3))),
    "horizon-500": ("average over 500 steps", changed(decay=0.998)),
    "horizon-10000": ("average over 10,000 steps", changed(decay=0.9999)),
    "no-average": ("the last weights, no average", changed(decay=0.0)),
    "hinge": ("hinge loss", changed(loss=HINGE)),
    "least-squares": ("least-squares loss", changed(loss=losses.least_squares)),
    "beta1-0.5": ("β1 0.5", changed(betas=(0.5, 0.99))),
    "no-stddev": ("no look at the whole batch", changed(discriminator={"minibatch_stddev": False})),
    "no-noise": ("no input noise", changed(discriminator={"input_noise": 0.0})),
}


def build(settings: dict, seed: int = 0) -> gan.GAN:
    """Build the GAN of one row."""
    keras.utils.set_random_seed(seed)
    players = models.dcgan_generator(**settings["generator"]), models.dcgan_discriminator(**settings["discriminator"])
    model = gan.GAN(*players, ema_decay=settings["decay"], seed=seed)
    optimizers = [keras.optimizers.Adam(rate, *settings["betas"]) for rate in settings["rates"]]
    model.compile(*optimizers, loss=settings["loss"])
    return model


def scored_at(name: str) -> tuple[int, ...]:
    """Return the images after which a row is scored."""
    return (*IMAGES, LONG) if name in ("default", "before") else IMAGES


def pieces(settings: dict, scored: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the parts of a training, each (images at its end, batch size): there a score is due, or it grows."""
    starts = [start for start, _ in settings["batches"]]
    ends = sorted({*scored, *starts} - {0})
    return [(end, next(size for start, size in reversed(settings["batches"]) if start < end)) for end in ends]


def train(name: str, seed: int, dataset: data.Dataset, judge: evaluator.Evaluator, real: evaluator.Features) -> list:
    """Train one row and return its scores; the share of the rarest class is that of the last of IMAGES."""
    settings, scored = VARIANTS[name][1], scored_at(name)
    model, seen, distances, rarest = build(settings, seed), 0, [], []
    for end, size in pieces(settings, scored):
        served = data.batches(dataset.x_train, size, seed=seed, endless=True, skip=seen // size)
        model.fit(served, steps_per_epoch=(end - seen) // size, verbose=0)
        seen = end
        if end in scored:
            fake = judge.extract(gan.sample_images(model.ema_generator, len(real.features), seed))
            scores = evaluator.quick_scores(real, fake)
            distances.append(round(scores["frechet_distance"], 2))
            rarest.append(round(scores["smallest_class"], 4))
    return [*distances, *[""] * (1 + len(IMAGES) - len(distances)), rarest[len(IMAGES) - 1]]


def rates(names: list[str], dataset: data.Dataset, rounds: int = 5) -> dict[str, float]:
    """Return images a second of each row, alternating in one process, at its last batch size; medians."""
    fits = {}
    for name in names:
        settings = VARIANTS[name][1]
        model, size = build(settings), settings["batches"][-1][1]
        served = data.batches(dataset.x_train, size, seed=0, endless=True)
        model.fit(served, steps_per_epoch=3, verbose=0)
        fits[name] = (model, served, size, 480 // size)
    seconds = {name: [] for name in names}
    for _ in tqdm(range(rounds), desc="speed", unit="round"):
        for name, (model, served, _, steps) in fits.items():
            started = time.perf_counter()
            model.fit(served, steps_per_epoch=steps, verbose=0)
            seconds[name].append((time.perf_counter() - started) / steps)
    return {name: fits[name][2] / statistics.median(values) for name, values in seconds.items()}


def read_rows() -> list[list]:
    """Return the rows that were made already."""
    if not ROWS.exists():
        return []
    with open(ROWS, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return [[name, int(seed), *(float(value) if value else "" for value in values)] for name, seed, *values in rows]


def main() -> None:
    """Make the rows that are not there yet; once all are, measure the speeds and write the table into RESULTS.md."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(VARIANTS))
    names = parser.parse_args().names or list(VARIANTS)

    dataset, judge = data.load("mnist"), evaluator.Evaluator()
    real = judge.extract(dataset.x_test)
    rows = read_rows()
    made = {(name, int(seed)) for name, seed, *_ in rows}
    missing = [(name, seed) for seed in SEEDS for name in names if (name, seed) not in made]
    for name, seed in tqdm(missing, unit="row"):
        rows.append([name, seed, *train(name, seed, dataset, judge, real)])
        write_csv(ROWS, COLUMNS, rows)
        tqdm.write(f"{name}, seed {seed}: {rows[-1][2:]}")
    if {(name, seed) for name in VARIANTS for seed in SEEDS} <= {(row[0], int(row[1])) for row in rows}:
        write_table(rows, rates(list(VARIANTS), dataset), judge)


def write_table(rows: list, rate: dict[str, float], judge: evaluator.Evaluator) -> None:
    """Write the section of RESULTS.md: medians and spreads over the seeds."""
    heads = [f"{n:,} images" for n in (*IMAGES, LONG)]
    lines = [
        f"| name | what it changes | images/s | {' | '.join(heads)} | rarest digit |",
        "| --- " * (4 + len(heads)) + "|",
    ]
    for name, (what, _) in VARIANTS.items():
        own = [row[2:] for row in rows if row[0] == name]
        *distances, rarest = zip(*own, strict=True)
        cells = [spread(v, ".1f") if v[0] else "" for v in distances]
        lines.append(f"| {name} | {what} | {rate[name]:,.0f} | {' | '.join(cells)} | {min(rarest):.1%} |")
    note = f"Fréchet distance, median of seeds {min(SEEDS)} to {max(SEEDS)} (lowest to highest); evaluator: {judge}."
    same = (
        "An average starts short and grows with the steps: up to 96,000 images one over 10,000 steps is the default's."
    )
    write_section("Recipes", [machine(), note, same, "", *lines])


if __name__ == "__main__":
    main()

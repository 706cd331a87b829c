"""What a label is worth, by where it goes in: `python benchmarks/conditional.py [NAME ...]`, resumable.

Three seeds a row. Rows of MNIST's ten classes train for as many seconds as the unconditional default takes for 120,000
images: images a second are measured first, with all of them alternating in one process, and a row that is there already
says how many images the others of its name get. Rows named "overlap" train on two classes that share the digit 0:
"0 or 1" and "0 or 2", each half of the time a 0.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from report import asked_for, machine, read_rows, spread, write_section
from tqdm import tqdm

from gan_tf import classes, conditional, data, evaluator, gan
from gan_tf.files import write_csv
from gan_tf.runs import recipe, settings

ROWS = Path(__file__).with_suffix(".csv")
IMAGES = 120_000  # of the unconditional default, whose seconds all others get
OVERLAP_IMAGES = 32_000
SEEDS = range(3)
SCORES = ("frechet", "agreement", "lowest_agreement", "class_frechet", "spread", "coverage")
OVERLAP_SCORES = ("zeros_in_first", "zeros_in_second", "foreign")
COLUMNS = ("name", "seed", "images", *SCORES, *OVERLAP_SCORES)


class Variant(NamedTuple):
    """What a row trains."""

    what: str
    into: Callable | None  # puts the label into the discriminator; None: no network is told any
    class_weight: float | None = None  # of ACGAN


TEN = {
    "unconditional": Variant("the default: no labels", None),
    "concatenation": Variant("D sees the label as a channel", conditional.concatenation),
    "acgan": Variant("D names the class, weight 1", conditional.auxiliary, 1.0),
    "projection": Variant("D's logit has a row for each label", conditional.projection),
}
OVERLAP = {
    "overlap-concatenation": Variant("D sees the label as a channel", conditional.concatenation),
    "overlap-projection": Variant("D's logit has a row for each label", conditional.projection),
    **{
        f"overlap-acgan-{weight:g}": Variant(f"D names the class, weight {weight:g}", conditional.auxiliary, weight)
        for weight in (1.0, 2.0, 4.0)
    },
}
VARIANTS = TEN | OVERLAP


def build(variant: Variant, count: int, seed: int) -> gan.GAN:
    """Build the default recipe's GAN with the label in its place.

    Args:
        variant: where that is.
        count: how many classes there are.
        seed: of the weights.
    """
    keras.utils.set_random_seed(seed)
    chosen = settings.Settings(seed=seed).with_model_defaults()
    label_dim = conditional.LABEL_DIM if variant.into else 0
    channels = 2 if variant.into is conditional.concatenation else 1
    with_label = dataclasses.replace(chosen, latent_dim=chosen.latent_dim + label_dim)
    generator, discriminator = recipe.dcgan_networks(with_label, (28, 28, channels))
    if variant.into:
        generator = conditional.conditional_generator(generator, count)
        discriminator = variant.into(discriminator, count)

    options = {"ema_decay": chosen.ema_decay, "seed": seed}
    kind = gan.GAN
    if variant.class_weight is not None:
        kind, options["class_weight"] = conditional.ACGAN, variant.class_weight
    model = kind(generator, discriminator, **options)
    rates = (chosen.generator_learning_rate, chosen.discriminator_learning_rate)
    model.compile(*(recipe.optimizer(chosen, rate) for rate in rates))
    return model


def served(variant: Variant, images: np.ndarray, labels: np.ndarray, seed: int):
    """Return the batches that a row trains on, of 16 images."""
    return data.batches(images, 16, seed=seed, labels=labels if variant.into else None, endless=True)


def rates(dataset: data.Dataset, rounds: int = 7) -> dict[str, float]:
    """Return images a second of each row of ten classes, alternating in one process; medians."""
    fits = {}
    for name, variant in TEN.items():
        model, batches = build(variant, 10, 0), served(variant, dataset.x_train, dataset.y_train, 0)
        model.fit(batches, steps_per_epoch=3, verbose=0)
        fits[name] = model, batches
    seconds = {name: [] for name in TEN}
    for _ in tqdm(range(rounds), desc="speed", unit="round"):
        for name, (model, batches) in fits.items():
            started = time.perf_counter()
            model.fit(batches, steps_per_epoch=60, verbose=0)
            seconds[name].append((time.perf_counter() - started) / 60)
    return {name: 16 / statistics.median(values) for name, values in seconds.items()}


def train_ten(name: str, seed: int, images: int, dataset: data.Dataset, judge: evaluator.Evaluator, real) -> list:
    """Train one row of ten classes and return its scores, of 10,000 images with the classes of training images."""
    variant, model = TEN[name], build(TEN[name], 10, seed)
    model.fit(served(variant, dataset.x_train, dataset.y_train, seed), steps_per_epoch=images // 16, verbose=0)
    asked = np.random.default_rng(seed).permutation(dataset.y_train)[: len(real.features)] if variant.into else None
    fake = judge.extract(gan.sample_images(model.ema_generator, len(real.features), seed, asked))
    distance = round(evaluator.quick_scores(real, fake)["frechet_distance"], 3)
    if asked is None:
        return [distance, *[""] * (len(SCORES) - 1)]
    scores = classes.scores_by_class(real, dataset.y_test, fake, asked)
    mean, lowest = classes.means(scores), min(one.agreement for one in scores.values())
    return [distance, *(round(x, 4) for x in (mean.agreement, lowest, *mean[1:]))]


def overlapping(dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of two classes: 0 is "0 or 1", 1 is "0 or 2", each half of the time a 0."""
    rows = [np.flatnonzero(dataset.y_train == digit) for digit in range(3)]
    half = min(len(rows[0]) // 2, len(rows[1]), len(rows[2]))
    chosen = [rows[0][:half], rows[1][:half], rows[0][half : 2 * half], rows[2][:half]]
    return dataset.x_train[np.concatenate(chosen)], np.repeat(np.array([0, 1], np.uint8), 2 * half)


def train_overlap(name: str, seed: int, images: int, dataset: data.Dataset, judge: evaluator.Evaluator) -> list:
    """Train one row of two overlapping classes: the zeros' share in each (right: a half), and what belongs to neither.

    2,000 images of each class.
    """
    variant, model = OVERLAP[name], build(OVERLAP[name], 2, seed)
    model.fit(served(variant, *overlapping(dataset), seed), steps_per_epoch=images // 16, verbose=0)
    asked = np.repeat([0, 1], 2000)
    named = judge.extract(gan.sample_images(model.ema_generator, 4000, seed, asked)).probabilities.argmax(axis=1)
    zeros = [float(np.mean(named[asked == label] == 0)) for label in (0, 1)]
    foreign = float(np.mean((named != 0) & (named != asked + 1)))
    return [round(x, 4) for x in (*zeros, foreign)]


def main() -> None:
    """Make the rows that are not there yet, and once all are, write the tables into RESULTS.md."""
    names = asked_for(main.__doc__, VARIANTS)

    dataset, judge = data.load("mnist"), evaluator.Evaluator()
    real = judge.extract(dataset.x_test)
    rows = [[name, seed, int(images), *scores] for name, seed, images, *scores in read_rows(ROWS)]
    images = {name: seen for name, _, seen, *_ in rows} | dict.fromkeys(OVERLAP, OVERLAP_IMAGES)
    if not images.keys() >= TEN.keys():
        speed = rates(dataset)
        equal = {name: 16 * round(IMAGES * speed[name] / speed["unconditional"] / 16) for name in TEN}
        images = equal | images

    made = {(name, seed) for name, seed, *_ in rows}
    missing = [(name, seed) for seed in SEEDS for name in names if (name, seed) not in made]
    for name, seed in tqdm(missing, unit="row"):
        if name in TEN:
            found = [*train_ten(name, seed, images[name], dataset, judge, real), *[""] * len(OVERLAP_SCORES)]
        else:
            found = [*[""] * len(SCORES), *train_overlap(name, seed, images[name], dataset, judge)]
        rows.append([name, seed, images[name], *found])
        write_csv(ROWS, COLUMNS, rows)
        tqdm.write(f"{name}, seed {seed}: {rows[-1][2:]}")
    if set(VARIANTS) <= {row[0] for row in rows} and len({tuple(row[:2]) for row in rows}) >= len(VARIANTS) * len(
        SEEDS
    ):
        write_tables(rows, judge)


def write_tables(rows: list, judge: evaluator.Evaluator) -> None:
    """Write the section of RESULTS.md: medians and spreads over the seeds."""

    def cell(name: str, column: str, shape: str) -> str:
        values = [row[COLUMNS.index(column)] for row in rows if row[0] == name]
        return spread(values, shape) if "" not in values else ""

    note = f"Median of seeds {min(SEEDS)} to {max(SEEDS)} (lowest to highest), 10,000 images; evaluator: {judge}."
    shapes = {"frechet": ".1f", "agreement": ".1%", "lowest_agreement": ".1%", "class_frechet": ".1f"}
    shapes |= {"spread": ".2f", "coverage": ".3f"}
    heads = ("distance", "agreement", "of the worst class", "distance within", "spread within", "coverage within")
    lines = [f"| name | where the label is | images | {' | '.join(heads)} |", "| --- " * (3 + len(heads)) + "|"]
    for name, variant in TEN.items():
        images = next(row[2] for row in rows if row[0] == name)
        cells = " | ".join(cell(name, column, shape) for column, shape in shapes.items())
        lines.append(f"| {name} | {variant.what} | {images:,} | {cells} |")

    overlap = ['| name | where the label is | zeros in "0 or 1" | zeros in "0 or 2" | of neither |', "| --- " * 5 + "|"]
    for name, variant in OVERLAP.items():
        cells = " | ".join(cell(name, column, ".1%") for column in OVERLAP_SCORES)
        overlap.append(f"| {name} | {variant.what} | {cells} |")
    why = f"Two classes that share the zeros, after {OVERLAP_IMAGES:,} images: half of each should be zeros."
    write_section("Conditional", [machine(), note, "", *lines, "", why, "", *overlap])


if __name__ == "__main__":
    main()

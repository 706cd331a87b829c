"""What each choice of the recipe is worth: `python benchmarks/recipes.py [NAME ...]`, resumable, a row at a time.

Each row changes one thing on today's default, three seeds. A training of 64,000 images is scored on its way, that of
the default and of the recipe before it goes on to 240,000; its row goes into recipes.csv when it is there, and is not
made again. Seconds are images divided by images a second, which are measured at the end with all rows alternating in
one process: what else the machine did in hours weighs on none. Rows whose arithmetic is the default's show what such a
rate is good for; no row is said to be ahead or behind at equal seconds by less than that.
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_rows, spread, write_section
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
    "before": ("the default of 0.2 and 0.3, in turn at batch 16: the next five lines at once", BEFORE),
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


def main() -> None:
    """Make the rows that are not there yet; once all are, measure the speeds and write the table into RESULTS.md."""
    names = asked_for(main.__doc__, VARIANTS)

    dataset, judge = data.load("mnist"), evaluator.Evaluator()
    real = judge.extract(dataset.x_test)
    rows = read_rows(ROWS)
    made = {(name, int(seed)) for name, seed, *_ in rows}
    missing = [(name, seed) for seed in SEEDS for name in names if (name, seed) not in made]
    for name, seed in tqdm(missing, unit="row"):
        rows.append([name, seed, *train(name, seed, dataset, judge, real)])
        write_csv(ROWS, COLUMNS, rows)
        tqdm.write(f"{name}, seed {seed}: {rows[-1][2:]}")
    if {(name, seed) for name in VARIANTS for seed in SEEDS} <= {(row[0], int(row[1])) for row in rows}:
        write_table(rows, rates(list(VARIANTS), dataset), judge)


def same_arithmetic(name: str) -> bool:
    """Say whether a step of a row costs what the default's costs: it has the same networks and batches."""
    settings = VARIANTS[name][1]
    return all(settings[part] == DEFAULT[part] for part in ("generator", "discriminator", "batches"))


def seconds_for(name: str, images: int, rate: dict[str, float]) -> float:
    """Return the seconds that so many images of a row take; a batch that grows has the rates of the rows before it."""
    batches = VARIANTS[name][1]["batches"]
    if len(batches) == 1:
        return images / rate[name]
    named = {8: "batch-8", 16: "default", 32: "batch-32"}
    ends = [*(start for start, _ in batches[1:]), LONG]
    parts = zip(batches, ends, strict=True)
    return sum(max(0, min(end, images) - start) / rate[named[size]] for (start, size), end in parts)


def default_after(images: float, rows: list) -> list[float]:
    """Return the distance of each of the default's seeds, on straight lines in logarithms between what was scored."""
    counts = np.log([*IMAGES, LONG])
    seeds = [np.log(row[2 : 3 + len(IMAGES)]) for row in rows if row[0] == "default"]
    return [float(np.exp(np.interp(np.log(images), counts, distances))) for distances in seeds]


def verdict(median: float, default: Sequence[float]) -> str:
    """Say where a row's median lies beside the default's seeds."""
    return "ahead" if median < min(default) else "behind" if median > max(default) else "level"


def at_equal_seconds(rows: list, rate: dict[str, float]) -> list[str]:
    """Say what rows are worth beside the default after as many seconds."""
    alike = [rate[name] for name in VARIANTS if same_arithmetic(name)]
    scatter = max(alike) / min(alike)
    lines = [
        "**What did not help, at equal seconds.** The default's networks and batch, and so its arithmetic, are those "
        f"of {len(alike)} rows; their speeds still differ by up to {scatter - 1:.0%} ({min(alike):,.0f} to "
        f"{max(alike):,.0f} images/s), so smaller differences of speed are none. A row is ahead or behind where its "
        f"median lies beyond all seeds of the default after as many seconds, and within the scatter where it would not "
        f"with {scatter - 1:.0%} fewer or more. Between the scored counts the default is taken to follow a straight "
        "line in logarithms.",
        "",
        f"| name | {' | '.join(f'{images:,} images' for images in IMAGES)} |",
        "| --- " * (1 + len(IMAGES)) + "|",
    ]
    verdicts = {}
    for name in ("wide", "small", "kernel-5", "batch-8", "batch-32", "batch-grows"):
        cells, verdicts[name] = [], []
        for column, images in enumerate(IMAGES, 2):
            median = statistics.median(row[column] for row in rows if row[0] == name)
            seconds = seconds_for(name, images, rate)
            as_many = seconds * rate["default"]
            if as_many < IMAGES[0]:
                cells.append(f"{median:.1f} after {seconds:.0f} s; the default was not scored so early")
                continue
            found = verdict(median, default_after(as_many, rows))
            against = as_many * {"ahead": scatter, "level": 1, "behind": 1 / scatter}[found]
            sure = verdict(median, default_after(against, rows)) == found
            verdicts[name].append(found if sure else f"{found}, within the scatter")
            default = spread(default_after(as_many, rows), ".1f")
            cells.append(f"{median:.1f} after {seconds:.0f} s, the default {default}: {verdicts[name][-1]}")
        lines.append(f"| {name} | {' | '.join(cells)} |")

    lines += ["", "Where the arithmetic is the default's, equal images are equal seconds:", ""]
    for name in ("hinge", "least-squares", "horizon-500", "horizon-10000"):
        told, verdicts[name] = [], []
        for column in range(2, 2 + len(IMAGES)):
            own, default = ([row[column] for row in rows if row[0] == each] for each in (name, "default"))
            verdicts[name].append(verdict(statistics.median(own), default))
            told.append(f"{statistics.median(own):.1f} against {statistics.median(default):.1f}")
        lines.append(f"- {name}: {', '.join(told)} ({', '.join(verdicts[name])}).")
    helped = [name for name, found in verdicts.items() if set(found) == {"ahead"}]
    lines += ["", f"Ahead wherever they can be compared: {', '.join(helped) or f'none of these {len(verdicts)}'}."]
    return lines


def write_table(rows: list, rate: dict[str, float], judge: evaluator.Evaluator) -> None:
    """Write the section of RESULTS.md: medians and spreads over the seeds, then rows at equal seconds."""
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
    notes = [
        f"Fréchet distance, median of seeds {min(SEEDS)} to {max(SEEDS)} (lowest to highest); evaluator: {judge}.",
        "`before` is the default of 0.2 and 0.3 (batch 16, in turn), not that of 0.1 (batch 32, both players at once).",
        "An average starts short and grows with the steps: up to 96,000 images one over 10,000 steps is the default's,",
        "so a longer horizon was not tested. The images/s of `batch-grows` are those of its last batch.",
    ]
    write_section("Recipes", [machine(), *notes, "", *lines, "", *at_equal_seconds(rows, rate)])


if __name__ == "__main__":
    main()

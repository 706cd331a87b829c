"""What each stabiliser is worth at equal seconds: `python benchmarks/stabilisers.py [NAME ...]`, resumable.

Every row changes one thing on "plain": the default recipe without two stabilisers of its own, the look at the whole
batch, which a penalty on each image cannot have, and the noise on what the discriminator sees. All get the CPU seconds
that plain takes for 32,000 images. What a step costs is measured first, each row alternating with plain in one process,
unless its arithmetic is plain's; a row that is there already says how many steps the others of its name get. Three
seeds. Each training is scored twice, with the averaged and with the last weights: so what averaging is worth stands
beside all else. And a first score comes after a tenth of the steps, which is what chapter 08 has the time to train.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
from recipes import DEFAULT
from report import asked_for, machine, read_rows, spread, write_section
from tqdm import tqdm

from gan_tf import augment, data, evaluator, gan, losses, metrics, models, penalties
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
IMAGES = 32_000  # of plain, whose seconds all others get
BATCH = 16
SEEDS = range(3)
SCORES = ("frechet", "frechet_last", "precision", "recall", "smallest_class", "frechet_early")
COLUMNS = ("name", "seed", "steps", "step_cost", *SCORES)


class Variant(NamedTuple):
    """What a row changes on plain."""

    what: str
    loss: losses.Loss = losses.non_saturating
    penalties: tuple = ()
    discriminator: dict = {}  # noqa: RUF012, settings of the network
    rates: tuple[float, float] = DEFAULT["rates"]
    betas: tuple[float, float] = DEFAULT["betas"]
    augment: Callable | None = None
    critic_steps: int = 1


def r1_and_r2(gamma: float) -> tuple:
    """Return both penalties, each with half of gamma."""
    return (penalties.r1, gamma / 2), (penalties.r2, gamma / 2)


PLAIN = {"discriminator": DEFAULT["discriminator"] | {"minibatch_stddev": False, "input_noise": 0.0}}
VARIANTS = {
    "plain": Variant("nothing: non-saturating, two rates, an average"),
    "recipe": Variant("both put back: the default", discriminator={"minibatch_stddev": True, "input_noise": 0.2}),
    "least-squares": Variant("least squares", losses.least_squares),
    "hinge": Variant("hinge", losses.hinge),
    "wgan-gp": Variant("Wasserstein, gradient penalty 10", losses.wasserstein, ((penalties.gradient_penalty, 10.0),)),
    "wgan-gp-5": Variant(
        "the same as published: 5 steps of D, both rates 1e-4, β2 0.9",
        losses.wasserstein,
        ((penalties.gradient_penalty, 10.0),),
        rates=(1e-4, 1e-4),
        betas=(0.0, 0.9),
        critic_steps=5,
    ),
    "relativistic": Variant("pairs are judged", losses.relativistic),
    "relativistic-r1-r2": Variant("pairs, R1 and R2, γ 1", losses.relativistic, r1_and_r2(1.0)),
    "r1-0.1": Variant("R1, γ 0.1", penalties=((penalties.r1, 0.05),)),
    "r1-1": Variant("R1, γ 1", penalties=((penalties.r1, 0.5),)),
    "r1-10": Variant("R1, γ 10", penalties=((penalties.r1, 5.0),)),
    "spectral": Variant("spectral normalisation of D", discriminator={"normalization": "spectral"}),
    "batch-norm": Variant("batch norm in D", discriminator={"normalization": "batch"}),
    "dropout": Variant("dropout 0.3 in D", discriminator={"dropout": 0.3}),
    "noise": Variant("noise 0.2 on what D sees", discriminator={"input_noise": 0.2}),
    "smoothing": Variant("reals are labelled 0.9", losses.smoothed(losses.non_saturating, 0.9)),
    "one-rate": Variant("both rates 1e-3", rates=(1e-3, 1e-3)),
    "relativistic-double": Variant("pairs, both rates doubled", losses.relativistic, rates=(4e-3, 2e-3)),
    "wgan-gp-double": Variant(
        "Wasserstein, gradient penalty 10, both rates doubled",
        losses.wasserstein,
        ((penalties.gradient_penalty, 10.0),),
        rates=(4e-3, 2e-3),
    ),
    "relativistic-r1-r2-0.1": Variant("pairs, R1 and R2, γ 0.1", losses.relativistic, r1_and_r2(0.1)),
    "diffaugment": Variant("DiffAugment: colour, moved, cut", augment=augment.diffaugment),
}


def build(name: str, seed: int = 0) -> gan.GAN:
    """Build the GAN of one row."""
    keras.utils.set_random_seed(seed)
    variant = VARIANTS[name]
    generator = models.dcgan_generator(**DEFAULT["generator"])
    discriminator = models.dcgan_discriminator(**PLAIN["discriminator"] | variant.discriminator)
    model = gan.GAN(generator, discriminator, ema_decay=DEFAULT["decay"], seed=seed)
    model.compile(
        *(keras.optimizers.Adam(rate, *variant.betas) for rate in variant.rates),
        loss=variant.loss,
        penalties=variant.penalties,
        augment=variant.augment,
        critic_steps=variant.critic_steps,
    )
    return model


def served(name: str, dataset: data.Dataset, seed: int, skip: int = 0):
    """Return the batches that a row trains on: 16 images for each step of the discriminator."""
    size = BATCH * VARIANTS[name].critic_steps
    return data.batches(dataset.x_train, size, seed=seed, endless=True, skip=skip)


def step_cost(name: str, dataset: data.Dataset, rounds: int = 11, steps: int = 20) -> float:
    """Return the CPU time of a row's step where plain's is 1, the two alternating in one process; a median."""
    fits = {each: (build(each), served(each, dataset, 0)) for each in ("plain", name)}
    for model, batches in fits.values():
        model.fit(batches, steps_per_epoch=3, verbose=0)
    ratios = []
    for _ in range(rounds):
        seconds = {}
        for each, (model, batches) in fits.items():
            started = time.process_time()
            model.fit(batches, steps_per_epoch=steps, verbose=0)
            seconds[each] = time.process_time() - started
        ratios.append(seconds[name] / seconds["plain"])
    return round(statistics.median(ratios), 3)


def same_arithmetic(name: str) -> bool:
    """Say whether a row's step does what plain's does, with another formula for two scalars or other rates."""
    plain, variant = VARIANTS["plain"], VARIANTS[name]
    alike = {"what": plain.what, "rates": plain.rates, "loss": plain.loss}
    return not variant.loss.paired and variant._replace(**alike) == plain


def steps_of(name: str, dataset: data.Dataset) -> tuple[int, float]:
    """Return how many steps a row takes in the seconds of plain, and what a step costs where plain's is 1."""
    cost = 1.0 if same_arithmetic(name) else step_cost(name, dataset)
    return round(IMAGES / BATCH / cost), cost


def distance(generator: keras.Model, count: int, seed: int, judge: evaluator.Evaluator, real) -> float:
    """Return the Fréchet distance of so many images of a generator."""
    fake = judge.extract(gan.sample_images(generator, count, seed))
    return metrics.frechet_distance(real.features, fake.features)


def train(name: str, seed: int, steps: int, dataset: data.Dataset, judge: evaluator.Evaluator, real) -> list:
    """Train one row and return its SCORES: of 10,000 images; precision and recall of 5,000; the early one of 2,000."""
    model, first = build(name, seed), steps // 10
    model.fit(served(name, dataset, seed), steps_per_epoch=first, verbose=0)
    early = distance(model.ema_generator, 2000, seed, judge, real)
    model.fit(served(name, dataset, seed, skip=first), steps_per_epoch=steps - first, verbose=0)

    fake = judge.extract(gan.sample_images(model.ema_generator, len(real.features), seed))
    scores = evaluator.quick_scores(real, fake)
    last = distance(model.generator, len(real.features), seed, judge, real)
    shared = metrics.precision_recall(real.features[:5000], fake.features[:5000])
    found = [scores["frechet_distance"], last, shared.precision, shared.recall, scores["smallest_class"], early]
    return [round(float(value), digits) for value, digits in zip(found, (2, 2, 3, 3, 4, 2), strict=True)]


def main() -> None:
    """Make the rows that are not there yet; once all are, write the table into RESULTS.md."""
    names = asked_for(main.__doc__, VARIANTS)

    dataset, judge = data.load("mnist"), evaluator.Evaluator()
    real = judge.extract(dataset.x_test)
    for seed in SEEDS:
        for name in tqdm(names, desc=f"seed {seed}", unit="row"):
            rows = read_rows(ROWS)
            if (name, seed) in {(row[0], row[1]) for row in rows}:
                continue
            known = next(((int(row[2]), row[3]) for row in rows if row[0] == name), None)
            steps, relative = known or steps_of(name, dataset)
            row = [name, seed, steps, relative, *train(name, seed, steps, dataset, judge, real)]
            write_csv(ROWS, COLUMNS, [[*each[:2], int(each[2]), *each[3:]] for each in [*rows, row]])
            tqdm.write(f"{name}, seed {seed}: {row[2:]}")
    rows = read_rows(ROWS)
    if {(name, seed) for name in VARIANTS for seed in SEEDS} <= {(row[0], row[1]) for row in rows}:
        write_table(rows, judge)


def verdict(own: list[float], plain: list[float]) -> str:
    """Say where a row's seeds lie beside those of plain: apart, or within the spread."""
    return "better" if max(own) < min(plain) else "worse" if min(own) > max(plain) else "within the spread"


def write_table(rows: list, judge: evaluator.Evaluator) -> None:
    """Write the section of RESULTS.md: medians and spreads over the seeds."""
    notes = (
        f"Median of seeds {min(SEEDS)} to {max(SEEDS)} (lowest to highest), 10,000 images (5,000 for precision and "
        f"recall); evaluator: {judge}. Every row has the CPU seconds of {IMAGES:,} images of plain, on one thread; its "
        "steps have a batch of 16 for each step of the discriminator. Distance: Fréchet, of the averaged weights; "
        "beside it that of the last; early: the averaged weights' after a tenth of the steps, of 2,000 images. Better "
        "and worse: all three seeds are beyond all three of plain.",
    )
    heads = ("name", "what is changed", "a step", "steps", "distance", "last weights", "precision", "recall", "rarest")
    heads += ("early",)
    lines = [f"| {' | '.join([*heads, 'beside plain'])} |", "| --- " * (1 + len(heads)) + "|"]
    own = {name: list(zip(*(row[2:] for row in rows if row[0] == name), strict=True)) for name in VARIANTS}
    for name, (steps, relative, *scores, rarest, early) in own.items():
        cells = [spread(values, shape) for values, shape in zip(scores, (".1f", ".1f", ".2f", ".2f"), strict=True)]
        told = "" if name == "plain" else verdict(scores[0], own["plain"][2])
        ends = [f"{min(rarest):.1%}", spread(early), told]
        first = [name, VARIANTS[name].what, f"{relative[0]:.2f}", f"{int(steps[0]):,}"]
        lines.append(f"| {' | '.join([*first, *cells, *ends])} |")
    write_section("Stabilisers", [machine(), *notes, "", *lines])


if __name__ == "__main__":
    main()

"""Fréchet distance against seconds of training: the recipe of TensorFlow's DCGAN tutorial, and the default run.

    python benchmarks/time_to_quality.py --only rates    # images a second of both, alternating in one process
    python benchmarks/time_to_quality.py --only seeds    # five default runs, each resumable where it was stopped
    python benchmarks/time_to_quality.py --only table --samples FOLDER    # the section of RESULTS.md, two pictures

Without --only it does all three. The tutorial's distances are those of literature.csv, which tutorial.py makes; FOLDER
holds its samples. Nothing is written as long as an epoch, a seed or the rates are missing.

Seconds are images divided by images a second: training alone, without start, scoring and pictures, for both alike. What
else the machine does meanwhile weighs on neither.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from recipes import IMAGES, ROWS
from report import machine, read_rows, spread, write_section
from tqdm import tqdm
from tutorial import BATCH_SIZE, EPOCHS, Tutorial, batches, read_table

import gan_tf
from gan_tf import data, evaluator, plots, runs
from gan_tf.files import read_csv, write_json
from gan_tf.runs import plan, recipe

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "runs" / "time_to_quality"
CURVES = HERE / "time_to_quality.png"
HEADLINE = HERE.parent / "notebooks" / "images" / "headline.png"
SEEDS = range(5)
SCORED_EVERY = 4_000  # images
ROUNDS = 5
OURS, THEIRS, REAL = plots.FAKE_COLOUR, "dimgrey", plots.REAL_COLOUR
GRID = 6  # rows and columns of samples
GOAL = 120  # seconds of training that a default run should last at most
OLD_IMAGES, OLD_DISTANCES = 240_000, (43.2, 54.8)  # of 0.1's default, three seeds: where it ended
OLD_RATES = (1421, 911, 499, 748)  # of RESULTS.md: 0.1's default beside 0.2's, and 0.2's, `before`, beside today's
OLD_SPEED = OLD_RATES[0] / OLD_RATES[1] * OLD_RATES[2] / OLD_RATES[3]  # images/s, times those of today's default


class Incomplete(gan_tf.Error):
    """Results that are not all there, or that are of different recipes."""


def described(settings: runs.Settings) -> dict:
    """Say what a default run is made of: all settings but the seed, and every layer and optimizer of what is built."""
    settings, _ = plan.resolve(settings, None)
    model = recipe.build(settings)
    parts = [*model.generator.layers, *model.discriminator.layers]
    parts += [model.generator_optimizer, model.discriminator_optimizer]
    kept = [{key: value for key, value in part.get_config().items() if key != "name"} for part in parts]
    recipe_of_all_seeds = {key: value for key, value in settings.to_json().items() if key != "seed"}
    return json.loads(json.dumps({"settings": recipe_of_all_seeds, "parts": kept}, default=str))


def check_recipe(folder: Path, settings: runs.Settings) -> None:
    """Refuse a folder of rates and runs of another recipe than today's; a new folder becomes one of today's."""
    now, path = described(settings), folder / "recipe.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
    if json.loads(path.read_text(encoding="utf-8")) != now:
        raise Incomplete(f"{folder} is of another recipe than today's default; remove it, and run this again")


def alternate(dataset: data.Dataset, settings: runs.Settings, steps: int = 16) -> dict[str, list[float]]:
    """Return images per second of both contestants, measured in turns of so many of the tutorial's steps."""
    default = recipe.build(settings)
    served = data.batches(dataset.x_train, settings.batch_size, seed=0, endless=True)
    tutorial, epoch = Tutorial(seed=0), batches(dataset.x_train).repeat()

    def run_tutorial(steps: int) -> int:
        for real in epoch.take(steps):
            tutorial.step(real)
        return steps * BATCH_SIZE

    def run_default(steps: int) -> int:
        default.fit(served, steps_per_epoch=steps, verbose=0)
        return steps * settings.batch_size

    turns = {"tutorial": (run_tutorial, steps), "default": (run_default, steps * BATCH_SIZE // settings.batch_size)}
    rates = {name: [] for name in turns}
    for turn in tqdm(range(ROUNDS + 1), desc="speed", unit="round"):
        for name, (run, count) in turns.items():
            started = time.perf_counter()
            images = run(count)
            if turn:  # the first round compiles
                rates[name].append(images / (time.perf_counter() - started))
    return rates


def train_seed(folder: Path, settings: runs.Settings, scored_every: int = SCORED_EVERY) -> None:
    """Train one default run, or go on with it."""
    runs.train(folder, settings, evaluate_every=max(1, scored_every // settings.batch_size))


def seed_folder(folder: Path, seed: int) -> Path:
    """Return where the run of a seed is."""
    return folder / f"seed_{seed}"


def missing(folder: Path, tutorial: dict[str, list]) -> list[str]:
    """Name what the table still needs."""
    seeds = [seed for seed in SEEDS if not (seed_folder(folder, seed) / "generator.keras").exists()]
    epochs = sorted(set(range(1, EPOCHS + 1)) - {int(epoch) for epoch in tutorial["epoch"]})
    found = [f"the tutorial's epochs {', '.join(map(str, epochs))} (tutorial.py)"] * bool(epochs)
    found += [f"seeds {', '.join(map(str, seeds))} (--only seeds)"] * bool(seeds)
    return found + ["rates (--only rates)"] * (not (folder / "rates.json").exists())


def first_below(history: dict, distance: float, rate: float) -> float:
    """Return the seconds after which a history first reaches a distance; infinite where it does not."""
    pairs = zip(history["images"], history["frechet_distance"], strict=True)
    return min((images / rate for images, reached in pairs if reached <= distance), default=math.inf)


class Results:
    """All that was measured, in seconds.

    Raises:
        Incomplete: something is missing; the message names it.
    """

    def __init__(self, folder: Path, tutorial: dict[str, list], reference: float):
        if lacking := missing(folder, tutorial):
            raise Incomplete(f"nothing is written, because these are missing: {'; '.join(lacking)}")

        self.reference = reference
        measured = json.loads((folder / "rates.json").read_text(encoding="utf-8"))
        self.machine, self.rates = measured["machine"], measured["images_per_second"]
        self.rate = {name: statistics.median(values) for name, values in self.rates.items()}
        self.tutorial = tutorial | {"seconds": [n / self.rate["tutorial"] for n in tutorial["images"]]}
        self.seeds = [read_csv(seed_folder(folder, seed) / "scores.csv") for seed in SEEDS]
        for one in self.seeds:
            one["seconds"] = [images / self.rate["default"] for images in one["images"]]

        distances = self.tutorial["frechet_distance"]
        best = distances.index(min(distances))
        self.best_epoch, self.best_seconds, self.best = best + 1, self.tutorial["seconds"][best], distances[best]
        self.reached = [first_below(one, self.best, self.rate["default"]) for one in self.seeds]
        self.final = [one["frechet_distance"][-1] for one in self.seeds]
        self.length = self.seeds[0]["seconds"][-1]

    @property
    def seconds(self) -> float:
        """After how many seconds the default run is as good as the tutorial at its best: the median of the seeds."""
        return statistics.median(self.reached)

    @property
    def typical_seed(self) -> int:
        """The seed whose last distance is the median one."""
        return self.final.index(statistics.median_low(self.final))


def lasting(seconds: float) -> str:
    """Write seconds for people."""
    if math.isinf(seconds):
        return "never"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def against_the_old(rate: float, final: float) -> str:
    """Say after how many images, by recipes.csv, every seed is where 0.1's default ended, and in what seconds."""
    rows = [row[2 : 2 + len(IMAGES)] for row in read_rows(ROWS) if row[0] == "default"]
    scores = dict(zip(IMAGES, zip(*rows, strict=True), strict=True))
    images = next(images for images, distances in scores.items() if max(distances) <= OLD_DISTANCES[0])
    seconds, before = images / rate, OLD_IMAGES / (OLD_SPEED * rate)
    way = " and ".join(f"{spread(scores[n], '.1f')} after {n:,}" for n in IMAGES if n <= images)
    first, second, third, fourth = (f"{value:,}" for value in OLD_RATES)
    return (
        f"- 0.1's default (batch 32, both players at once) reached {OLD_DISTANCES[0]} to {OLD_DISTANCES[1]} after "
        f"{OLD_IMAGES:,} images. In recipes.csv today's has {way} images, every seed below {OLD_DISTANCES[0]}: "
        f"{seconds:.0f} s in place of {before:.0f}, {seconds / before:.0%} of the seconds. (0.1's made {OLD_SPEED:.2f} "
        f"times as many images a second, by two sections above: {first} to {second}, then {third} to {fourth}.) A "
        f"whole run ends at {final / OLD_DISTANCES[0]:.0%} of {OLD_DISTANCES[0]}."
    )


def against_the_goal(results: Results) -> str:
    """Say whether a whole run keeps to its seconds, and where it does not, why."""
    images, rate = results.seeds[0]["images"][-1], results.rate["default"]
    if results.length <= GOAL:
        return f"- The goal of at most {GOAL} s for a whole default run is met: {results.length:.0f} s."
    elsewhere = images * OLD_SPEED / OLD_RATES[0]
    return (
        f"- The goal of at most {GOAL} s for a whole default run is missed here: {results.length:.0f} s. It takes "
        f"{images / GOAL:,.0f} images/s, and the machine gave {rate:,.0f} at the time. It was "
        f"{OLD_RATES[0] / OLD_SPEED / rate:.1f} times as fast when 0.1's default made {OLD_RATES[0]:,} images/s on it; "
        f"a run would take {elsewhere:.0f} s then (by that ratio, not timed)."
    )


def told(results: Results) -> list[str]:
    """Say it line by line, the headline first; then the seeds."""
    tutorial, seconds, late = results.tutorial, results.seconds, results.tutorial["frechet_distance"][-20:]
    done = sum(at <= seconds for at in tutorial["seconds"])
    after = f"has {tutorial['frechet_distance'][done - 1]:.0f}, after {done} epochs"
    if not done:
        first = f"{lasting(tutorial['seconds'][0])} at {tutorial['frechet_distance'][0]:.0f}"
        after = f"is still in its first epoch, which ends after {first}"
    rarest = min(one["smallest_class"][-1] for one in results.seeds)
    speeds = "; ".join(f"{name} {spread(values, ',.0f')}" for name, values in results.rates.items())
    lines = [
        f"- What the tutorial reaches at its best in {EPOCHS} epochs (Fréchet distance {results.best:.0f}, epoch "
        f"{results.best_epoch}, after {lasting(results.best_seconds)}), the default run reaches in {seconds:.0f} s, "
        f"about {float(f'{results.best_seconds / seconds:.1g}'):,.0f} times sooner: median of {len(results.reached)} "
        f"seeds, {min(results.reached):.0f} to {max(results.reached):.0f} s. It is scored every {SCORED_EVERY:,} "
        f"images only, a grid of {SCORED_EVERY / results.rate['default']:.0f} s.",
        f"- After as many seconds the tutorial {after}. Over its last {len(late)} epochs it is at {min(late):.0f} to "
        f"{max(late):.0f}: it has one seed, and swings.",
        f"- A whole default run, {results.length:.0f} s, ends at {spread(results.final, '.1f')}, with at least "
        f"{rarest:.1%} of every digit. Real training images score {results.reference:.1f}.",
        against_the_goal(results),
        against_the_old(results.rate["default"], statistics.median(results.final)),
        f"- Seconds are of training alone, without start, scoring and pictures: images divided by images a second, "
        f"medians of {ROUNDS} alternating turns: {speeds}. The tutorial is scored after each epoch (epochs of which no "
        f"samples are left: its log).",
        f"- 10,000 generated images against MNIST's 10,000 test images; evaluator: {evaluator.Evaluator()}.",
        "",
        "| seed | as good as the tutorial's best after | distance at the end | rarest digit |",
        "| --- | --- | --- | --- |",
    ]
    for seed, one, reached in zip(SEEDS, results.seeds, results.reached, strict=True):
        lines.append(
            f"| {seed} | {lasting(reached)} | {one['frechet_distance'][-1]:.1f} | {one['smallest_class'][-1]:.1%} |"
        )
    return lines


def draw_curves(results: Results) -> plt.Figure:
    """Draw both contestants' distances over seconds, each labelled where it is."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="tight")
    label = {"fontsize": 10, "weight": "bold"}
    ours = np.array([one["frechet_distance"] for one in results.seeds])[:, 1:]  # without the row before training
    seconds = results.seeds[0]["seconds"][1:]
    for distances in ours:
        axes.loglog(seconds, distances, color=OURS, linewidth=0.7, alpha=0.5)
    axes.loglog(seconds, np.median(ours, axis=0), color=OURS, linewidth=2.5)
    axes.loglog(results.tutorial["seconds"], results.tutorial["frechet_distance"], color=THEIRS, linewidth=1.5)
    axes.axhline(results.reference, color=REAL, linestyle="--")

    start, end = seconds[0], results.tutorial["seconds"][-1]
    final = f"{statistics.median(results.final):.0f} after {lasting(results.length)}"
    axes.text(
        seconds[-1] * 1.12, ours[:, -1].min() * 0.95, f"default run,\n5 seeds: {final}", color=OURS, **label, va="top"
    )
    highest = max(results.tutorial["frechet_distance"])
    axes.text(end, highest * 1.25, "TensorFlow's DCGAN tutorial, 50 epochs", color=THEIRS, **label, ha="right")
    axes.text(start, results.reference * 1.1, f"real training images: {results.reference:.1f}", color=REAL, **label)

    if math.isfinite(results.seconds):
        between = {"arrowstyle": "<->", "color": "black", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (results.seconds, results.best), (results.best_seconds, results.best), arrowprops=between)
        axes.plot([results.seconds, results.best_seconds], [results.best] * 2, "o", color="black", markersize=4)
        middle = math.sqrt(results.seconds * results.best_seconds)
        times = (
            f"distance {results.best:.0f} after {lasting(results.seconds)}, or after {lasting(results.best_seconds)}"
        )
        axes.text(middle, results.best * 0.92, times, ha="center", va="top", fontsize=10)

    axes.set(xlim=(start * 0.9, end * 1.15), ylim=(results.reference * 0.7, highest * 2))
    axes.set(xlabel="seconds of training", ylabel="Fréchet distance (lower is better)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_headline(results: Results, theirs: np.ndarray, ours: np.ndarray) -> plt.Figure:
    """Draw the tutorial's samples at its best beside those of a whole default run, the first of each."""
    figure, both = plt.subplots(1, 2, figsize=(7, 4.1), layout="tight")
    distance = results.final[results.typical_seed]
    titles = (
        f"TensorFlow's tutorial at its best, epoch {results.best_epoch}\n"
        f"{lasting(results.best_seconds)}, Fréchet distance {results.best:.0f}",
        f"this course's default run, at its end\n{lasting(results.length)}, Fréchet distance {distance:.0f}",
    )
    for axes, images, title in zip(both, (theirs, ours), titles, strict=True):
        grid = plots.image_grid(images[: GRID**2], columns=GRID)
        axes.imshow(grid, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure


def save(figure: plt.Figure, path: Path) -> None:
    """Write a picture for a page of about 700 pixels, sharp where a screen has two for each."""
    figure.savefig(path, dpi=160, bbox_inches="tight")
    plt.close(figure)
    print(path)


def tutorial_samples(folder: Path, epoch: int) -> np.ndarray:
    """Return the samples that were kept of an epoch."""
    path = folder / f"epoch_{epoch:02d}.npz"
    if not path.exists():
        raise Incomplete(f"{path} is not there: the samples of the tutorial's best epoch, for {HEADLINE.name}")
    with np.load(path) as archive:
        return archive["images"]


def real_distance(dataset: data.Dataset) -> float:
    """Return what as many training images score as there are test images, drawn by seed 0."""
    judge, count = evaluator.Evaluator(), len(dataset.x_test)
    drawn = np.random.default_rng(0).choice(len(dataset.x_train), count, replace=False)
    features = judge.extract(dataset.x_test), judge.extract(dataset.x_train[drawn])
    return evaluator.quick_scores(*features)["frechet_distance"]


def main() -> None:
    """Measure what is not there yet; then write the section of RESULTS.md and the pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", choices=("rates", "seeds", "table"))
    parser.add_argument("--samples", type=Path, help="folder of the tutorial's samples; without, no headline.png")
    arguments = parser.parse_args()
    parts = [arguments.only] if arguments.only else ["rates", "seeds", "table"]

    settings = runs.Settings(dataset="mnist")
    check_recipe(FOLDER, settings)
    if "rates" in parts:
        keras.utils.set_random_seed(0)
        rates = alternate(data.load("mnist"), settings)
        write_json(FOLDER / "rates.json", {"machine": machine(), "images_per_second": rates})
    if "seeds" in parts:
        for seed in SEEDS:
            train_seed(seed_folder(FOLDER, seed), runs.Settings(dataset="mnist", seed=seed))
    if "table" in parts:
        write_results(arguments.samples)


def write_results(samples: Path | None) -> None:
    """Write the section and the pictures, once everything is there."""
    tutorial = read_table()
    if missing(FOLDER, tutorial):
        Results(FOLDER, tutorial, math.nan)  # says what, before anything is computed
    results = Results(FOLDER, tutorial, real_distance(data.load("mnist")))
    if samples:
        theirs = tutorial_samples(samples, results.best_epoch)
        generator = runs.load_generator(seed_folder(FOLDER, results.typical_seed))
        save(draw_headline(results, theirs, runs.sample_images(generator, GRID**2, seed=0)), HEADLINE)
    save(draw_curves(results), CURVES)
    write_section("Time to quality", [results.machine, "", *told(results), "", f"![both curves]({CURVES.name})"])


if __name__ == "__main__":
    try:
        main()
    except gan_tf.Error as error:
        sys.exit(str(error))

"""Fréchet distance against seconds of training: the tutorial's recipe and the default one.

`python benchmarks/time_to_quality.py` takes about an hour and a half on 2 cores. Each run has its own folder under
runs/time_to_quality and is left alone once it is finished, so that the command can be stopped and started again.

Seconds are images divided by images per second, which are measured with both contestants alternating in one process,
before any of the long runs: what else the machine does in an hour then weighs on neither. Clock times are kept beside.
"""

import math
import statistics
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
from report import machine, write_section
from tqdm import tqdm
from tutorial import BATCH_SIZE, EPOCHS, Tutorial, batches

from gan_tf import data, evaluator, plots, runs
from gan_tf.files import read_csv, write_csv
from gan_tf.runs import recipe

FOLDER = Path(__file__).resolve().parent.parent / "runs" / "time_to_quality"
PICTURE = Path(__file__).resolve().parent / "time_to_quality.png"
SEEDS = range(5)
BUDGETS = {"long": 14}  # epochs beside the default's, seed 0: about 60 s and 600 s
ROUNDS = 5


def alternate(dataset: data.Dataset) -> dict[str, list[float]]:
    """Return images per second of both contestants, measured in turns of some seconds each."""
    settings = recipe.Settings(dataset=dataset.name)
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

    contestants = {"tutorial": (run_tutorial, 16), "default": (run_default, 4096 // settings.batch_size)}
    rates = {name: [] for name in contestants}
    for turn in tqdm(range(ROUNDS + 1), desc="speed", unit="round"):
        for name, (run, steps) in contestants.items():
            started = time.perf_counter()
            images = run(steps)
            if turn:  # the first round compiles
                rates[name].append(images / (time.perf_counter() - started))
    return rates


def train_tutorial(folder: Path, dataset: data.Dataset) -> None:
    """Train 50 epochs, or go on with them, and score the generator after each as it is drawn from in the tutorial."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, contestant = [], Tutorial(seed=0)
    if (folder / "scores.csv").exists():
        rows = [list(row) for row in zip(*read_csv(folder / "scores.csv").values(), strict=True)]
        contestant.restore(folder / "state.npz")
    judge = evaluator.Evaluator()
    real = judge.extract(dataset.x_test)
    served, seconds = batches(dataset.x_train), rows[-1][1] if rows else 0.0
    for epoch in tqdm(range(len(rows), EPOCHS), desc="tutorial", initial=len(rows), total=EPOCHS, unit="epoch"):
        keras.utils.set_random_seed(epoch)  # the same noise wherever an earlier part stopped
        started = time.perf_counter()
        for batch in served:
            contestant.step(batch)
        seconds += time.perf_counter() - started
        fake = judge.extract(runs.sample_images(contestant.generator, len(real.features), seed=0))
        scores = evaluator.quick_scores(real, fake)
        rows.append([(epoch + 1) * len(dataset.x_train), round(seconds, 1), *scores.values()])
        contestant.save(folder / "state.npz")
        write_csv(folder / "scores.csv", ("images", "seconds", *scores), rows)


def first_below(history: dict, distance: float, rate: float) -> float:
    """Return the seconds after which a history first reaches a distance; infinite where it does not."""
    pairs = zip(history["images"], history["frechet_distance"], strict=True)
    return min((images / rate for images, reached in pairs if reached <= distance), default=float("inf"))


def main() -> None:
    """Run what is not there yet, then write the section of RESULTS.md and the picture."""
    dataset = data.load("mnist")
    keras.utils.set_random_seed(0)
    rates = alternate(dataset)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    for seed in SEEDS:
        runs.train(FOLDER / f"default_{seed}", recipe.Settings(dataset="mnist", seed=seed), evaluate_every=1250)
    for name, epochs in BUDGETS.items():
        runs.train(FOLDER / name, recipe.Settings(dataset="mnist", epochs=epochs), evaluate_every=3750)
    train_tutorial(FOLDER / "tutorial_0", dataset)

    history = {path.parent.name: read_csv(path) for path in sorted(FOLDER.glob("*/scores.csv"))}
    tutorial = history["tutorial_0"]
    target, total = tutorial["frechet_distance"][-1], tutorial["images"][-1] / rate["tutorial"]
    lines = ["| run | images | seconds | Fréchet distance | rarest digit | reaches the tutorial's last after |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, one in history.items():
        kind = "tutorial" if name.startswith("tutorial") else "default"
        reached = first_below(one, target, rate[kind])
        when = f"{reached:.0f} s, 1/{total / reached:.0f} of {total:,.0f} s" if math.isfinite(reached) else "never"
        lines.append(
            f"| {name.replace('_', ', seed ')} | {one['images'][-1]:,.0f} | {one['images'][-1] / rate[kind]:,.0f} "
            f"| {one['frechet_distance'][-1]:.1f} | {one['smallest_class'][-1]:.1%} "
            f"| {when} |"
        )
    spread = ", ".join(f"{name} {min(v):,.0f} to {max(v):,.0f}, median {rate[name]:,.0f}" for name, v in rates.items())
    late = tutorial["frechet_distance"][-20:]
    lines += ["", f"Images per second, {ROUNDS} alternating turns: {spread}."]
    lines += [f"The tutorial's distance over its last 20 epochs: {min(late):.1f} to {max(late):.1f}."]
    lines += [f"Evaluator: {evaluator.Evaluator()}; 10,000 generated against the 10,000 test images, noise of seed 0."]
    write_section("Time to quality", [machine(), "", *lines, "", f"![both curves]({PICTURE.name})"])
    draw(history, rate, target)


def draw(history: dict, rate: dict, target: float) -> None:
    """Draw all curves over seconds."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="tight")
    curves = {}
    for name, one in history.items():
        kind = "tutorial" if name.startswith("tutorial") else "default"
        curves[name.replace("_", ", seed ")] = one | {"seconds": [n / rate[kind] for n in one["images"]]}
    plots.plot_scores(curves, axes=axes)
    axes.axhline(target, color="grey", linestyle=":")
    axes.axhline(target / 2, color="grey", linestyle=":")
    axes.text(axes.get_xlim()[0], target, " the tutorial's after 50 epochs", va="bottom", color="grey")
    axes.text(axes.get_xlim()[0], target / 2, " half of it", va="bottom", color="grey")
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()

"""What a mistake in the penalty costs a critic that trains long: `python benchmarks/mistakes.py [NAME ...]`, resumable.

The mistakes are chapter 07's: its cells run here, then train for longer. One more is added, batch norm with reals and
fakes in one batch. A name is a mistake and a number of steps; a row is what one of its eight critics reads, divided by
the exact distance.
"""

import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from critics import chapter
from report import asked_for, machine, read_rows, spread, write_section
from tqdm import tqdm

from gan_tf import losses
from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
CELLS = ("imports", "slopes", "penalty", "critics", "new-critics", "pairs", "beat", "mistakes", "mistakes-run")
MISTAKES = {  # what the chapter calls each
    "none": "none",
    "alpha_of_each_pixel": "α for each pixel",
    "alpha_normal": "α from a normal",
    "alpha_1": "α fixed at 1",
    "alpha_0": "α fixed at 0",
    "batch_norm": "batch norm",
    "batch_norm_together": "batch norm",
    "wrong_axis": "wrong axis",
    "one_norm": "one norm",
}
STEPS = (500, 2000, 8000)
COLUMNS = ("name", "seed", "reading", "cpu_seconds")


def together(critic, real: tf.Tensor, fake: tf.Tensor, copies: int) -> list[tf.Tensor]:
    """Return the logits of reals and fakes that go through the critic in one batch. Twice (copies, batch)"""
    halves = [tf.reshape(side, (copies, -1, 2)) for side in (real, fake)]
    logits = critic(tf.reshape(tf.concat(halves, axis=1), (-1, 2)))
    return tf.split(tf.reshape(logits, (copies, -1)), 2, axis=1)


def readings(own: dict, name: str, steps: int) -> np.ndarray:
    """Train, and return the critics' readings over the exact distance. (copies,)"""
    copies, (alpha, axes, net) = own["COPIES"], own["MISTAKES"][MISTAKES[name]]
    penalty = own["mistaken"](alpha, axes)
    objective, joined = own["penalised"](10.0, penalty), name == "batch_norm_together"
    if joined:

        def objective(critic, real, fake, seed):
            distance = losses.wasserstein.discriminator(*together(critic, real, fake, copies))
            return distance + 10.0 * penalty(critic, real, fake, seed)

    weights = own["critic_weights"](copies, own["PLANE"])
    critic, run = own["new_critics"](own["ring_and_blob"], weights, objective, steps, net=net)
    run(0, steps)
    sides = [tf.tile(side, (copies, 1)) for side in own["blobs"]]
    if not joined:
        return own["estimates"](critic, *sides, copies) / own["w"]
    of_real, of_fake = (tf.reduce_mean(side, axis=1) for side in together(critic, *sides, copies))
    return (of_real - of_fake).numpy() / own["w"]


def main() -> None:
    """Measure what is missing, a name at a time, and write the section of RESULTS.md."""
    rows, names = read_rows(ROWS), [f"{name}-{steps}" for steps in STEPS for name in MISTAKES]
    missing = [name for name in asked_for(__doc__, names) if name not in [row[0] for row in rows]]
    own = chapter(CELLS)
    for name in tqdm(missing, unit="training"):
        mistake, steps = name.split("-")
        started = time.process_time()
        found = readings(own, mistake, int(steps))
        seconds = time.process_time() - started
        rows += [[name, seed, f"{value:.4f}", f"{seconds:.1f}"] for seed, value in enumerate(found)]
        write_csv(ROWS, COLUMNS, rows)

    lines = [f"| mistake | {' | '.join(f'{steps:,} steps' for steps in STEPS)} |", "| --- " * (1 + len(STEPS)) + "|"]
    for name in MISTAKES:
        columns = [[float(row[2]) for row in rows if row[0] == f"{name}-{steps}"] for steps in STEPS]
        lines.append(f"| {name} | {' | '.join(spread(column, '.3g') for column in columns)} |")
    lines += ["", f"Reading over exact distance, λ = 10; median of {own['COPIES']} critics (lowest to highest), which"]
    lines[-1] += f" train in one graph. The distance W is {own['w']:.3f}, so 1 + W / 2λ is {1 + own['w'] / 20:.3f}."
    lines[-1] += f" {machine()}"
    write_section("What a mistake in the penalty costs", lines)


if __name__ == "__main__":
    main()

"""How long must a critic train to read the distance: `python benchmarks/critics.py [NAME ...]`, resumable.

The critics and the five pairs in two dimensions are chapter 07's own: its cells run here. A name is a start of the last
layer (flat: zeros; random: numbers of width 0.3) and a number of steps. All its seeds train in one graph, and a row is
what one seed's five critics read, divided by the exact distance.
"""

import linecache
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat
import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_rows, spread, write_section
from tqdm import tqdm

from gan_tf.files import write_csv

ROWS = Path(__file__).with_suffix(".csv")
CHAPTER = Path(__file__).resolve().parent.parent / "notebooks" / "07_wasserstein.ipynb"
CELLS = ("imports", "penalty", "critics", "new-critics", "pairs")
STARTS = {"flat": 0.0, "random": 0.3}
NAMES = tuple(f"{start}-{steps}" for steps in (800, 2000, 8000, 16000) for start in STARTS)
SEEDS, POINTS = 4, 20_000
PAIRS = ("ring_moved_1", "one_dot", "sigma_0.2", "sigma_0.7", "sigma_1.4")
COLUMNS = ("name", "seed", *PAIRS, "cpu_seconds")


def chapter(cells: Iterable[str] = CELLS) -> dict:
    """Return what some of the chapter's cells define."""
    sources = {cell.id: cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells}
    names = {}
    for cell in cells:
        linecache.cache[cell] = (len(sources[cell]), None, sources[cell].splitlines(True), cell)  # tf.function reads it
        exec(compile(sources[cell], cell, "exec"), names)
    return names


def readings(own: dict, start: str, steps: int) -> np.ndarray:
    """Train, and return the critics' readings over the exact distance. (seeds, pairs)"""
    copies = SEEDS * len(PAIRS)
    pool = [np.tile(side, (SEEDS, 1, 1)) for side in own["two_dimensions"](POINTS, np.random.default_rng(1))]
    pool, held_out = tf.constant(pool), own["two_dimensions"](600, np.random.default_rng(2))

    def draw(step):
        rows = tf.random.stateless_uniform((2, copies, 128), (0, step), 0, POINTS, tf.int32)
        return tf.reshape(tf.gather(pool, rows, axis=2, batch_dims=2), (2, -1, 2))

    weights = own["critic_weights"](copies, (2, 32, 32, 1), STARTS[start])
    critic, run = own["new_critics"](draw, weights, own["penalised"](10.0), steps)
    run(0, steps)
    sides = [np.tile(side, (SEEDS, 1, 1)).reshape(-1, 2) for side in held_out]
    exact = [own["assigned"](*pair) for pair in zip(*held_out, strict=True)]
    return own["estimates"](critic, *sides, copies).reshape(SEEDS, -1) / exact


def formula(own: dict) -> list[float]:
    """Return what the penalised optimum reads, over the distance: 1 + W / 2λ."""
    held_out = own["two_dimensions"](600, np.random.default_rng(2))
    return [1 + own["assigned"](*pair) / 20 for pair in zip(*held_out, strict=True)]


def main() -> None:
    """Measure what is missing, a name at a time, and write the section of RESULTS.md."""
    rows, own = read_rows(ROWS), chapter()
    missing = [name for name in asked_for(__doc__, NAMES) if name not in [row[0] for row in rows]]
    for name in tqdm(missing, unit="training"):
        start, steps = name.split("-")
        started = time.process_time()
        found = readings(own, start, int(steps))
        seconds = time.process_time() - started
        rows += [[name, seed, *(f"{v:.3f}" for v in values), f"{seconds:.1f}"] for seed, values in enumerate(found)]
        write_csv(ROWS, COLUMNS, rows)
    if "formula" not in [row[0] for row in rows]:
        rows.append(["formula", 0, *(f"{value:.3f}" for value in formula(own)), ""])
        write_csv(ROWS, COLUMNS, rows)

    lines = [f"| start and steps | {' | '.join(COLUMNS[2:])} |", "| --- " * (len(COLUMNS) - 1) + "|"]
    for name in (*NAMES, "formula"):
        columns = zip(*(row[2:] for row in rows if row[0] == name), strict=True)
        cells = ["–" if "" in column else spread([float(value) for value in column], ".3g") for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"Reading over exact distance, λ = 10; median of {SEEDS} seeds (lowest to highest), whose critics"]
    lines[-1] += f" train in one graph. `formula` is 1 + W / 2λ. {machine()}"
    write_section("How long a penalised critic must train", lines)


if __name__ == "__main__":
    main()

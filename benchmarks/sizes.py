"""What a step costs at each size of images: `python benchmarks/sizes.py`.

Each size is timed in turn with MNIST's, 28x28 in grey, so that a ratio holds on a busy machine too.
"""

import statistics
import time

import numpy as np
from report import machine, write_section
from tqdm import tqdm

from gan_tf import data, gan
from gan_tf.runs import plan, recipe
from gan_tf.runs.settings import Settings
from gan_tf.sizes import SIZES

SHAPES = [(28, 1), *((size, 3) for size in SIZES)]
ROUNDS = 5
SECONDS = 1.0  # of each part of a round, about


class Timed:
    """A GAN of the default recipe that takes steps on images of noise."""

    def __init__(self, size: int, channels: int):
        self.model: gan.GAN = recipe.build(Settings(size=size, channels=channels))
        images = np.random.default_rng(0).integers(0, 256, (64, size, size, channels), np.uint8)
        self.batches = data.batches(images, 16, seed=0, endless=True)
        self.milliseconds(3)  # compiles
        self.steps = max(3, round(1000 * SECONDS / self.milliseconds(3)))

    def milliseconds(self, steps: int = 0) -> float:
        """Take some steps, and return how long one took."""
        steps = steps or self.steps
        started = time.perf_counter()
        self.model.fit(self.batches, steps_per_epoch=steps, verbose=0)
        return 1000 * (time.perf_counter() - started) / steps


def row(mnist: Timed, size: int, channels: int) -> list[str]:
    """Time one size, and return its line of the table."""
    timed = Timed(size, channels)
    pairs = [(timed.milliseconds(), mnist.milliseconds()) for _ in range(ROUNDS)]
    ratio = statistics.median(own / reference for own, reference in pairs)
    players = timed.model.generator, timed.model.discriminator
    counts = [f"{player.count_params():,}" for player in players]
    images = plan.default_images(size)
    cells = [f"{size}x{size}", "grey" if channels == 1 else "colour", *counts]
    cells += [f"{statistics.median(own for own, _ in pairs):.0f}", f"{ratio:.1f}", f"{images:,}"]
    return [*cells, f"{ratio * images / plan.default_images(28):.1f}"]


def main() -> None:
    """Measure, and write the section of RESULTS.md."""
    mnist = Timed(28, 1)
    table = [row(mnist, *shape) for shape in tqdm(SHAPES, desc="sizes")]
    titles = ["images", "", "generator", "discriminator", "ms a step", "in steps of MNIST's", "images by default"]
    titles += ["a run, in runs of MNIST"]
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *table)]
    lines += ["", f"Medians of {ROUNDS} rounds, in turn with MNIST's; 16 images a step; parameters. {machine()}"]
    write_section("Sizes", lines)


if __name__ == "__main__":
    main()

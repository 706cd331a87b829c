"""What else a user waits for: `python benchmarks/waits.py`, about three minutes on 2 cores.

Each measurement runs in fresh processes, in turns where two are compared; medians.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from report import machine, write_section
from tqdm import tqdm

from gan_tf import data, gif, plots, runs
from gan_tf.runs import recipe

HERE = Path(__file__).resolve().parent
TURNS = 3


def python(code: str) -> list[float]:
    """Run code in a fresh process and return the numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE)
    return [float(word) for word in done.stdout.split()]


IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
FIRST_STEP = """
import time; t = time.perf_counter()
from gan_tf import data
from gan_tf.runs import recipe
images = data.load("digits").x_train
model = recipe.build(recipe.Settings())
model.fit(data.batches(images, recipe.Settings().batch_size, seed=0, endless=True), steps_per_epoch=1, verbose=0)
print(time.perf_counter() - t)
"""
MEMORY = """
import resource
{}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""
OURS = """
from gan_tf import data, gan, models
import keras
model = gan.GAN(models.dcgan_generator(), models.dcgan_discriminator())
model.compile(keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4))
model.fit(data.batches(data.load("mnist").x_train, 256, seed=0), steps_per_epoch=40, verbose=0)
"""
TUTORIAL = """
from gan_tf import data
from tutorial import Tutorial, batches
contestant = Tutorial(0)
for real in batches(data.load("mnist").x_train).take(40): contestant.step(real)
"""


def pipeline_rate(dataset: data.Dataset) -> float:
    """Return images per second that the input pipeline serves when nothing waits for them."""
    size = recipe.Settings().batch_size
    served = iter(data.batches(dataset.x_train, size, seed=0, endless=True))
    next(served)
    started = time.perf_counter()
    for _ in range(1000):
        next(served)
    return 1000 * size / (time.perf_counter() - started)


def seconds_of(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Measure, and write the section of RESULTS.md."""
    dataset = data.load("mnist")
    imports = {
        "tensorflow": "import tensorflow",
        "gan_tf": "from gan_tf import data, gan, losses, models, plots, runs; runs.train",
    }
    measured = {name: [] for name in (*imports, "first", "ours", "tutorial", "pipeline")}
    for _ in tqdm(range(TURNS), desc="turns"):
        for name, code in imports.items():
            measured[name] += python(IMPORT.format(code))
        measured["first"] += python(FIRST_STEP)
        measured["pipeline"].append(pipeline_rate(dataset))
    for _ in tqdm(range(3), desc="memory"):
        measured["ours"] += python(MEMORY.format(OURS))
        measured["tutorial"] += python(MEMORY.format(TUTORIAL))
    middle = {name: statistics.median(values) for name, values in measured.items()}
    with tempfile.TemporaryDirectory() as folder:
        grids = np.random.default_rng(0).integers(0, 256, (10, 25, 28, 28)).astype(np.uint8)
        frames = [plots.enlarge(plots.image_grid(grids[i % 10]), 2) for i in range(100)]
        digits = [plots.image_grid(dataset.x_train[25 * i : 25 * i + 25]) for i in range(100)]
        digits = [gif.add_caption(plots.enlarge(frame, 2), "images seen") for frame in digits]
        of_digits = seconds_of(lambda: gif.write_gif(Path(folder) / "a.gif", digits))
        noise = seconds_of(lambda: gif.write_gif(Path(folder) / "b.gif", frames))
        assert Image.open(Path(folder) / "a.gif").n_frames == 100
        generator = runs.pretrained_generator()
        sample = statistics.median(seconds_of(lambda: runs.sample_images(generator, 10_000, 0)) for _ in range(3))
    rows = {
        "import of every module, beyond TensorFlow's own": f"{middle['gan_tf'] - middle['tensorflow']:.2f} s "
        f"({middle['gan_tf']:.2f} s against {middle['tensorflow']:.2f} s)",
        "from start to the end of the first step": f"{middle['first']:.1f} s",
        "input pipeline alone": f"{middle['pipeline']:,.0f} images/s",
        "GIF of 100 frames of 25 digits": f"{of_digits:.2f} s (of noise: {noise:.2f} s)",
        "10,000 samples, drawn": f"{sample:.1f} s",
        "peak memory, the tutorial's networks, 40 steps of 256": f"{middle['ours']:,.0f} MB; the tutorial's script "
        f"{middle['tutorial']:,.0f} MB",
    }
    table = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    write_section("Everything else", [machine(), "", *table])


if __name__ == "__main__":
    main()

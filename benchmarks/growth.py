"""What training costs as it grows: `python benchmarks/growth.py`, about ten minutes on 2 cores of Linux.

Against epochs, against the number of images (up to ten times MNIST, made by moving digits), against the batch size; and
memory over 500 short epochs. Each point is a process of its own. Memory is what the process holds (VmRSS).
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report import machine, write_section
from tqdm import tqdm
from waits import python

from gan_tf.files import read_csv

PICTURE = Path(__file__).resolve().parent / "growth.png"
EPOCHS = 500  # short ones: two steps each
SIZES = (6_000, 20_000, 60_000, 200_000, 600_000)
BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512)

HELD = """
def held():
    return 1e-3 * int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
"""
MANY_EPOCHS = """
import contextlib, threading, time
from pathlib import Path
from gan_tf import runs
from gan_tf.runs import recipe
seen, folder = [], Path({folder!r})
def watch():
    while True:
        seen.append(held())
        time.sleep(0.5)
threading.Thread(target=watch, daemon=True).start()
settings = recipe.Settings(dataset="digits", model="mlp", batch_size=750, epochs={epochs})
with contextlib.redirect_stdout(None):
    runs.train(folder, settings)
print(*seen)
"""
GROWN = """
import time
import numpy as np
from gan_tf import data
from gan_tf.runs import recipe
images = data.load("mnist").x_train
random = np.random.default_rng(0)
started = time.perf_counter()
grown = np.empty(({size}, 28, 28, 1), np.uint8)
for i in range({size}):
    up, left = random.integers(-2, 3, 2)
    grown[i] = np.roll(images[i % len(images)], (up, left), (0, 1))
before = held()
model = recipe.build(recipe.Settings())
served = data.batches(grown, {batch_size}, seed=0, endless=True)
started = time.perf_counter()
model.fit(served, steps_per_epoch=3, verbose=0)
first = time.perf_counter() - started
steps = max(8, 6400 // {batch_size})
started = time.perf_counter()
model.fit(served, steps_per_epoch=steps, verbose=0)
print(steps * {batch_size} / (time.perf_counter() - started), first, before, held())
"""


def main() -> None:
    """Measure, draw, and write the section of RESULTS.md."""
    with tempfile.TemporaryDirectory() as name:
        memory = python(HELD + MANY_EPOCHS.format(folder=f"{name}/run", epochs=EPOCHS))
        history = read_csv(Path(name, "run", "history.csv"))
    grown = [python(HELD + GROWN.format(size=size, batch_size=32)) for size in tqdm(SIZES, desc="images")]
    batches = [python(HELD + GROWN.format(size=6_000, batch_size=size)) for size in tqdm(BATCH_SIZES, desc="batch")]

    seconds = np.array(history["seconds"])
    parts = [seconds[i + EPOCHS // 5] - seconds[i] for i in range(0, EPOCHS - EPOCHS // 5, EPOCHS // 5)]
    late = memory[len(memory) // 5 :]
    lines = [
        f"{EPOCHS} epochs of 2 steps: " + ", ".join(f"{part:.1f}" for part in parts) + " s for each further fifth."
    ]
    slope = np.polyfit(np.linspace(0.2, 1.0, len(late)) * EPOCHS, late, 1)[0]
    lines += [
        f"Memory after the first fifth: {late[0]:,.0f} MB, at the end {late[-1]:,.0f} MB: {slope:+.3f} MB an epoch."
    ]
    lines += ["", "| images | images/s | first three steps | images in memory | the process |", "| --- " * 5 + "|"]
    for size, (rate, first, before, after) in zip(SIZES, grown, strict=True):
        memory_text = f"{size * 784 / 1e6:,.0f} MB | {before:,.0f}, then {after:,.0f} MB"
        lines += [f"| {size:,} | {rate:,.0f} | {first:.1f} s | {memory_text} |"]
    lines += ["", "| batch size | images/s | steps/s | memory |", "| --- " * 4 + "|"]
    for size, (rate, _, _, after) in zip(BATCH_SIZES, batches, strict=True):
        lines += [f"| {size} | {rate:,.0f} | {rate / size:.1f} | {after:,.0f} MB |"]
    draw(seconds, memory, [row[0] for row in grown], [row[0] for row in batches])
    write_section(
        "Growth",
        [
            machine(),
            "The default recipe, but for the first two lines (fully connected).",
            "",
            *lines,
            "",
            f"![four curves]({PICTURE.name})",
        ],
    )


def draw(seconds, memory: list[float], by_size: list[float], by_batch: list[float]) -> None:
    """Draw the four costs."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3), layout="tight")
    axes[0].plot(np.arange(1, len(seconds) + 1), seconds)
    axes[0].set(xlabel="epochs", ylabel="seconds", ylim=0)
    axes[1].plot(0.5 * np.arange(len(memory)), memory)
    axes[1].set(xlabel=f"seconds of {EPOCHS} epochs, start-up included", ylabel="memory (MB)", ylim=0)
    axes[2].semilogx(SIZES, by_size, "o-")
    axes[2].set(xlabel="training images", ylabel="images/s", ylim=0)
    axes[3].semilogx(BATCH_SIZES, by_batch, "o-", base=2)
    axes[3].set(xlabel="batch size", ylabel="images/s", ylim=0)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()

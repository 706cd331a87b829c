"""What it costs to train on several replicas: `python benchmarks/replicas.py`, about ten minutes on 2 cores of Linux.

One replica under a strategy against no strategy, in turns in one process. Two workers on loopback against two processes
that each take half the batch and never talk: the bytes that pass between them, and the time.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import keras
from report import machine, write_section
from tqdm import tqdm

from gan_tf import data
from gan_tf.runs import devices, recipe

TURNS = 9
WORKER_TURNS = 3
STEPS = {32: 40, 256: 10}  # a turn, by batch size
WORKER = """
import json, sys, time
from gan_tf import data, replicas
from gan_tf.runs import devices, recipe
name, batch_size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
strategy = devices.strategy(name)
with strategy.scope():
    model = recipe.build(recipe.Settings())
served = devices.distribute(data.batches(data.load("digits").x_train, batch_size, seed=0, endless=True), strategy)
def passed():
    line = next(line for line in open("/proc/net/dev") if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])
model.fit(served, steps_per_epoch=5, verbose=0)
started, before = time.perf_counter(), passed()
model.fit(served, steps_per_epoch=steps, verbose=0)
print(json.dumps([(time.perf_counter() - started) / steps, (passed() - before) / steps]))
"""


def overhead(batch_size: int) -> dict[str, list[float]]:
    """Return seconds a step without a strategy and with one replica under MirroredStrategy, in turns."""
    images, turns = data.load("digits").x_train, {}
    for name in ("one", "mirrored"):
        with devices.strategy(name).scope():
            model = recipe.build(recipe.Settings())
        batches = data.batches(images, batch_size, seed=0, endless=True)
        model.fit(batches, steps_per_epoch=5, verbose=0)
        turns[name] = (model, batches)
    seconds = {name: [] for name in turns}
    for turn in tqdm(range(TURNS), desc="one replica"):
        for name in sorted(turns, reverse=bool(turn % 2)):
            model, batches = turns[name]
            started = time.perf_counter()
            model.fit(batches, steps_per_epoch=STEPS[batch_size], verbose=0)
            seconds[name].append((time.perf_counter() - started) / STEPS[batch_size])
    return seconds


def two_processes(name: str, batch_size: int, steps: int) -> tuple[float, float]:
    """Return seconds and bytes a step of two processes at the same time, the slower one's."""
    addresses = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            addresses.append(f"127.0.0.1:{server.getsockname()[1]}")
    command = [sys.executable, "-c", WORKER, name, str(batch_size), str(steps)]
    told = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)]
    environments = [os.environ | {"TF_CONFIG": json.dumps(config)} for config in told]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        for environment in environments
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return max(seconds for seconds, _ in found), statistics.mean(passed for _, passed in found)


def main() -> None:
    """Measure, and write the section of RESULTS.md."""
    keras.utils.set_random_seed(0)
    lines = []
    for batch_size in (32, 256):
        seconds = overhead(batch_size)
        ratios = [b / a for a, b in zip(seconds["one"], seconds["mirrored"], strict=True)]
        lines.append(
            f"One replica under `MirroredStrategy`, batch {batch_size}: {statistics.median(ratios) - 1:+.1%} "
            f"of time a step (median of {TURNS} turns, {min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%})."
        )
    model = recipe.build(recipe.Settings())
    weights = 4 * sum(p.count_params() for p in (model.generator, model.discriminator))
    lines += ["", "| two processes on two cores | seconds a step | passed on loopback a step |", "| --- " * 3 + "|"]
    for batch_size in (32, 256):
        runs = {"apart": ("one", batch_size // 2), "workers": ("multiworker", batch_size)}
        found = {kind: [] for kind in runs}
        for _ in tqdm(range(WORKER_TURNS), desc=f"two workers, batch {batch_size}"):
            for kind, arguments in runs.items():
                found[kind].append(two_processes(*arguments, STEPS[batch_size]))
        for kind, name in (
            ("apart", f"each {batch_size // 2} images, never talking"),
            ("workers", f"workers, {batch_size} images"),
        ):
            times, passed = zip(*found[kind], strict=True)
            lines.append(f"| {name} | {statistics.median(times):.3f} | {statistics.median(passed) / 1e6:.1f} MB |")
        share = [1 - a[0] / b[0] for a, b in zip(found["apart"], found["workers"], strict=True)]
        lines.append(f"| time in communication, batch {batch_size} | {statistics.median(share):.0%} | |")
    lines += [
        "",
        f"All weights of both players: {weights / 1e6:.1f} MB. Medians of {WORKER_TURNS} turns.",
    ]
    write_section("Several replicas", [machine(), "The default recipe.", "", *lines])


if __name__ == "__main__":
    main()

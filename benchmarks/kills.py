"""Kill a run with `kill -9` at random moments, and see what is lost: `python benchmarks/kills.py [KILLS]`, else 50.

After each kill, every file that has its final name must be whole. The run is asked for half of its epochs first, and
for all of them when those are done. At the end, it must have the bits of one that was asked for all at once and that
nobody touched: variables, losses, history, frames, GIF.
"""

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from report import machine, write_section
from tqdm import tqdm

ARGUMENTS = ("--dataset", "digits", "--model", "mlp", "--batch-size", "250", "--checkpoint-every", "2")
EPOCHS = 12  # 72 steps


def start(folder: Path, epochs: int) -> subprocess.Popen:
    """Start training in a process of its own."""
    command = [sys.executable, "-m", "gan_tf", "train", str(folder), *ARGUMENTS, "--epochs", str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def started_to_write(folder: Path, epochs: int) -> subprocess.Popen:
    """Start training, and return once the process has changed something in the folder, or has ended."""
    written = newest_change(folder)
    process = start(folder, epochs)
    while process.poll() is None and newest_change(folder) == written:
        time.sleep(0.005)
    return process


def check_whole(folder: Path) -> None:
    """Read every file that has its final name; raise whatever a torn one raises."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == ".npz":
            with np.load(path) as archive:
                [archive[name] for name in archive.files]
        elif path.suffix in (".png", ".gif"):
            Image.open(path).load()
        elif path.suffix == ".csv":
            columns, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
            assert all(len(row) == len(columns) for row in rows), path


def checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, the oldest first."""
    return sorted((folder / "checkpoints").glob("[0-9]*.npz"))


def kill_often(folder: Path, kills: int, span: float, seed: int = 0, epochs: int = EPOCHS) -> list[int]:
    """Kill a run so many times, then let it end.

    A kill comes at a random moment after the process has begun to write, so that it falls into a step, a checkpoint, a
    frame, a table, the GIF or the final save.

    Args:
        folder: of the run, empty.
        kills: how many.
        span: seconds from the first write to the end of a run that nobody touches.
        seed: of the moments.
        epochs: of the run.

    Returns:
        The steps that the newest checkpoints held when the kills came.
    """
    draw, reached = random.Random(seed), []
    for _ in tqdm(range(kills), desc="kills", disable=None):
        process = started_to_write(folder, epochs)
        time.sleep(draw.uniform(0.0, span))
        process.kill()
        process.communicate()
        check_whole(folder)
        reached.append(max((int(path.stem) for path in checkpoints(folder)), default=0))
        if is_finished(folder):  # it ended before the kill: take its end away again
            for path in (folder / "generator.keras", checkpoints(folder)[-1]):
                path.unlink()
    last = start(folder, epochs)
    error = last.communicate()[1]
    assert last.returncode == 0, error
    return reached


def is_finished(folder: Path) -> bool:
    """Return whether a run was finished; one that goes on to more epochs has the files of the fewer ones meanwhile."""
    if not (folder / "generator.keras").exists():
        return False
    return "finished_epochs" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def newest_change(folder: Path) -> int:
    """Return when something below a folder last changed, 0 where there is nothing."""
    times = []
    for path in folder.rglob("*"):
        try:
            times.append(path.lstat().st_mtime_ns)
        except FileNotFoundError:  # it was renamed meanwhile
            times.append(time.time_ns())
    return max(times, default=0)


def differences(one: Path, other: Path) -> list[str]:
    """Name what differs between two finished runs, times aside."""
    found = []
    archives = [checkpoints(folder)[-1] for folder in (one, other)]
    with np.load(archives[0]) as first, np.load(archives[1]) as second:
        names = {name for name in first.files + second.files if "seconds" not in name}
        found += [n for n in names if n not in first or n not in second or first[n].tobytes() != second[n].tobytes()]
    for name in ("history.csv", "losses.csv"):
        tables = [
            list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines())) for folder in (one, other)
        ]
        rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in table] for table in tables]
        found += [name] * (rows[0] != rows[1])
    frames = [sorted((folder / "frames").iterdir()) for folder in (one, other)]
    if [path.name for path in frames[0]] != [path.name for path in frames[1]]:
        return [*found, "names of the frames"]
    pairs = [*zip(*frames, strict=True), (one / "progress.gif", other / "progress.gif")]
    return found + [a.name for a, b in pairs if a.read_bytes() != b.read_bytes()]


def main() -> None:
    """Kill, compare, and write the section of RESULTS.md."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as name:
        undisturbed, killed = Path(name, "undisturbed"), Path(name, "killed")
        process, began = started_to_write(undisturbed, EPOCHS), time.perf_counter()
        assert process.wait() == 0
        span = time.perf_counter() - began
        reached = kill_often(killed, kills // 2, span / 2, epochs=EPOCHS // 2)
        reached += kill_often(killed, kills - kills // 2, span / 2, seed=1)
        different = differences(undisturbed, killed)
    lines = [
        f"`kill -9` {kills} times on one run of {EPOCHS * 6} steps, at random moments, a checkpoint every 2 steps: "
        "after each, all files with their final names were whole.",
        f"Steps held by the newest checkpoint at each kill: {', '.join(map(str, reached))}.",
        f"What differs at the end from a run that nobody touched: {', '.join(different) or 'nothing'}.",
    ]
    write_section("Killed runs", [machine(), "", *lines])
    sys.exit(bool(different))


if __name__ == "__main__":
    main()

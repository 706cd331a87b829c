"""Files that appear whole or not at all."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, bring it to the disk, and only then give it its own.

    Args:
        path: where; what stood there before is replaced, or left alone if `write` fails.
        write: is called with the open binary file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with open(partial, "xb") as file:  # never through a link that somebody put there
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def one_line(error: object) -> str:
    """Return an error's message in one line of at most 200 characters, or its kind where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def total_memory() -> int:
    """Return this machine's memory in bytes, or infinity where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def check_memory(needed: int, what: str) -> None:
    """Refuse what this machine's memory cannot hold, before the system ends the process.

    Raises:
        ValueError: with both numbers.
    """
    if needed > (there := total_memory()):
        raise ValueError(
            f"{what} needs about {needed / 1e9:.0f} GB of memory, here are {there / 1e9:.0f} GB; ask for less"
        )


def write_json(path: str | Path, content: dict) -> None:
    """Write an object that people can read, too, whole or not at all."""
    write_whole(path, lambda file: file.write(json.dumps(content, indent=2).encode() + b"\n"))


def write_csv(path: str | Path, columns: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Write a table with a header, whole or not at all."""
    lines = [",".join(str(value) for value in row) + "\n" for row in (columns, *rows)]
    write_whole(path, lambda file: file.writelines(line.encode() for line in lines))


def read_csv(path: str | Path) -> dict[str, list[float]]:
    """Read a table of numbers as one list a column."""
    with open(path, newline="") as file:
        columns, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(columns)}


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image (height, width), whole or not at all."""
    write_whole(path, lambda file: Image.fromarray(image).save(file, format="png"))

"""RESULTS.md: one section for each benchmark, with the machine that it was measured on."""

import argparse
import csv
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def machine() -> str:
    """Describe the processor, its number of cores for this process and the versions."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        name = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8")).group(1)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    native = "with" if "avx512_bf16" in flags or "amx_bf16" in flags else "without"
    return (
        f"Measured on {cores} cores of {name}, {native} native bfloat16, {platform.system()}; Python "
        f"{platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}."
    )


def spread(values: Sequence[float], shape: str = ".0f") -> str:
    """Write the median of some numbers, and the lowest and the highest."""
    return f"{statistics.median(values):{shape}} ({min(values):{shape}} to {max(values):{shape}})"


def read_rows(path: Path) -> list[list]:
    """Return the rows that a resumable benchmark has made: [name, seed, *numbers], and "" where a row has none."""
    rows = [row.values() for row in read_texts(path)]
    return [[name, int(seed), *(float(value) if value else "" for value in values)] for name, seed, *values in rows]


def read_texts(path: Path) -> list[dict[str, str]]:
    """Return the same rows by their columns' names, as text."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def asked_for(description: str, names: Iterable[str]) -> list[str]:
    """Return the names of the rows that the command line asks for; all of them where it names none."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    return parser.parse_args().names or list(names)


def write_section(title: str, lines: list[str]) -> None:
    """Print a section, and put it into RESULTS.md in place of the one with the same title."""
    text = "\n".join([f"## {title}", "", *lines, ""])
    print(text)
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n\nWritten by `make bench`.\n"
    before, *sections = re.split(r"(?m)^(?=## )", old)
    kept = {section.splitlines()[0][3:]: section for section in sections}
    kept[title] = text + "\n"
    RESULTS.write_text(
        before.rstrip() + "\n\n" + "\n".join(section.rstrip() + "\n" for section in kept.values()), encoding="utf-8"
    )

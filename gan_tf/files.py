"""Files that appear whole or not at all; and how much memory there is."""

import contextlib
import csv
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

try:
    import fcntl
except ImportError:  # Windows, where an open file can be neither renamed nor deleted
    fcntl = None


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file under another name, bring it to the disk, and only then give it its own.

    What stood there before is replaced, or left alone if `write` fails. Of several that write one file at once, each
    has a partial file of its own; the last to finish stands in the end.
    """
    path = Path(path)
    with _partial(path.parent) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if not fcntl:
                file.close()
            Path(file.name).replace(path)
        except BaseException:
            if not fcntl:
                file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _partial(folder: Path) -> BinaryIO:
    """Open a file that nobody else has, locked for as long as it is open: `remove_partials` leaves it alone."""
    while True:
        partial = folder / f".{secrets.token_hex(8)}.partial"
        file = open(partial, "xb")  # noqa: SIM115, the caller closes it; x: never through a link that somebody put there
        _lock(file, wait=True)

        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed before it was locked


def remove_partials(folder: Path) -> None:
    """Delete the partial files below a folder that killed processes left, and none that a living one writes."""
    for path in folder.rglob(".*.partial*"):
        if path.is_symlink() or not path.is_file():
            continue

        with contextlib.suppress(OSError):
            if not fcntl:
                path.unlink()  # refused for as long as somebody has it open
                continue

            with open(path, "rb") as file:
                if _lock(file, wait=False):
                    path.unlink()


def write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder under another name, bring its files to the disk, and only then give it its own.

    Into a folder that is there, and empty, the files are moved. If `write` fails, nothing of it stays.
    """
    there = folder.is_dir()
    partial = (folder if there else folder.parent) / f".{secrets.token_hex(8)}.partial"
    partial.mkdir()
    try:
        write(partial)
        paths = sorted(partial.iterdir())
        with ThreadPoolExecutor(16) as several:  # the disk takes those that wait together at once
            list(several.map(_to_disk, paths))
        if there:
            for path in paths:
                path.rename(folder / path.name)
            partial.rmdir()
        else:
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _to_disk(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _lock(file: BinaryIO, wait: bool) -> bool:
    """Take an open file for oneself, and return whether that worked: not every system and disk has locks."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def one_line(error: object) -> str:
    """Return an error's message in one line of at most 200 characters, or its kind where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def total_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use, or infinity where nobody says.

    That is the machine's memory, or less: a container, or a job of a batch system, is in a control group with a limit.
    """
    limits = list(_group_limits(root))
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=sys.maxsize)


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of this process's control group and of those around it, in versions 1 and 2 of them."""
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue

            mounted = root / "sys/fs/cgroup" / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            inner = mounted / group.strip("/")
            for folder in (inner, *inner.parents[: len(inner.parts) - len(mounted.parts)]):
                with contextlib.suppress(OSError, ValueError):  # a group outside the container; "max"
                    yield int((folder / name).read_text(encoding="utf-8"))


def check_memory(needed: int, what: str) -> None:
    """Refuse, as a UsageError, what this machine's memory cannot hold, before the system ends the process."""
    from gan_tf import UsageError  # here, because the package starts TensorFlow, and this file can do without

    if needed > (there := total_memory()):
        raise UsageError(
            f"{what} needs about {needed / 1e9:.0f} GB of memory, here are {there / 1e9:.0f} GB; ask for less"
        )


def check_empty(folder: Path) -> None:
    """Refuse, as a UsageError, a folder that holds files; hidden ones, as systems leave them, do not count."""
    from gan_tf import UsageError  # as above

    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder, or empty it")


def write_json(path: str | Path, content: dict) -> None:
    """Write an object that people can read, too, whole or not at all."""
    write_whole(path, lambda file: file.write(json.dumps(content, indent=2).encode() + b"\n"))


def write_csv(path: str | Path, columns: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Write a table with a header, whole or not at all."""
    lines = [",".join(str(value) for value in row) + "\n" for row in (columns, *rows)]
    write_whole(path, lambda file: file.writelines(line.encode() for line in lines))


def read_csv(path: str | Path) -> dict[str, list[float]]:
    """Read a table of numbers as one list a column."""
    with open(path, newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)

    return {name: [float(row[i]) for row in rows] for i, name in enumerate(columns)}


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image, (height, width) or (height, width, 3), whole or not at all."""
    write_whole(path, lambda file: Image.fromarray(image).save(file, format="png"))

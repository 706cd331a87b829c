"""What is typed after `python -m gan_tf` -> values, or an error of argparse. Nothing here takes time to import."""

import argparse
import os
from pathlib import Path


def run_folder(text: str) -> Path:
    """Return a path that is not empty: Python would take that for the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must be a folder's name, got nothing")
    return Path(text)


def at_least(lowest: int):
    """Return a parser of whole numbers from `lowest` to 2^31 - 1."""

    def whole_number(text: str) -> int:
        number = int(text)
        if not lowest <= number < 2**31:
            raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to 2147483647, got {text}")
        return number

    return whole_number


def digits(text: str) -> tuple[int, ...]:
    """Return the digits of a text, as 2026."""
    if not text.isascii() or not text.isdigit() or len(text) > 1000:
        raise argparse.ArgumentTypeError(f"must be digits, as 2026, got {text!r:.50}")
    return tuple(map(int, text))


def with_suffix(*suffixes: str):
    """Return a parser of paths that end in one of `suffixes` and whose folder can be written."""

    def path(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(suffixes)}, got {text}")
        _check_writable(Path(text).parent)
        return Path(text)

    return path


def pictures(text: str) -> Path:
    """Return the path of a .png, of an .npz, or of a folder: of one that ends in / or that is there."""
    if not text.endswith(("/", os.sep)) and not os.path.isdir(text):
        return with_suffix(".png", ".npz", "/")(text)

    folder = Path(text)
    if folder.suffix in (".png", ".npz"):
        raise argparse.ArgumentTypeError(f"a folder's name must not end in {folder.suffix}, got {text}")
    if os.path.isfile(folder):
        raise argparse.ArgumentTypeError(f"{folder} is a file; name a folder")
    _check_writable(folder if os.path.isdir(folder) else folder.parent)
    return folder


def _check_writable(folder: Path) -> None:
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):  # which say no of a name that no folder can have
        raise argparse.ArgumentTypeError(f"{folder} is not a folder that can be written")

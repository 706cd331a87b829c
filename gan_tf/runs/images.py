"""Images, uint8 (n, height, width, 1 or 3), in a file or a folder: as a grid, as an array, or as a picture each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gan_tf import plots
from gan_tf.files import check_empty, write_folder, write_png, write_whole
from gan_tf.folders import BAR
from gan_tf.runs.folder import os_errors_in_one_line

NAME_BYTES = 100  # of a class's name in that of a file, which may have 255 of all


def write_images(
    path: str | Path,
    images: np.ndarray,
    labels=None,
    columns: int | None = None,
    enlarged: int = 1,
    names: Sequence[str] = (),
) -> None:
    """Write images, uint8 (n, height, width, 1 or 3), as one grid, as an array or as a picture each.

    Args:
        path: of a grid, if it ends in .png; of an array named `images`, if it ends in .npz; else of a folder, new or
            empty, for 0000.png and so on, or 0000-apple.png of an image of this class. All are whole or not there.
        images: to be written.
        labels: theirs, (n,), for an array named `labels` or for the pictures' names.
        columns: of the grid; about as many as rows by default.
        enlarged: the side of the square that a pixel becomes in the grid.
        names: of the classes; one that has none is called class7 by its label.

    Raises:
        RunError: it cannot be written.
        UsageError: the folder is not empty.
    """
    path = Path(path)
    with os_errors_in_one_line(path):
        if path.suffix == ".npz":
            arrays = {"images": images} | ({} if labels is None else {"labels": np.asarray(labels)})
            write_whole(path, lambda file: np.savez_compressed(file, **arrays))
        elif path.suffix == ".png":
            write_png(path, plots.enlarge(plots.image_grid(images, columns), enlarged))
        else:
            check_empty(path)
            write_folder(path, lambda folder: _write_each(folder, images, labels, names))


def _write_each(folder: Path, images: np.ndarray, labels, names: Sequence[str]) -> None:
    digits = max(4, len(str(len(images) - 1)))
    for number, image in enumerate(tqdm(images, desc="writing", unit="picture", disable=None, **BAR)):
        of_class = "" if labels is None else f"-{_file_name(int(labels[number]), names)}"
        Image.fromarray(plots.image_grid(image[np.newaxis])).save(folder / f"{number:0{digits}d}{of_class}.png")


def _file_name(label: int, names: Sequence[str]) -> str:
    """Return a class's name for a file: what one system or another does not take becomes _, and the rest is cut."""
    name = names[label] if label < len(names) else f"class{label}"
    safe = "".join("_" if sign in '/\\:*?"<>|' or not sign.isprintable() else sign for sign in name)
    return safe.encode()[:NAME_BYTES].decode(errors="ignore")

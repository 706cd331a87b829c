"""Make digits.npz from the handwritten digits of scikit-learn, which must be installed: `python data/make_digits.py`.

Each 8x8 image with values 0 to 16 is scaled to 20x20 by bicubic interpolation and set in the middle of 28x28, the frame
that MNIST uses; 64 grey levels are kept of the 256, the source having 17. The first 1,500 images are for training, the
last 297 for testing; the order is the source's.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN_COUNT = 1500


def frame(image: np.ndarray) -> np.ndarray:
    """Scale one float (8, 8) image in [0, 16] to uint8 (28, 28) in [0, 255]."""
    small = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    framed = np.zeros((28, 28), np.uint8)
    framed[4:24, 4:24] = np.asarray(small.resize((20, 20), Image.Resampling.BICUBIC)) & 0xFC
    return framed


def make() -> dict[str, np.ndarray]:
    """Return x_train, y_train, x_test, y_test as uint8, in the layout of MNIST."""
    source = load_digits()
    images = np.stack([frame(image) for image in source.images])
    labels = source.target.astype(np.uint8)
    return {
        "x_train": images[:TRAIN_COUNT],
        "y_train": labels[:TRAIN_COUNT],
        "x_test": images[TRAIN_COUNT:],
        "y_test": labels[TRAIN_COUNT:],
    }


if __name__ == "__main__":
    path = Path(__file__).with_name("digits.npz")
    np.savez_compressed(path, **make())
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")

"""A picture of any kind -> uint8 pixels of one size, grey or colour."""

import numpy as np
from PIL import Image, ImageOps

from gan_tf.datasets import Dataset


def fitted(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Return a picture as uint8 (size, size, channels): upright, over white, the middle square, by a Lanczos filter."""
    if image.format == "JPEG":
        image.draft(None, (3 * size, 3 * size))  # decodes a large photograph at a half, a quarter or an eighth
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip
        image = Image.fromarray(np.clip(np.round(np.asarray(image) / 257), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        image = image.crop(box)
    else:
        image = image.resize((size, size), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    return np.asarray(image).reshape(size, size, channels)


def is_grey(image: Image.Image) -> bool:
    """Return whether a picture has no colours, as far as its header and palette show."""
    if image.mode == "P":
        colours = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def fitted_dataset(dataset: Dataset, size: int | None, channels: int | None) -> Dataset:
    """Return a dataset in another size, or in grey or colour, or as it is where that is what was asked for."""
    height, _, depth = dataset.image_shape
    if size in (None, height) and channels in (None, depth):
        return dataset

    def again(images: np.ndarray) -> np.ndarray:
        pictures = (Image.fromarray(image[..., 0] if depth == 1 else image) for image in images)
        return np.stack([fitted(picture, size or height, channels or depth) for picture in pictures])

    return dataset._replace(x_train=again(dataset.x_train), x_test=again(dataset.x_test))

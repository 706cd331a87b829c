"""The generators that the package ships, of MNIST's digits: trained by `data/make_generator.py`'s command."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np

from gan_tf import models
from gan_tf.conditional import conditional_generator
from gan_tf.files import one_line
from gan_tf.runs.folder import RunError

PRETRAINED = Path(__file__).parent.with_name("pretrained.npz")
PRETRAINED_SHA256 = "9f5e9f464df7a54b10917a5f90abeb6f4ebb075ecfff3e0c8cff9b4e8dd92bd8"
CONDITIONAL = PRETRAINED.with_name("conditional.npz")
CONDITIONAL_SHA256 = "e0ab93ceaddc509190741d83106acb6b83bde393a3d4e1535b0362219d2294a1"


def pretrained_generator(conditional: bool = False) -> keras.Model:
    """Load a generator that the package ships: of MNIST's digits, trained for 600,000 images by the default recipe.

    Args:
        conditional: the one that draws the digit that it is asked for.

    Returns:
        A model from z, float32 (n, 10), or from [z, label], the second int32 (n,), to images, float32 (n, 28, 28, 1) in
        [-1, 1]; its weights had 16 bits.

    Raises:
        RunError: the file is missing, damaged or not the one that was shipped.
    """
    path, digest = (CONDITIONAL, CONDITIONAL_SHA256) if conditional else (PRETRAINED, PRETRAINED_SHA256)
    try:
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != digest:
            raise ValueError(f"its SHA-256 is {found[:12]}, that of the shipped one {digest[:12]}")
        with np.load(path, allow_pickle=False) as archive:
            generator = models.dcgan_generator(**json.loads(str(archive["arguments"])))
            if conditional:
                generator = conditional_generator(generator, 10)
            names = sorted(set(archive.files) - {"arguments"})
            generator.set_weights([archive[name].astype(np.float32) for name in names])
    except Exception as error:  # NumPy, zipfile and Keras raise many kinds
        raise RunError(f"{path} cannot be loaded ({one_line(error)}); install gan_tf again") from error
    return generator

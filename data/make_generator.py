"""Pack a finished run's generator for shipping: `python data/make_generator.py RUN`.

The weights are rounded to 16 bits, which halves the file; the script prints what that does to the Fréchet distance.
"""

import hashlib
import json
import sys

import keras
import numpy as np

from gan_tf import data, evaluator, models
from gan_tf.runs import folder

SHAPES = ("latent_dim", "width", "first_kernel")  # what models.dcgan_generator needs to build it again


def arguments_of(generator: keras.Model) -> dict[str, int]:
    """Return the arguments with which `models.dcgan_generator` builds a generator of these shapes."""
    first, *_, last = (layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose))
    values = (generator.input_shape[1], last.kernel.shape[3], first.kernel.shape[0])
    return dict(zip(SHAPES, values, strict=True))


def distance(generator: keras.Model, dataset: data.Dataset) -> float:
    """Return the Fréchet distance of as many samples as there are test images."""
    judge = evaluator.Evaluator()
    fake = judge.extract(folder.sample_images(generator, len(dataset.x_test), seed=0))
    return evaluator.quick_scores(judge.extract(dataset.x_test), fake)["frechet_distance"]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/make_generator.py RUN")
    trained = folder.load_generator(sys.argv[1])
    arguments = arguments_of(trained)
    assert models.dcgan_generator(**arguments).count_params() == trained.count_params()
    weights = {f"{i:02d}": weight.astype(np.float16) for i, weight in enumerate(trained.get_weights())}
    np.savez_compressed(folder.PRETRAINED, arguments=np.array(json.dumps(arguments)), **weights)
    print(f"{folder.PRETRAINED.name}: {folder.PRETRAINED.stat().st_size:,} bytes")
    digest = hashlib.sha256(folder.PRETRAINED.read_bytes()).hexdigest()
    if digest != folder.PRETRAINED_SHA256:
        print(f"say PRETRAINED_SHA256 = {digest!r} in gan_tf/runs/folder.py, or it is refused; data/README.md, too")
        folder.PRETRAINED_SHA256 = digest
    mnist = data.load("mnist")
    before, after = distance(trained, mnist), distance(folder.pretrained_generator(), mnist)
    print(f"Fréchet distance in 32 bits {before:.3f}, in 16 bits {after:.3f}")

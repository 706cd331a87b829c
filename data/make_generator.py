"""Pack a finished run's generator for shipping: `python data/make_generator.py RUN`.

The weights are rounded to 16 bits, which halves the file; the script prints what that does to the Fréchet distance.
"""

import hashlib
import json
import sys

import keras
import numpy as np

from gan_tf import data, evaluator, models, runs
from gan_tf.runs import results


def arguments_of(generator: keras.Model) -> dict:
    """Return the arguments with which `models.dcgan_generator` builds a generator of these shapes."""
    convolutions = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    slope = next(layer.negative_slope for layer in generator.layers if isinstance(layer, keras.layers.LeakyReLU))
    return {
        "latent_dim": generator.input_shape[1],
        "widths": [layer.kernel.shape[3] for layer in convolutions],  # what each of them reads
        "first_kernel": convolutions[0].kernel.shape[0],
        "kernel": convolutions[1].kernel.shape[0],
        "slope": round(float(slope), 6),  # kept in float32
    }


def distance(generator: keras.Model, dataset: data.Dataset) -> float:
    """Return the Fréchet distance of as many samples as there are test images."""
    judge = evaluator.Evaluator()
    fake = judge.extract(runs.sample_images(generator, len(dataset.x_test), seed=0))
    return evaluator.quick_scores(judge.extract(dataset.x_test), fake)["frechet_distance"]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/make_generator.py RUN")
    trained = runs.load_generator(sys.argv[1])
    arguments = arguments_of(trained)
    assert models.dcgan_generator(**arguments).count_params() == trained.count_params()
    weights = {f"{i:02d}": weight.astype(np.float16) for i, weight in enumerate(trained.get_weights())}
    np.savez_compressed(runs.PRETRAINED, arguments=np.array(json.dumps(arguments)), **weights)
    print(f"{runs.PRETRAINED.name}: {runs.PRETRAINED.stat().st_size:,} bytes")
    digest = hashlib.sha256(runs.PRETRAINED.read_bytes()).hexdigest()
    if digest != runs.PRETRAINED_SHA256:
        print(
            f"say PRETRAINED_SHA256 = {digest!r} in gan_tf/runs/results.py, which refuses it else; data/README.md, too"
        )
        results.PRETRAINED_SHA256 = digest
    mnist = data.load("mnist")
    before, after = distance(trained, mnist), distance(runs.pretrained_generator(), mnist)
    print(f"Fréchet distance in 32 bits {before:.3f}, in 16 bits {after:.3f}")

"""Pack a finished run's generator for shipping: `python data/make_generator.py RUN`.

That of a conditional run becomes the one that draws the digit that it is asked for. The weights are rounded to 16 bits,
which halves the file; the script prints what that does to the scores.
"""

import hashlib
import json
import sys

import keras
import numpy as np

from gan_tf import classes, data, evaluator, runs
from gan_tf.runs import shipped


def arguments_of(generator: keras.Model) -> dict:
    """Return the arguments with which `models.dcgan_generator` builds a generator of these shapes."""
    first = next(layer for layer in generator.layers if isinstance(layer, keras.layers.Dense))
    convolutions = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    slope = next(layer.negative_slope for layer in generator.layers if isinstance(layer, keras.layers.LeakyReLU))
    return {
        "latent_dim": first.kernel.shape[0],  # what is the label's of it included
        "widths": [layer.kernel.shape[3] for layer in convolutions],  # what each of them reads
        "first_kernel": convolutions[0].kernel.shape[0],
        "kernel": convolutions[1].kernel.shape[0],
        "slope": round(float(slope), 6),  # kept in float32
    }


def scores(generator: keras.Model, dataset: data.Dataset) -> str:
    """Return the Fréchet distance of as many samples as there are test images, and what each class gets."""
    judge, count = evaluator.Evaluator(), len(dataset.x_test)
    labelled = len(generator.inputs) > 1
    asked = np.random.default_rng(0).permutation(dataset.y_train)[:count] if labelled else None  # as `evaluate` asks
    real, fake = judge.extract(dataset.x_test), judge.extract(runs.sample_images(generator, count, 0, asked))
    found = f"Fréchet distance {evaluator.quick_scores(real, fake)['frechet_distance']:.3f}"
    if not labelled:
        return found
    return f"{found}\n{classes.table({'classes': classes.scores_by_class(real, dataset.y_test, fake, asked)})}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/make_generator.py RUN")
    trained = runs.load_generator(sys.argv[1])
    conditional = len(trained.inputs) > 1
    path, name = (shipped.CONDITIONAL, "CONDITIONAL_SHA256") if conditional else (runs.PRETRAINED, "PRETRAINED_SHA256")

    weights = {f"{i:02d}": weight.astype(np.float16) for i, weight in enumerate(trained.get_weights())}
    np.savez_compressed(path, arguments=np.array(json.dumps(arguments_of(trained))), **weights)
    print(f"{path.name}: {path.stat().st_size:,} bytes")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != getattr(shipped, name):
        print(f"say {name} = {digest!r} in gan_tf/runs/shipped.py, which refuses it else; data/README.md, too")
        setattr(shipped, name, digest)
    mnist, rounded = data.load("mnist"), runs.pretrained_generator(conditional)
    for title, generator in (("32 bits", trained), ("16 bits", rounded)):
        print(f"in {title}: {scores(generator, mnist)}")

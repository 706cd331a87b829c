"""Train the evaluator that the package ships: `python data/make_evaluator.py`; about 6 minutes on 2 cores.

It learns from MNIST's 60,000 training images, moved and blurred a little so that small flaws of a sample do not change
its mind, and is judged once on the test images, at the end. Another run, or another processor, gives another file with
another SHA-256, and scores that cannot be compared: the script says where the new SHA-256 has to be written.
`--check` trains nothing and judges the file that is there.
"""

import hashlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gan_tf import data, evaluator

EPOCHS = 12
BATCH_SIZE = 128


def training_batches(dataset: data.Dataset) -> tf.data.Dataset:
    """Serve shuffled batches of moved, turned, resized and blurred training images with their labels."""
    change = keras.Sequential(
        [
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0, seed=1),
            layers.RandomRotation(0.03, fill_mode="constant", fill_value=-1.0, seed=2),
            layers.RandomZoom(0.1, 0.1, fill_mode="constant", fill_value=-1.0, seed=3),
        ]
    )

    def changed(images, labels):
        images = data.to_float(images)
        blurred = tf.nn.avg_pool2d(images, 3, 1, "SAME")
        share = 0.7 * tf.random.uniform((tf.shape(images)[0], 1, 1, 1))
        return change(images + share * (blurred - images), training=True), labels

    pairs = tf.data.Dataset.from_tensor_slices((dataset.x_train, dataset.y_train))
    pairs = pairs.shuffle(len(dataset.x_train), seed=0).batch(BATCH_SIZE, drop_remainder=True)
    return pairs.map(changed, num_parallel_calls=2).prefetch(2)


def train() -> None:
    """Train a classifier and save it with its features as a second output."""
    keras.utils.set_random_seed(0)
    mnist = data.load("mnist")
    whole = evaluator.classifier()
    model = keras.Model(whole.input, whole.get_layer("logits").output)
    steps = EPOCHS * (len(mnist.x_train) // BATCH_SIZE)
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(2e-3, steps), weight_decay=0.01, use_ema=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(training_batches(mnist), epochs=EPOCHS, verbose=2)
    evaluator.save_weights(evaluator.SHIPPED, whole)
    digest = hashlib.sha256(evaluator.SHIPPED.read_bytes()).hexdigest()
    if digest != evaluator.SHA256:
        print(f"gan_tf/evaluator.py must say SHA256 = {digest!r}, or it refuses the new file; data/README.md, too")


def check() -> None:
    """Print the file's identity and the share of test images that it gets right."""
    judge = evaluator.Evaluator(evaluator.SHIPPED)
    print(f"{evaluator.SHIPPED.name}: {evaluator.SHIPPED.stat().st_size:,} bytes, SHA-256 {judge.sha256}")
    for name in ("mnist", "digits"):
        dataset = data.load(name)
        right = np.mean(judge.extract(dataset.x_test).probabilities.argmax(axis=1) == dataset.y_test)
        print(f"{dataset!r}: {right:.2%} of the test images right")


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: python data/make_evaluator.py [--check]")
    if not sys.argv[1:]:
        train()
    check()

"""Chapter 07's GAN of its own, whose discriminator's weights are clipped: saved, loaded, and on two replicas."""

import ast

import chapters
import keras
import numpy as np
import pytest
import tensorflow as tf
import wasserstein

from gan_tf import data, losses, models
from gan_tf.runs import devices

pytestmark = pytest.mark.slow


def clipped(limit: float = 0.02) -> wasserstein.Clipped:
    keras.utils.set_random_seed(0)
    model = wasserstein.Clipped(models.mlp_generator(10, (16,)), models.mlp_discriminator((16,), 0.0), limit=limit)
    rates = [keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05)]
    model.compile(*rates, loss=losses.wasserstein, critic_steps=2)
    return model


def fitted(model: wasserstein.Clipped, chosen: tf.distribute.Strategy, skip: int = 0) -> list[np.ndarray]:
    batches = data.batches(data.load("digits").x_train, 32, seed=0, endless=True, skip=skip)
    model.fit(devices.distribute(batches, chosen), steps_per_epoch=2, verbose=0)
    return model.get_weights()


def test_a_clipped_gan_goes_on_from_a_file(tmp_path):
    model, chosen = clipped(), devices.strategy("one")
    fitted(model, chosen)
    model.save(tmp_path / "clipped.keras")
    loaded = keras.saving.load_model(tmp_path / "clipped.keras")
    assert loaded.limit == 0.02
    for there, here in zip(fitted(model, chosen, 2), fitted(loaded, chosen, 2), strict=True):
        np.testing.assert_array_equal(there, here)


def test_two_replicas_clip_as_one_does():
    one = fitted(clipped(), devices.strategy("one"))
    chosen = devices.strategy("mirrored")
    with chosen.scope():
        model = clipped()
    two = fitted(model, chosen)
    for there, here in zip(one, two, strict=True):
        np.testing.assert_allclose(there, here, atol=1e-5)
    largest = [np.abs(keras.ops.convert_to_numpy(w)).max() for w in model.discriminator.trainable_variables]
    assert max(largest) == pytest.approx(0.02)


def test_the_chapter_and_the_benchmark_clip_alike():
    def body(source: str) -> str:
        kinds = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Clipped"]
        own = [chapters.statements(node) for node in kinds[0].body if isinstance(node, ast.FunctionDef)]
        return str(own)

    notebook = chapters.read(chapters.ROOT / "notebooks" / "07_wasserstein.ipynb")
    cell = next(cell.source for cell in notebook.cells if cell.id == "clipped")
    benchmark = (chapters.ROOT / "benchmarks" / "wasserstein.py").read_text(encoding="utf-8")
    assert body(cell) == body(benchmark)

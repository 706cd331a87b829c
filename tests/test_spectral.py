"""Spectral normalisation: sigma is 1, its gradient is the paper's, and nothing but `u` changes."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_tf import UsageError, data, gan, models
from gan_tf.spectral import SpectralNormalization

KINDS = {
    "dense": (lambda: layers.Dense(5, activation="tanh"), (7,)),
    "convolution": (lambda: layers.Conv2D(6, 3, strides=2, padding="same"), (8, 8, 3)),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same"), (4, 4, 5)),
}


def wrapped(name: str) -> tuple[SpectralNormalization, np.ndarray]:
    """Return a layer of a kind, normalised, and some inputs for it; its kernel is far from sigma = 1."""
    keras.utils.set_random_seed(1)
    make, shape = KINDS[name]
    layer = SpectralNormalization(make())
    layer.build((None, *shape))
    layer.layer.kernel.assign(3.0 * layer.layer.kernel)
    layer.layer.bias.assign(np.linspace(-1, 1, layer.layer.bias.shape[0]))
    return layer, np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def matrix_of(layer: layers.Layer) -> np.ndarray:
    """Return a kernel as (output channels, all else)."""
    axis = -2 if isinstance(layer, layers.Conv2DTranspose) else -1
    return np.moveaxis(layer.kernel.numpy(), axis, 0).reshape(layer.kernel.shape[axis], -1)


@pytest.mark.parametrize("name", KINDS)
def test_it_computes_with_the_kernel_over_its_largest_singular_value(name):
    layer, x = wrapped(name)
    for _ in range(5):
        layer(x, training=True)
    plain = type(layer.layer).from_config(layer.layer.get_config())
    plain.build(x.shape)
    largest = np.linalg.svd(matrix_of(layer.layer), compute_uv=False)[0]
    plain.kernel.assign(layer.layer.kernel / largest)
    plain.bias.assign(layer.layer.bias)
    assert np.linalg.svd(matrix_of(plain), compute_uv=False)[0] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-5)
    assert np.abs(plain(x) - layer.layer(x)).max() > 0.1  # it is not the kernel as it was


@pytest.mark.parametrize("name", KINDS)
def test_sigma_is_right_to_one_percent_at_once_and_stays_so_while_the_kernel_moves(name):
    """A step of Adam with a rate of 0.01 moves it by far more than a GAN does."""
    layer, x = wrapped(name)
    optimizer = keras.optimizers.Adam(1e-2)
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        largest = np.linalg.svd(matrix_of(layer.layer), compute_uv=False)[0]
        u = layer.u.numpy()
        assert np.linalg.norm(u @ matrix_of(layer.layer)) == pytest.approx(largest, rel=0.01)
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)


def test_only_u_changes_and_only_in_training():
    """Keras's own layer writes into the kernel: if that ends one day, this course should say so."""
    layer, x = wrapped("dense")
    before = [weight.numpy().copy() for weight in layer.weights]
    layer(x, training=False)
    assert all((weight.numpy() == old).all() for weight, old in zip(layer.weights, before, strict=True))
    layer(x, training=True)
    changed = [weight.name for weight, old in zip(layer.weights, before, strict=True) if (weight != old).numpy().any()]
    assert set(changed) <= {"u"}

    keras_s = layers.SpectralNormalization(layers.Dense(5))
    keras_s.build((None, 7))
    keras_s.layer.kernel.assign(3.0 * keras_s.layer.kernel)
    old = keras_s.layer.kernel.numpy().copy()
    keras_s(x, training=True)
    assert np.abs(keras_s.layer.kernel.numpy() - old).max() > 0.1


@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_goes_through_sigma_as_in_equation_12(name):
    """(the plain gradient at W / sigma, minus lambda u v^T) / sigma, lambda = <that gradient, W / sigma>."""
    layer, x = wrapped(name)
    for _ in range(30):
        layer(x, training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(x, training=False)))
    own = tape.gradient(loss, layer.layer.kernel._value).numpy()

    kernel, (u, s, vt) = layer.layer.kernel.numpy(), np.linalg.svd(matrix_of(layer.layer), full_matrices=False)
    layer.layer.kernel.assign(kernel / s[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer.layer(x)))
    plain = tape.gradient(loss, layer.layer.kernel._value).numpy()
    outer = np.outer(u[:, 0], vt[0])
    axis = -2 if name == "transposed" else -1
    outer = np.moveaxis(outer.reshape(np.moveaxis(kernel, axis, 0).shape), 0, axis)
    expected = (plain - np.sum(plain * kernel / s[0]) * outer) / s[0]
    np.testing.assert_allclose(own, expected, atol=1e-4)
    assert np.abs(plain / s[0] - expected).max() > 1e-3  # without sigma's own part it would be another


def test_the_gradient_is_that_of_finite_differences():
    layer, x = wrapped("dense")
    for _ in range(30):
        layer(x, training=True)
    kernel = layer.layer.kernel.numpy().copy()

    def loss_at(moved):
        layer.layer.kernel.assign(moved)
        return tf.reduce_sum(tf.sin(layer(x, training=False)))

    with tf.GradientTape() as tape:
        loss = loss_at(kernel)
    own = tape.gradient(loss, layer.layer.kernel._value).numpy()
    for place in itertools.product((0, 3, 6), (0, 4)):
        step = np.zeros_like(kernel)
        step[place] = 1e-2
        difference = (loss_at(kernel + step) - loss_at(kernel - step)) / 2e-2
        assert float(difference) == pytest.approx(own[place], abs=2e-3)


def test_a_kernel_of_zeros_gives_the_bias_and_finite_gradients():
    layer, x = wrapped("convolution")
    layer.layer.kernel.assign(tf.zeros_like(layer.layer.kernel))
    with tf.GradientTape() as tape:
        made = layer(x, training=True)
        loss = tf.reduce_sum(made**2)
    np.testing.assert_allclose(made, np.broadcast_to(layer.layer.bias, made.shape))
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, layer.trainable_variables))
    assert np.isfinite(layer.u.numpy()).all()


@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D(3), layers.LeakyReLU(), layers.Embedding(3, 4)])
def test_what_is_not_one_matrix_is_refused(layer):
    with pytest.raises(UsageError, match="needs a dense layer or a convolution, got "):
        SpectralNormalization(layer)


def players() -> tuple[keras.Model, keras.Model]:
    keras.utils.set_random_seed(0)
    discriminator = models.dcgan_discriminator((4, 8), 0.0, normalization="spectral")
    return models.dcgan_generator(8, (8, 4, 2), 3), discriminator


def squared_slope(critic, real, fake, seed) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(real)
        logits = critic(real)
    return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, real) ** 2, axis=[1, 2, 3]))


def batches():
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), np.uint8)
    return data.batches(images, 16, seed=0, endless=True)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_gan_with_it_and_a_penalty_trains_and_evaluates(policy):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = gan.GAN(*players())
        model.compile("adam", "adam", penalties=[(squared_slope, 0.5)])
        model.fit(batches(), steps_per_epoch=3, verbose=0)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    wrappers = [layer for layer in model.discriminator.layers if isinstance(layer, SpectralNormalization)]
    assert len(wrappers) == 3
    states = [layer.u.numpy().copy() for layer in wrappers]
    scores = model.evaluate(batches().take(2), verbose=0, return_dict=True)
    assert all(np.isfinite(list(scores.values())))
    assert all((layer.u.numpy() == old).all() for layer, old in zip(wrappers, states, strict=True))
    for layer in wrappers:
        largest = np.linalg.svd(matrix_of(layer.layer), compute_uv=False)[0]
        assert np.linalg.norm(layer.u.numpy() @ matrix_of(layer.layer)) == pytest.approx(
            largest, rel=0.1
        )  # several are close to it


def test_a_saved_discriminator_is_the_same(tmp_path):
    _, discriminator = players()
    x = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    discriminator(x, training=True)
    discriminator.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    copied = keras.models.clone_model(discriminator)
    copied.set_weights(discriminator.get_weights())
    for other in (loaded, copied):
        np.testing.assert_array_equal(other(x), discriminator(x))

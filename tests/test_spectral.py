"""Spectral normalisation: the largest singular value, by NumPy's svd; the kernel stays; its gradient, in three ways."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_tf import UsageError, gan
from gan_tf.runs import devices
from gan_tf.spectral import SpectralNormalization

LAYERS = {
    "dense": (lambda **o: layers.Dense(24, **o), (40,)),
    "convolution": (lambda **o: layers.Conv2D(12, 3, padding="same", **o), (8, 8, 5)),
    "transposed": (lambda **o: layers.Conv2DTranspose(12, 4, strides=2, padding="same", **o), (8, 8, 5)),
    "transposed, line": (lambda **o: layers.Conv1DTranspose(12, 4, strides=2, padding="same", **o), (8, 5)),
}


def images(count: int, *shape: int, seed: int = 0, dtype: str = "float32") -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(dtype))


def normalised(name: str, **options) -> tuple[SpectralNormalization, tuple[int, ...]]:
    keras.utils.set_random_seed(0)
    make, shape = LAYERS[name]
    steep = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.5)}
    layer = SpectralNormalization(make(**steep | options))
    layer.build((None, *shape))
    return layer, shape


def matrix(layer: layers.Layer, kernel) -> np.ndarray:
    """Return a kernel as (inputs, outputs)."""
    kernel = np.array(kernel, np.float64)
    if "Transpose" in type(layer).__name__:
        kernel = np.swapaxes(kernel, -1, -2)
    return kernel.reshape(-1, kernel.shape[-1])


def largest(layer: SpectralNormalization, kernel=None) -> float:
    kernel = layer.normalized_kernel() if kernel is None else kernel
    return np.linalg.svd(matrix(layer.layer, kernel), compute_uv=False)[0]


@pytest.mark.parametrize("name", LAYERS)
def test_the_largest_singular_value_is_1_to_a_hundredth(name):
    """From the first call on, though the kernel's own is another; and ever nearer."""
    layer, shape = normalised(name)
    assert abs(largest(layer, layer.layer.kernel) - 1) > 0.1
    assert largest(layer) == pytest.approx(1, abs=0.01)
    for _ in range(100):
        layer(images(2, *shape), training=True)
    assert largest(layer) == pytest.approx(1, abs=1e-4)


def test_after_another_kernel_it_is_found_again():
    layer, shape = normalised("dense")
    layer.layer.kernel.assign(np.random.default_rng(1).normal(0, 3, (40, 24)))
    before = largest(layer)
    for _ in range(100):
        layer(images(2, *shape), training=True)
    assert abs(before - 1) > 0.01
    assert largest(layer) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_what_comes_out_is_the_layer_s_with_that_kernel(name):
    """The bias is not divided."""
    layer, shape = normalised(name, bias_initializer="ones")
    x = images(3, *shape)
    expected = type(layer.layer).from_config(layer.layer.get_config())
    expected.build((None, *shape))
    expected.set_weights([layer.normalized_kernel(), layer.layer.bias])
    np.testing.assert_allclose(layer(x), expected(x), rtol=1e-5, atol=1e-6)
    assert tuple(layer.compute_output_shape((3, *shape))) == tuple(expected(x).shape)


@pytest.mark.parametrize("name", LAYERS)
def test_no_pass_moves_the_kernel_and_none_out_of_training_moves_u(name):
    layer, shape = normalised(name)
    layer.u.assign(tf.ones(layer.u.shape) / layer.u.shape[0] ** 0.5)  # not converged
    kernel, u = layer.layer.kernel.numpy(), layer.u.numpy()
    first, again = layer(images(2, *shape)), layer(images(2, *shape))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(layer.u, u)
    layer(images(2, *shape), training=True)
    assert np.abs(layer.u - u).max() > 1e-3
    np.testing.assert_array_equal(layer.layer.kernel, kernel)
    assert np.linalg.norm(layer.u) == pytest.approx(1, abs=1e-6)


def test_keras_s_own_assigns_its_kernel():
    """Why there is one of our own."""
    layer = layers.SpectralNormalization(layers.Dense(24))
    layer.build((None, 40))
    before = layer.layer.kernel.numpy()
    layer(images(2, 40), training=True)
    assert np.abs(layer.layer.kernel - before).max() > 0.1


def test_a_kernel_of_zeros_stays_one():
    layer, shape = normalised("dense", kernel_initializer="zeros")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images(2, *shape), training=True))
    assert np.isfinite(tape.gradient(loss, layer.layer.kernel)).all()
    np.testing.assert_array_equal(layer.normalized_kernel(), 0)


# The gradient, in float64, with u and v of the pass held fixed.


def vectors(layer: SpectralNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return what a pass makes of the layer's u: the next u, (outputs,), and v, (inputs,)."""
    m = matrix(layer.layer, layer.layer.kernel)
    v = m @ layer.u.numpy()
    v /= np.linalg.norm(v)
    u = v @ m
    return u / np.linalg.norm(u), v


def loss_of(y):
    return tf.reduce_mean(tf.reduce_sum(tf.sin(3.0 * y), axis=range(1, y.shape.rank)))


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_is_that_of_finite_differences(name):
    """Of the layer with W / (uᵀ W v), ten of its weights, to 1e-6: the step is 1e-5, its square 1e-10."""
    layer, shape = normalised(name, dtype="float64")
    layer.u.assign(np.random.default_rng(2).normal(0, 0.3, layer.u.shape))  # anything: it need not be converged
    x, (u, v), plain = images(3, *shape, dtype="float64"), vectors(layer), layer.layer
    with tf.GradientTape() as tape:
        loss = loss_of(layer(x, training=True))
    gradient = tape.gradient(loss, plain.kernel).numpy()

    kernel, random, found = plain.kernel.numpy(), np.random.default_rng(3), []
    for _ in range(10):
        position, ends = tuple(random.integers(kernel.shape)), []
        for change in (1e-5, -1e-5):
            moved = kernel.copy()
            moved[position] += change
            plain.kernel.assign(moved / (v @ matrix(plain, moved) @ u))
            ends.append(float(loss_of(plain(x))))
        found.append(((ends[0] - ends[1]) / 2e-5, gradient[position]))
    np.testing.assert_allclose(*np.transpose(found), atol=1e-6)
    assert np.abs(found).max() > 1e-2


def test_the_gradient_is_the_paper_s_formula():
    """(E[δ hᵀ] - λ u vᵀ) / σ with λ = E[δᵀ W h / σ]: Miyato et al. 2018, equation 12, W as (outputs, inputs)."""
    layer, shape = normalised("dense", dtype="float64", use_bias=False)
    layer.u.assign(np.random.default_rng(2).normal(0, 0.3, layer.u.shape))
    h, (u, v) = images(5, *shape, dtype="float64"), vectors(layer)
    w = layer.layer.kernel.numpy().T
    sigma = u @ w @ v
    with tf.GradientTape() as tape:
        loss = loss_of(layer(h, training=True))

    outputs = h.numpy() @ w.T / sigma
    delta = 3 * np.cos(3 * outputs)  # of sin(3 y), image by image
    factor = np.mean(np.sum(delta * outputs, 1))
    expected = (delta.T @ h.numpy() / len(h) - factor * np.outer(u, v)) / sigma
    np.testing.assert_allclose(tape.gradient(loss, layer.layer.kernel).numpy().T, expected, atol=1e-12)


# In networks.


def test_other_layers_are_refused():
    for wrong in (layers.Flatten(), layers.Embedding(3, 4), layers.BatchNormalization(), layers.DepthwiseConv2D(3)):
        with pytest.raises(UsageError, match=r"^spectral normalisation is of Dense, Conv or ConvTranspose, got <"):
            SpectralNormalization(wrong)
    with pytest.raises(UsageError, match=r"has an activity_regularizer; put it into a layer of its own$"):
        SpectralNormalization(layers.Dense(3, activity_regularizer="l2"))


def test_a_regulariser_of_the_kernel_counts_once():
    layer, shape = normalised("dense", kernel_regularizer="l2")
    layer(images(2, *shape), training=True)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.01 * np.sum(np.square(layer.layer.kernel)), rtol=1e-5)


def discriminator(dtype: str = "float32") -> keras.Model:
    parts = [layers.Conv2D(4, 5, strides=2, padding="same", dtype=dtype), layers.Dense(1, dtype=dtype)]
    first, last = map(SpectralNormalization, parts)
    network = [keras.Input((28, 28, 1)), first, layers.LeakyReLU(0.2), layers.Flatten(), last]
    return keras.Sequential(network, name="discriminator")


def generator() -> keras.Model:
    hidden = SpectralNormalization(layers.Conv2DTranspose(4, 4, strides=2, padding="same"))
    image = layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh")
    return keras.Sequential([keras.Input((8,)), layers.Dense(98), layers.Reshape((7, 7, 2)), hidden, image])


def compiled() -> gan.GAN:
    keras.utils.set_random_seed(0)
    model = gan.GAN(generator(), discriminator())
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), loss="hinge")
    return model


def us(model: keras.Model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.non_trainable_variables if weight.path.endswith("/u")]


def test_a_copy_computes_the_same():
    network = discriminator()
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    x = images(3, 28, 28, 1)
    np.testing.assert_array_equal(network(x), copy(x))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_sigma_is_in_float32_where_the_layer_is_not(policy):
    network = discriminator(policy)
    plain = discriminator()
    plain.set_weights(network.get_weights())
    for half, full in zip(network.layers[::3], plain.layers[::3], strict=True):
        assert half.u.dtype == half.normalized_kernel().dtype == "float32"
        np.testing.assert_array_equal(half.normalized_kernel(), full.normalized_kernel())
    x = images(3, 28, 28, 1)
    found = network(x, training=True)
    assert found.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(tf.cast(found, tf.float32), plain(x, training=True), rtol=0.05, atol=0.02)
    for half, full in zip(us(network), us(plain), strict=True):
        np.testing.assert_array_equal(half, full)


def test_a_discriminator_of_dense_layers_is_1_lipschitz():
    """Whatever the images: no two logits are further apart than the two images. Without it, these are 5 times."""
    steepest = []
    for wrap in (SpectralNormalization, lambda layer: layer):
        keras.utils.set_random_seed(0)
        dense = [layers.Dense(units, kernel_initializer="he_normal") for units in (64, 64, 1)]
        hidden = [part for layer in dense for part in (wrap(layer), layers.LeakyReLU(0.2))][:-1]
        network = keras.Sequential([keras.Input((20,)), *hidden])
        x = images(500, 20)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = network(x)
        steepest.append(np.linalg.norm(tape.gradient(logits, x), axis=1).max())
    assert steepest[0] <= 1.01
    assert steepest[1] > 1.5


@pytest.mark.parametrize("kind", ["keras", "weights.h5"])
def test_a_saved_gan_takes_the_same_next_step(kind, tmp_path):
    model, batch = compiled(), images(8, 28, 28, 1)
    model.train_on_batch(batch)
    if kind == "keras":
        model.save(tmp_path / "a.keras")
        other = keras.saving.load_model(tmp_path / "a.keras")
    else:
        model.save_weights(tmp_path / "a.weights.h5")
        other = compiled()
        other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model.train_on_batch(batch), other.train_on_batch(batch))
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_evaluation_changes_nothing_and_a_step_does():
    model, batch = compiled(), images(8, 28, 28, 1)
    before = us(model)
    assert len(before) == 2 + 2 * 1  # of the discriminator; of the generator and its average
    model.test_on_batch(batch)
    for one, two in zip(before, us(model), strict=True):
        np.testing.assert_array_equal(one, two)
    model.train_on_batch(batch)
    assert all((one != two).any() for one, two in zip(before, us(model), strict=True) if len(one) > 1)


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one_and_keep_one_u():
    ends = []
    for kind in ("one", "mirrored"):
        chosen = devices.strategy(kind)
        with chosen.scope():
            keras.utils.set_random_seed(0)
            model = gan.GAN(generator(), discriminator())
            model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05), loss="hinge")
        served = tf.data.Dataset.from_tensor_slices(images(16, 28, 28, 1)).repeat().batch(16, drop_remainder=True)
        model.fit(devices.distribute(served, chosen), steps_per_epoch=3, verbose=0)
        ends.append([*model.get_weights(), *us(model)])
        if kind == "mirrored":
            for layer in (model.discriminator.layers[0], model.discriminator.layers[-1]):
                first, second = (part.numpy() for part in chosen.experimental_local_results(layer.u.value))
                np.testing.assert_array_equal(first, second)
    for one, two in zip(*ends, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)

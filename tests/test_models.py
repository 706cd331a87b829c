"""The networks: sizes to the last parameter, ranges, arguments, saving, precision."""

import functools
import os
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from gan_tf import models, sizes

GENERATORS = (models.dcgan_generator, models.mlp_generator)
DISCRIMINATORS = (models.dcgan_discriminator, models.mlp_discriminator)


def noise(count: int = 8, latent_dim: int = 100) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, latent_dim), np.float32)


def images(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 28, 28, 1)).astype(np.float32)


def inputs_of(model: keras.Model) -> np.ndarray:
    return noise(latent_dim=model.input_shape[1]) if model.name == "generator" else images()


def layers_of(model: keras.Model, *kinds: type) -> list[layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kinds)]


# Sizes, layer by layer. The parameters are inputs x outputs (x 5 x 5 in a convolution), plus biases where there are
# some, and four numbers a channel for batch normalisation.

DCGAN_GENERATOR = [
    ("Dense", (12544,), 100 * 12544),
    ("BatchNormalization", (12544,), 4 * 12544),
    ("LeakyReLU", (12544,), 0),
    ("Reshape", (7, 7, 256), 0),
    ("Conv2DTranspose", (7, 7, 128), 25 * 256 * 128),
    ("BatchNormalization", (7, 7, 128), 4 * 128),
    ("LeakyReLU", (7, 7, 128), 0),
    ("Conv2DTranspose", (14, 14, 64), 25 * 128 * 64),
    ("BatchNormalization", (14, 14, 64), 4 * 64),
    ("LeakyReLU", (14, 14, 64), 0),
    ("Conv2DTranspose", (28, 28, 1), 25 * 64),
    ("Activation", (28, 28, 1), 0),
]
DCGAN_DISCRIMINATOR = [
    ("Conv2D", (14, 14, 64), 25 * 64 + 64),
    ("LeakyReLU", (14, 14, 64), 0),
    ("Dropout", (14, 14, 64), 0),
    ("Conv2D", (7, 7, 128), 25 * 64 * 128 + 128),
    ("LeakyReLU", (7, 7, 128), 0),
    ("Dropout", (7, 7, 128), 0),
    ("Flatten", (6272,), 0),
    ("Dense", (1,), 6272 + 1),
]


@pytest.mark.parametrize(
    ("build", "expected", "total"),
    [
        (models.dcgan_generator, DCGAN_GENERATOR, 2_330_944),
        (models.dcgan_discriminator, DCGAN_DISCRIMINATOR, 212_865),
    ],
)
def test_the_dcgan_is_that_of_the_tutorial(build, expected, total):
    model = build()
    found = [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in model.layers]
    assert found == expected
    assert model.count_params() == sum(parameters for _, _, parameters in expected) == total


def test_the_convolutions_are_5x5():
    generator, discriminator = models.dcgan_generator(), models.dcgan_discriminator()
    convolutions = layers_of(generator, layers.Conv2DTranspose) + layers_of(discriminator, layers.Conv2D)
    assert [layer.strides for layer in convolutions] == [(1, 1), (2, 2), (2, 2), (2, 2), (2, 2)]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}
    assert {layer.padding for layer in convolutions} == {"same"}


def test_no_bias_stands_before_batch_normalisation():
    """Batch normalisation subtracts the mean, and with it any bias."""
    learned = layers_of(models.dcgan_generator(), layers.Dense, layers.Conv2DTranspose)
    assert [layer.use_bias for layer in learned] == [False] * 4


def test_the_mlp_is_that_of_the_older_tutorials():
    generator, discriminator = models.mlp_generator(), models.mlp_discriminator()
    assert [layer.units for layer in layers_of(generator, layers.Dense)] == [128, 256, 512, 1024, 784]
    assert [layer.units for layer in layers_of(discriminator, layers.Dense)] == [1024, 512, 256, 1]
    assert len(layers_of(generator, layers.BatchNormalization)) == 4
    assert [layer.rate for layer in layers_of(discriminator, layers.Dropout)] == [0.3] * 3
    sizes = [100, 128, 256, 512, 1024, 784]
    weights = sum(before * after + after for before, after in pairwise(sizes))
    assert generator.count_params() == weights + 4 * (128 + 256 + 512 + 1024)
    sizes = [784, 1024, 512, 256, 1]
    assert discriminator.count_params() == sum(before * after + after for before, after in pairwise(sizes))


@pytest.mark.parametrize("build", GENERATORS + DISCRIMINATORS)
def test_the_slope_of_leaky_relu(build):
    expected = 0.3 if build.__name__.startswith("dcgan") else 0.2
    slopes = [layer.negative_slope for layer in layers_of(build(), layers.LeakyReLU)]
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)  # stored as float32
    assert len(slopes) >= 2


@pytest.mark.parametrize("build", [models.dcgan_generator, models.dcgan_discriminator])
def test_a_slope_of_one_s_own(build):
    slopes = [layer.negative_slope for layer in layers_of(build(slope=0.125), layers.LeakyReLU)]
    assert slopes == [0.125] * len(slopes)
    with pytest.raises(ValueError, match=r"slope must be in \[0, 1\), got -0.1"):
        build(slope=-0.1)


# What goes in and comes out.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("build", GENERATORS)
def test_generators_make_images_in_the_range_of_the_data(build, training):
    """Noise 1,000 times too large drives tanh to both ends, and not beyond."""
    generator = build()
    for z in (noise(), 1000 * noise()):
        made = generator(z, training=training).numpy()
        assert made.shape == (8, 28, 28, 1)
        assert made.dtype == np.float32
        assert np.abs(made).max() <= 1
    if not training:  # in training, batch normalisation takes the factor out again
        assert made.min() < -0.99
        assert made.max() > 0.99


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_discriminators_return_logits(build):
    """Without biases and sigmoid, 1,000 times the image gives 1,000 times the logit, to 100 roundings of float32."""
    discriminator = build()
    logits = discriminator(images(), training=False).numpy()
    assert logits.shape == (8, 1)
    assert logits.dtype == np.float32
    large = discriminator(1000 * images(), training=False).numpy()
    np.testing.assert_allclose(large, 1000 * logits, rtol=0, atol=100 * 2**-24 * np.abs(large).max())
    assert np.abs(large).max() > 10
    assert discriminator.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
def test_every_discriminator_reads_every_generator(generator, discriminator):
    assert discriminator()(generator()(noise(), training=True), training=True).shape == (8, 1)


def test_each_image_is_made_by_itself_in_inference():
    """With `training=False` no statistics of the batch enter. The tolerance is for another order of summation."""
    for build in GENERATORS:
        generator = build()
        together = generator(noise(), training=False)
        alone = generator(noise()[:1], training=False)
        np.testing.assert_allclose(alone[0], together[0], rtol=0, atol=1e-5)


# Arguments.


@pytest.mark.parametrize(("latent_dim", "widths"), [(1, (1, 1, 1)), (2, (3, 32, 8)), (64, (8, 4, 2)), (7, (5, 6, 7))])
def test_latent_dim_and_widths_of_the_dcgan(latent_dim, widths):
    generator, (a, b, c) = models.dcgan_generator(latent_dim, widths), widths
    dense = 49 * a
    expected = latent_dim * dense + 4 * dense + 25 * (a * b + b * c + c) + 4 * (b + c)
    assert generator.count_params() == expected
    assert generator(noise(3, latent_dim)).shape == (3, 28, 28, 1)
    discriminator = models.dcgan_discriminator((a, b))
    assert discriminator.count_params() == 26 * a + (25 * a + 1) * b + 49 * b + 1


def test_further_convolutions_and_other_kernels_of_the_dcgan():
    generator = models.dcgan_generator(widths=(32, 16, 8), first_kernel=3)
    kernels = [layer.kernel.shape for layer in layers_of(generator, layers.Conv2DTranspose)]
    assert kernels == [(3, 3, 16, 32), (5, 5, 8, 16), (5, 5, 1, 8)]
    discriminator = models.dcgan_discriminator((4, 6, 8), dropout=0.5, input_noise=0.2)
    kernels = [layer.kernel.shape for layer in layers_of(discriminator, layers.Conv2D)]
    assert kernels == [(5, 5, 1, 4), (5, 5, 4, 6), (3, 3, 6, 8)]
    assert [layer.output.shape[1] for layer in layers_of(discriminator, layers.Conv2D)] == [14, 7, 4]
    assert len(layers_of(discriminator, layers.Dropout)) == 3
    assert discriminator.layers[0].stddev == 0.2


def test_input_noise_is_for_training_only():
    discriminator, real = models.dcgan_discriminator((8, 16), dropout=0.0, input_noise=0.5), images()
    calm = [discriminator(real, training=False).numpy() for _ in range(2)]
    noisy = [discriminator(real, training=True).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    assert (noisy[0] != noisy[1]).all()


def test_the_minibatch_s_deviation_is_one_more_channel():
    real = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float32)
    seen = models.MinibatchStddev()(real).numpy()
    np.testing.assert_array_equal(seen[..., :3], real)
    np.testing.assert_allclose(seen[..., 3], real.std(axis=0).mean(), rtol=1e-5)
    assert models.MinibatchStddev()(np.repeat(real[:1], 6, axis=0)).numpy()[..., 3].max() < 2e-4  # all alike
    discriminator = models.dcgan_discriminator((4, 6, 8), minibatch_stddev=True)
    assert discriminator.layers[-1].kernel.shape == (4 * 4 * (8 + 1), 1)


def test_a_discriminator_with_the_minibatch_s_deviation_survives_its_file(tmp_path):
    discriminator = models.dcgan_discriminator((4, 6), minibatch_stddev=True)
    discriminator.save(tmp_path / "d.keras")
    again = keras.saving.load_model(tmp_path / "d.keras", safe_mode=True)
    np.testing.assert_array_equal(again(images(), training=False), discriminator(images(), training=False))


@pytest.mark.parametrize("bad", [-0.1, 1.0, float("nan"), float("inf")])
def test_input_noise_must_be_below_1(bad):
    with pytest.raises(ValueError, match=r"input_noise must be in \[0, 1\), got"):
        models.dcgan_discriminator(input_noise=bad)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "64"], ids=repr)
def test_every_width_of_the_dcgan_must_be_a_positive_integer(bad):
    with pytest.raises(ValueError, match=rf"widths\[1\] must be a positive integer, got {bad!r}"):
        models.dcgan_discriminator((8, bad))


@pytest.mark.parametrize("widths", [(), (3,), (5, 4), [6, 2]])
def test_widths_of_the_mlp(widths):
    generator = models.mlp_generator(latent_dim=4, widths=widths)
    discriminator = models.mlp_discriminator(widths, dropout=0.5)
    assert [layer.units for layer in layers_of(generator, layers.Dense)] == [*widths, 784]
    assert [layer.units for layer in layers_of(discriminator, layers.Dense)] == [*widths, 1]
    assert generator(noise(3, 4)).shape == (3, 28, 28, 1)
    assert discriminator(images(3)).shape == (3, 1)


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_dropout_changes_logits_in_training_only(build):
    discriminator = build(dropout=0.5)
    assert {layer.rate for layer in layers_of(discriminator, layers.Dropout)} == {0.5}
    quiet = [discriminator(images(), training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert np.abs(discriminator(images(), training=True) - quiet[0]).min() > 0


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_without_dropout_there_is_no_layer_of_it(build):
    discriminator = build(dropout=0.0)
    assert layers_of(discriminator, layers.Dropout) == []
    np.testing.assert_array_equal(discriminator(images(), training=True), discriminator(images(), training=False))


@pytest.mark.parametrize("bad", [0, -1, 1.5, 64.0, True, "64", None, float("nan")], ids=repr)
@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (models.dcgan_generator, "latent_dim"),
        (models.dcgan_generator, "first_kernel"),
        (models.dcgan_generator, "kernel"),
        (models.dcgan_discriminator, "kernel"),
        (models.mlp_generator, "latent_dim"),
    ],
)
def test_a_size_must_be_a_positive_integer(build, argument, bad):
    with pytest.raises(ValueError, match=rf"{argument} must be a positive integer, got {bad!r}"):
        build(**{argument: bad})


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "64"], ids=repr)
@pytest.mark.parametrize("build", [models.mlp_generator, models.mlp_discriminator])
def test_every_width_must_be_a_positive_integer(build, bad):
    with pytest.raises(ValueError, match=rf"widths\[1\] must be a positive integer, got {bad!r}"):
        build(widths=(8, bad, 8))


@pytest.mark.parametrize("bad", [64, None, "64", 1.5], ids=repr)
@pytest.mark.parametrize("build", GENERATORS + DISCRIMINATORS)
def test_widths_are_a_tuple(build, bad):
    with pytest.raises(ValueError, match=f"widths must be a tuple of positive integers, got {bad!r}"):
        build(widths=bad)


@pytest.mark.parametrize(("size", "widths"), [(28, (8, 8, 8, 8)), (64, (8,) * 6)])
def test_more_widths_than_a_generator_has_layers_are_refused(size, widths):
    with pytest.raises(ValueError, match=f"widths must be 1 to {3 if size == 28 else 5} numbers for images of {size} "):
        models.dcgan_generator(widths=widths, image_shape=(size, size, 1))


# Other images.


@pytest.mark.parametrize("size", sizes.SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_both_networks_fit_images_of_each_size(size, channels):
    shape = (size, size, channels)
    generator, discriminator = (
        models.dcgan_generator(5, (8, 4, 2), image_shape=shape),
        models.dcgan_discriminator((2, 4), image_shape=shape),
    )
    made = generator(noise(3, 5), training=True)
    assert made.shape == (3, *shape)
    assert discriminator(made).shape == (3, 1)
    first, *_, last = (layer.output.shape[1] for layer in generator.layers if len(layer.output.shape) == 4)
    smallest = layers_of(discriminator, layers.Conv2D)[-1].output.shape[1]
    assert 4 <= first < 8
    assert last == size
    assert 4 <= smallest < 8
    doubling = [layer for layer in layers_of(generator, layers.Conv2DTranspose) if layer.strides == (2, 2)]
    assert first << len(doubling) == size


def test_the_missing_widths_are_the_outermost():
    generator = models.dcgan_generator(5, (16, 8, 4), image_shape=(64, 64, 3))
    assert [layer.filters for layer in layers_of(generator, layers.Conv2DTranspose)] == [16, 16, 8, 4, 3]
    discriminator = models.dcgan_discriminator((2, 4), image_shape=(64, 64, 3))
    assert [layer.filters for layer in layers_of(discriminator, layers.Conv2D)] == [2, 4, 4, 4]
    assert models.mlp_generator(4, (8,), (20, 24, 3))(noise(2, 4)).shape == (2, 20, 24, 3)


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((50, 50, 3), r"size must be one of 16, .+ \(nearest: 48 and 56\), got 50"),
        ((28, 32, 1), r"convolutions make square images here, got image_shape \(28, 32, 1\)"),
        ((28, 28, 0), "channels must be a positive integer, got 0"),
    ],
)
def test_shapes_that_convolutions_cannot_make_are_refused(shape, line):
    for build in (models.dcgan_generator, models.dcgan_discriminator):
        with pytest.raises(ValueError, match=line):
            build(image_shape=shape)


@pytest.mark.parametrize("bad", [1.0, 1, 2, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_dropout_must_be_below_1(build, bad):
    with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\), got {bad}"):
        build(dropout=bad)


# Seeds, files, precision.


@pytest.mark.parametrize("build", GENERATORS + DISCRIMINATORS)
def test_the_seed_decides_the_initial_weights(build):
    def weights(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return np.concatenate([weight.ravel() for weight in build().get_weights()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).mean() > 0.9  # biases and batch normalisation begin with constants


@pytest.mark.parametrize("build", GENERATORS + DISCRIMINATORS)
def test_a_model_survives_its_file(build, tmp_path):
    """Loaded in safe mode, which runs no code from the file; the statistics of batch normalisation are in it too."""
    model = build()
    model(inputs_of(model), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = model(inputs_of(model), training=False)
    np.testing.assert_array_equal(loaded(inputs_of(model), training=False), expected)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def mixed_precision(request):
    """Set a policy of mixed precision for one test."""
    if request.param == "mixed_bfloat16" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("TensorFlow 2.21 crashes in bfloat16 when oneDNN is forbidden the instructions that the CPU has")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param.removeprefix("mixed_")
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("build", GENERATORS + DISCRIMINATORS)
def test_mixed_precision_ends_in_float32(build, mixed_precision):
    """Weights and results are float32; what lies between is computed in 16 bits."""
    model = build()
    assert model(inputs_of(model), training=True).dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {mixed_precision, "float32"}
    assert model.layers[0].compute_dtype == mixed_precision


# Normalisation of discriminators.

NORMALISED = [
    pytest.param(functools.partial(build, normalization=kind), id=f"{build.__name__}, {kind}")
    for build in DISCRIMINATORS
    for kind in models.NORMALIZATIONS
]


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_where_normalisation_stands(build):
    """After all layers with weights but the first and the logit, and before the activation; or around each of them."""
    weighted = ("Conv2D", "Dense")
    plain = [type(layer).__name__ for layer in build(dropout=0.0).layers]
    for kind, name in (("batch", "BatchNormalization"), ("layer", "LayerNormalization")):
        found = [type(layer).__name__ for layer in build(dropout=0.0, normalization=kind).layers]
        assert [one for one in found if one != name] == plain
        places = [i for i, one in enumerate(found) if one == name]
        assert all(found[i - 1] in weighted and found[i + 1] == "LeakyReLU" for i in places)
        learned = [i for i, one in enumerate(found) if one in weighted]
        assert [i - 1 for i in places] == learned[1:-1]
    around = build(dropout=0.0, normalization="spectral").layers
    assert [type(getattr(layer, "layer", layer)).__name__ for layer in around] == plain
    assert all(hasattr(layer, "layer") == (one in weighted) for layer, one in zip(around, plain, strict=True))


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_no_bias_stands_before_a_discriminator_s_batch_normalisation(build):
    learned = layers_of(build(normalization="batch"), layers.Dense, layers.Conv2D)
    assert [layer.use_bias for layer in learned] == [True, *[False] * (len(learned) - 2), True]


@pytest.mark.parametrize("build", NORMALISED)
def test_a_normalised_discriminator_survives_its_file(build, tmp_path):
    test_a_model_survives_its_file(build, tmp_path)


@pytest.mark.parametrize("build", NORMALISED)
def test_a_normalised_discriminator_in_16_bits_ends_in_float32(build, mixed_precision):
    model = build()
    logits = model(inputs_of(model), training=True)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    assert {weight.dtype for weight in model.weights} == {"float32"}
    computed = {layer.compute_dtype for layer in model._flatten_layers(include_self=False)}
    assert computed == {mixed_precision, "float32"}


@pytest.mark.parametrize("build", DISCRIMINATORS)
def test_batch_normalisation_alone_makes_a_logit_depend_on_the_batch(build):
    """So that under it a penalty on the gradient is no longer of each image by itself."""
    images = np.random.default_rng(0).uniform(-1, 1, (6, 28, 28, 1)).astype(np.float32)
    for kind in models.NORMALIZATIONS:
        model = build(dropout=0.0, normalization=kind)
        model(images, training=True)  # the power iterations go on: one more changes nothing that can be seen here
        moved = np.abs(model(images, training=True)[:2] - model(images[:2], training=True)).max()
        assert (moved > 1e-2) == (kind == "batch"), kind


def test_layer_normalisation_is_over_all_of_an_image():
    """With a gain and an offset a channel, as in the code of Gulrajani et al. 2017."""
    model = models.dcgan_discriminator((2, 4), normalization="layer")
    (norm,) = layers_of(model, models.LayerNormalization)
    assert norm.count_params() == 2 * 4
    x = np.random.default_rng(0).normal(3, 2, (5, 7, 7, 4)).astype(np.float32) * [1, 1, 1, 10]
    found = norm(x).numpy()
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std((1, 2, 3)), 1, atol=1e-3)
    assert found[..., 3].mean() > 1  # and not over each channel


@pytest.mark.parametrize("build", DISCRIMINATORS)
@pytest.mark.parametrize("bad", ["group", "Batch", None, True, 1])
def test_an_unknown_normalisation_is_refused(build, bad):
    with pytest.raises(ValueError, match=r"^normalization must be one of none, batch, layer, spectral, got "):
        build(normalization=bad)

"""Differentiable augmentation against NumPy, its draws' distributions, and what both players see of it."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

from gan_tf import augment, conditional, data, diagnostics, gan, losses, models, replicas
from gan_tf.runs import devices, recipe

ALL = [augment.translation, augment.cutout, augment.colour, augment.diffaugment]
SEED = [1, 2]


def noise(*shape: int) -> np.ndarray:
    """Return images whose pixels are all different, and none 0."""
    return np.random.default_rng(0).uniform(0.01, 1, shape).astype(np.float32) * np.random.default_rng(1).choice(
        [-1, 1], shape
    ).astype(np.float32)


# Each function against NumPy: what was drawn is read off the result.


def moved(image: np.ndarray, down: int, across: int) -> np.ndarray:
    """Return an image (h, w, c) that was moved, its edge repeated where something comes in."""
    height, width, _ = image.shape
    wide = np.pad(image, ((height, height), (width, width), (0, 0)), mode="edge")
    return wide[height - down : 2 * height - down, width - across : 2 * width - across]


def shift(image: np.ndarray, result: np.ndarray, most: tuple[int, int]) -> tuple[int, int]:
    """Return the only shift, of those of at most so many pixels, that makes the result of the image."""
    every = [(down, across) for down in range(-most[0], most[0] + 1) for across in range(-most[1], most[1] + 1)]
    (found,) = [by for by in every if np.array_equal(moved(image, *by), result)]
    return found


@pytest.mark.parametrize(
    ("size", "share", "most"),
    [
        ((28, 28, 1), 0.125, (3, 3)),
        ((8, 20, 3), 0.25, (2, 5)),
        ((9, 8, 1), 0.125, (1, 1)),
        ((128, 128, 3), 1 / 64, (2, 2)),
    ],
)
def test_translation_moves_each_image_by_whole_pixels(size, share, most):
    images = noise(12, *size)
    results = augment.translation(images, SEED, share).numpy()
    assert results.dtype == np.float32
    found = {shift(image, result, most) for image, result in zip(images, results, strict=True)}
    assert len(found) > 3


def test_every_shift_is_as_likely_as_another():
    """Of 4,000 images, by the chi-squared test; down and across have nothing to do with each other."""
    images = np.tile(noise(1, 8, 16, 1), (4000, 1, 1, 1))
    results = augment.translation(images, SEED, 0.125).numpy()
    shifts = {by: moved(images[0], *by) for by in ((d, a) for d in (-1, 0, 1) for a in (-2, -1, 0, 1, 2))}
    counts = [np.sum(np.all(results == result, axis=(1, 2, 3))) for result in shifts.values()]
    assert sum(counts) == 4000
    assert stats.chisquare(counts).pvalue > 0.01


def hole(result: np.ndarray) -> tuple[int, int, int, int]:
    """Return where the zeros of a result stand: first and last row, first and last column; they fill all between."""
    zeros = np.all(result == 0, axis=-1)
    (rows, columns) = (np.flatnonzero(zeros.any(axis=axis)) for axis in (1, 0))
    found = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    assert zeros.sum() == (found[1] - found[0] + 1) * (found[3] - found[2] + 1)
    return found


@pytest.mark.parametrize(
    ("size", "share", "hidden"),
    [
        ((28, 28, 1), 0.5, (14, 14)),
        ((9, 21, 3), 0.25, (2, 5)),
        ((11, 8, 1), 0.3, (3, 2)),
        ((128, 128, 3), 0.5, (64, 64)),
    ],
)
def test_cutout_greys_one_rectangle(size, share, hidden):
    images = noise(20, *size)
    results = augment.cutout(images, SEED, share).numpy()
    for image, result in zip(images, results, strict=True):
        top, bottom, left, right = hole(result)
        expected = image.copy()
        expected[top : bottom + 1, left : right + 1] = 0
        np.testing.assert_array_equal(result, expected)
        for first, last, side, most in ((top, bottom, size[0], hidden[0]), (left, right, size[1], hidden[1])):
            at_an_edge = first == 0 or last == side - 1
            assert most // 2 <= last - first + 1 <= most
            assert last - first + 1 == most or at_an_edge


@pytest.mark.parametrize("share", [0.5, 0.4])
def test_every_place_of_the_hole_is_as_likely_as_another(share):
    """Its middle is uniform over the image: of 4,000 images 8 pixels wide, 9 places of 4 pixels, or 8 of 3."""
    results = augment.cutout(np.ones((4000, 8, 8, 1), np.float32), SEED, share).numpy()
    places, counts = np.unique([hole(result) for result in results], axis=0, return_counts=True)
    assert len(places) == len(counts) == (81 if share == 0.5 else 64)
    assert stats.chisquare(counts).pvalue > 0.01


def colour_of(image: np.ndarray, result: np.ndarray) -> tuple[float, float, float]:
    """Return brightness, saturation times contrast, and contrast, by which one float64 image became the other."""
    brightness = result.mean() - image.mean()
    grey, new = image.mean(axis=-1), result.mean(axis=-1)
    if image.shape[-1] == 3:
        both = np.vdot(image - grey[..., None], result - new[..., None]) / np.sum((image - grey[..., None]) ** 2)
    else:
        both = np.nan
    contrast = np.vdot(grey - grey.mean(), new - new.mean()) / np.sum((grey - grey.mean()) ** 2)
    return brightness, both, contrast


def coloured(image: np.ndarray, brightness: float, both: float, contrast: float) -> np.ndarray:
    grey = image.mean(axis=-1, keepdims=True)
    colours = both * (image - grey) if image.shape[-1] == 3 else 0.0
    return image.mean() + brightness + contrast * (grey - image.mean()) + colours


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_is_the_papers(channels):
    """Each result is that of three draws, which are uniform in [-0.5, 0.5], [0, 2] and [0.5, 1.5], and independent."""
    images = noise(2000, 8, 8, channels).astype(np.float64)
    results = augment.colour(images.astype(np.float32), SEED).numpy().astype(np.float64)
    draws = []
    for image, result in zip(images, results, strict=True):
        brightness, both, contrast = colour_of(image, result)
        np.testing.assert_allclose(result, coloured(image, brightness, both, contrast), atol=5e-6)
        draws.append((brightness + 0.5, both / contrast / 2, contrast - 0.5))

    draws = np.array(draws).T if channels == 3 else np.array(draws).T[[0, 2]]
    assert -1e-5 < draws.min() < 0.01
    assert 0.99 < draws.max() < 1 + 1e-5
    for draw in draws:
        assert stats.kstest(draw, "uniform").pvalue > 0.01
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 0.06  # 2.7 standard errors of 2,000 draws


@pytest.mark.parametrize(("channels", "bound"), [(1, 2.5), (3, 4.5)])
def test_colours_stay_within_the_documented_range(channels, bound):
    """One bright pixel, of one channel if it has three, on black, and the inverse: the worst that there is."""
    images = -np.ones((4000, 16, 16, channels), np.float32)
    images[:, 3, 3, 0] = 1
    for worst in (images, -images):
        results = augment.colour(worst, SEED).numpy()
        assert 0.85 * bound < np.abs(results).max() < bound


# What all of them have in common.


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradient_is_that_of_a_linear_map(function, channels):
    """With the draws given, f(x + d) - f(x) is linear in d: its inner product with w is that of d with the gradient."""
    rng = np.random.default_rng(0)
    x, d, w = (tf.constant(rng.uniform(-1, 1, (6, 12, 16, channels)), tf.float32) for _ in range(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(w * function(x, SEED))
    gradient = tape.gradient(value, x)
    assert np.all(np.abs(gradient).sum(axis=(1, 2, 3)) > 0)  # for each image
    difference = tf.reduce_sum(w * (function(x + d, SEED) - function(x, SEED)))
    np.testing.assert_allclose(tf.reduce_sum(gradient * d), difference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("function", [augment.translation, augment.cutout])
def test_the_gradient_counts_how_often_a_pixel_is_shown(function):
    """Of the sum of what comes out: 0 for each that was moved or cut out, more than 1 at an edge that is repeated."""
    images = tf.constant(np.arange(1, 10 * 16 * 16 * 3 + 1, dtype=np.float32).reshape(10, 16, 16, 3))
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = function(images, SEED)
        value = tf.reduce_sum(result)
    gradient = tape.gradient(value, images).numpy()
    shown = np.bincount(result.numpy().astype(int).ravel(), minlength=images.shape.num_elements() + 1)
    np.testing.assert_array_equal(gradient.ravel(), shown[1:])
    assert (gradient == 0).any()
    assert gradient.sum() == np.count_nonzero(result)


@pytest.mark.parametrize("function", ALL)
def test_a_penalty_can_be_differentiated_through_it(function):
    """R1 takes the gradient of a gradient."""
    images, kernel = tf.constant(noise(4, 8, 8, 3)), tf.Variable(noise(8, 8, 3))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            logits = tf.reduce_sum(kernel * function(images, SEED), axis=[1, 2, 3])
        penalty = tf.reduce_sum(inner.gradient(logits, images) ** 2)
    assert float(tf.linalg.norm(outer.gradient(penalty, kernel))) > 0


@pytest.mark.parametrize("function", ALL)
def test_it_is_a_pure_function_of_images_and_seed(function):
    """In a graph that does not know the batch's size, too; the other seed's draws are others."""
    images = tf.constant(noise(5, 10, 14, 3))
    spec = [tf.TensorSpec((None, 10, 14, 3)), tf.TensorSpec((2,), tf.int64)]
    graph = tf.function(function, input_signature=spec)
    expected = function(images, SEED)
    assert expected.shape == images.shape
    assert graph.get_concrete_function().structured_outputs.shape[1:] == images.shape[1:]
    np.testing.assert_array_equal(function(images, SEED), expected)
    np.testing.assert_allclose(graph(images, tf.constant(SEED, tf.int64)), expected, atol=1e-6)
    assert (function(images, [1, 3]) != expected).numpy().any()


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_in_16_bits_the_draws_are_the_same(function, dtype, rounding):
    """Of images so large and bright that a sum in float16 would be infinite, at the rounding of values below 4.5."""
    images = tf.cast(tf.fill((3, 128, 128, 3), 1.0), dtype)
    result = function(images, SEED)
    assert result.dtype.name == dtype
    expected = function(tf.cast(images, tf.float32), SEED)
    np.testing.assert_allclose(tf.cast(result, tf.float32), expected, atol=4.5 * rounding)


@pytest.mark.parametrize("function", [augment.translation, augment.cutout])
def test_a_share_of_0_changes_nothing(function):
    images = noise(6, 8, 8, 1)
    np.testing.assert_array_equal(function(images, SEED, share=0.0), images)
    assert (function(images, SEED).numpy() != images).any()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: augment.translation(noise(2, 8, 8, 1), SEED, 1.0), r"in \[0, 1\), got 1.0"),
        (lambda: augment.translation(noise(2, 8, 8, 1), SEED, -0.1), r"in \[0, 1\), got -0.1"),
        (lambda: augment.cutout(noise(2, 8, 8, 1), SEED, float("nan")), r"in \[0, 1\), got nan"),
        (lambda: augment.cutout(noise(2, 7, 28, 1), SEED), "of at least 8x8, got 7x28"),
        (lambda: augment.diffaugment(noise(2, 28, 4, 1), SEED), "of at least 8x8, got 28x4"),
        (
            lambda: augment.colour(noise(28, 28, 1), SEED),
            r"images \(batch, height, width, channels\), got \(28, 28, 1\)",
        ),
        (lambda: augment.colour(np.zeros((2, 8, 8, 1), np.uint8), SEED), "as data.to_float makes, got uint8"),
        (lambda: augment.in_sequence(augment.cutout, "colour"), r"functions of \(images, seed\), got 'colour'"),
        (lambda: augment.in_sequence(layers.RandomFlip(name="flip")), r"got <RandomFlip name=flip"),
    ],
)
def test_what_cannot_be_augmented_is_refused_in_one_line(call, line):
    with pytest.raises(ValueError, match=line) as error:
        call()
    assert "\n" not in str(error.value)


# One after the other.


def test_in_turn_gives_each_function_a_seed_of_its_own():
    seen = []

    def note(images, seed):
        seen.append(tuple(np.array(seed)))
        return images + 1

    assert float(augment.in_sequence(note, note)(tf.constant(1.0), SEED)) == 3
    assert len({*seen, tuple(SEED)}) == 3


def test_diffaugment_is_the_papers_policy_in_its_order():
    """Colour comes first: what is cut out stays grey."""
    images = noise(30, 16, 16, 3)
    expected = augment.in_sequence(augment.colour, augment.translation, augment.cutout)(images, SEED)
    results = augment.diffaugment(images, SEED).numpy()
    np.testing.assert_array_equal(results, expected)
    assert all(np.count_nonzero(result == 0) >= 16 for result in results)
    differing = np.count_nonzero(results != images, axis=(1, 2, 3))
    assert differing.min() > 0.9 * 16 * 16 * 3 / 2


# What both players see.


def brightness_meter(kind=gan.GAN, **options) -> gan.GAN:
    """Build a GAN of 8x8 images whose logit is the mean of what its discriminator sees: of zeros, the brightness."""
    z = keras.Input((2,))
    generator = keras.Sequential([z, layers.Dense(64, "tanh"), layers.Reshape((8, 8, 1))])
    mean = layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 64))
    model = kind(generator, keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), mean]))
    model.compile("sgd", "sgd", augment=augment.colour, **options)
    return model


BLACK = {"images": tf.zeros((500, 8, 8, 1))}


def drawn(model: gan.GAN, seed, *role: str) -> np.ndarray:
    """Return the brightness that each of 500 images gets."""
    return model.critic(BLACK, seed)(BLACK["images"], *role).numpy()[:, 0]


def test_real_images_and_fakes_of_a_step_draw_apart_from_one_distribution():
    """Image by image, the draws have nothing to do with each other; together, nobody could say whose they are."""
    model, seeds = brightness_meter(), [gan.fold([0, step], "draws") for step in range(4)]
    found = {role: np.concatenate([drawn(model, seed, role) for seed in seeds]) for role in ("real", "fake")}
    found["penalty"] = np.concatenate([drawn(model, seed) for seed in seeds])
    for draws in found.values():
        assert stats.kstest(draws + 0.5, "uniform").pvalue > 0.01
    assert stats.ks_2samp(found["real"], found["fake"]).pvalue > 0.01
    correlations = np.corrcoef(list(found.values()))[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.06  # 2.7 standard errors of 2,000 draws


def test_a_role_draws_the_same_each_time_of_a_step():
    """A penalty that calls the critic twice sees one function of the images."""
    model = brightness_meter()
    for role in ((), ("real",), ("fake",)):
        np.testing.assert_array_equal(drawn(model, [0, 1], *role), drawn(model, [0, 1], *role))
        assert (drawn(model, [0, 1], *role) != drawn(model, [0, 2], *role)).any()


def seeds_of_steps(model: gan.GAN, batch, steps: int = 3) -> list[tuple]:
    """Return the seeds that the augmentation gets in some steps, each a tuple."""
    seen, augment_ = [], model.augment
    model.augment = lambda images, seed: seen.append(tuple(np.array(seed).tolist())) or augment_(images, seed)
    for _ in range(steps):
        model.train_step(batch)
    return seen


def pull(critic, real, fake, seed):
    return tf.square(tf.reduce_mean(critic(real)))


paired = losses.Loss(
    lambda real, fake: tf.reduce_mean(tf.nn.softplus(real - fake)), losses.cross_entropy_discriminator_loss, True
)


@pytest.mark.parametrize(
    ("options", "calls"),
    [({}, 3), ({"loss": paired}, 4), ({"penalties": [(pull, 1.0)]}, 4), ({"critic_steps": 2}, 5)],
)
def test_no_two_calls_of_a_training_draw_the_same(options, calls):
    """Real and fake for the discriminator, fake for the generator, and what else the options ask for."""
    batch = tf.constant(noise(4, 8, 8, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what cannot be saved
        seen = seeds_of_steps(brightness_meter(**options), batch)
    assert len(seen) == len(set(seen)) == 3 * calls


def test_the_draws_of_a_step_are_a_function_of_seed_and_step():
    batch = tf.constant(noise(4, 8, 8, 1))
    seen = seeds_of_steps(brightness_meter(), batch)
    model = brightness_meter()
    model.steps_taken.assign(2)
    assert seeds_of_steps(model, batch, 1) == seen[6:]


def test_an_acgan_s_real_images_and_fakes_draw_apart():
    model = acgan()
    model.compile("sgd", "sgd", augment=augment.colour)
    batch = {"images": tf.constant(noise(6, 28, 28, 1)), "labels": tf.range(6) % 3}
    seen = seeds_of_steps(model, batch)
    assert len(seen) == len(set(seen)) == 9


def test_a_look_shows_what_the_discriminator_sees():
    """Training images, fakes and held-out images each draw for themselves, and nothing changes."""
    model, seen = brightness_meter(), []
    function, before = model.augment, [w.numpy() for w in model.weights]
    model.augment = lambda images, seed: seen.append(tuple(seed.numpy())) or function(images, seed)
    batch = {"images": tf.constant(noise(16, 8, 8, 1))}
    found = diagnostics.look(model, batch, batch, SEED)
    assert len(seen) == len(set(seen)) == 3
    assert (found["real_logits"] != found["held_out_logits"]).numpy().all()
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_image_too_small_is_refused_before_a_weight_changes():
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(16, "tanh"), layers.Reshape((4, 4, 1))])
    model = gan.GAN(generator, keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(1)]))
    model.compile("sgd", "sgd", augment=augment.translation)
    before = [w.numpy() for w in model.weights]
    with pytest.raises(ValueError, match=r"^augmentation takes images of at least 8x8, got 4x4$"):
        model.fit(noise(8, 4, 4, 1), verbose=0)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


# Saved and found again.


def test_functions_in_turn_are_saved_with_the_gan(tmp_path):
    model, batch = brightness_meter(), tf.constant(noise(4, 8, 8, 1))
    model.compile("sgd", "sgd", augment=augment.in_sequence(augment.translation, augment.in_sequence(augment.cutout)))
    model.train_step(batch)
    model.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    assert again.augment.functions[0] is augment.translation
    for one in (model, again):
        one.train_step(batch)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_function_in_turn_that_no_file_can_hold_is_said_before_the_training():
    with pytest.warns(UserWarning, match="`save` will leave out how this GAN was compiled, for the augmentation"):
        brightness_meter().compile(
            "sgd", "sgd", augment=augment.in_sequence(augment.cutout, lambda images, seed: images)
        )


# Training with it.


def acgan() -> conditional.ACGAN:
    generator = conditional.conditional_generator(models.dcgan_generator(4 + conditional.LABEL_DIM, (8, 4, 2)), 3)
    return conditional.ACGAN(generator, conditional.auxiliary(models.dcgan_discriminator((2, 4)), 3))


def few() -> gan.GAN:
    return gan.GAN(models.mlp_generator(4, (8,)), models.mlp_discriminator((8,)))


def fitted(make, strategy="one", policy="float32", **options) -> tuple[dict, list[np.ndarray]]:
    """Return the losses of two epochs on digits, and the discriminator's weights after them."""
    digits, chosen = data.load("digits"), devices.strategy(strategy)
    with recipe.dtype_policy(policy), chosen.scope():
        keras.utils.set_random_seed(0)
        model = make()
        model.compile("adam", "adam", augment=augment.diffaugment, **options)
    labels = digits.y_train % 3 if model.labelled else None
    batches = devices.distribute(data.batches(digits.x_train, 32, seed=0, labels=labels, endless=True), chosen)
    history = model.fit(batches, steps_per_epoch=4, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    return history, [keras.ops.convert_to_numpy(weight) for weight in model.discriminator.weights]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (few, {"policy": "mixed_float16"}),
        (few, {"strategy": "mirrored"}),
        (acgan, {}),
    ],
)
def test_a_gan_trains_on_augmented_images(make, options):
    history, weights = fitted(make, **options)
    keras.utils.set_random_seed(0)
    before = make().discriminator.get_weights()
    assert all((old != new).any() for old, new in zip(before, weights, strict=True))
    assert len(history["loss"]) == 2


@pytest.mark.slow
def test_several_steps_for_each_call_draw_what_single_ones_do():
    alone, together = fitted(few), fitted(few, steps_per_execution=4)
    for one, other in zip(alone[1], together[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_two_replicas_draw_apart():
    chosen = devices.strategy("mirrored")
    with chosen.scope():
        model = brightness_meter()
    for role in ("real", "fake"):
        step = tf.function(lambda role=role: model.critic(BLACK, SEED)(BLACK["images"], role)[:, 0])
        one, other = (part.numpy() for part in chosen.experimental_local_results(chosen.run(step)))
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.13  # 2.9 standard errors of 500 draws
        for draws in (one, other):
            assert stats.kstest(draws + 0.5, "uniform").pvalue > 0.01
    assert replicas.replica() == (0, 1)


# A leak.

LEVEL = -0.3


def levels_of_fakes(batches: tf.data.Dataset, function) -> np.ndarray:
    """Train a GAN of images of one grey each, and return the greys of 1,000 fakes."""
    grey = layers.Dense(64, use_bias=False, trainable=False, kernel_initializer="ones")
    hidden = [layers.Dense(32, "leaky_relu") for _ in range(2)]
    parts = [layers.Dense(16, "leaky_relu"), layers.Dense(1, "tanh"), grey, layers.Reshape((8, 8, 1))]
    generator = keras.Sequential([keras.Input((4,)), *parts])
    mean = layers.GlobalAveragePooling2D()
    model = gan.GAN(
        generator, keras.Sequential([keras.Input((8, 8, 1)), mean, *hidden, layers.Dense(1)]), ema_decay=0.98
    )
    model.compile(keras.optimizers.Adam(2e-3, 0.5), keras.optimizers.Adam(4e-3, 0.5), augment=function)
    model.fit(batches, verbose=0)
    return model.ema_generator(gan.sample_latent(1000, 4, SEED)).numpy()[:, 0, 0, 0]


@pytest.mark.slow
def test_an_augmentation_of_real_images_alone_is_learned_by_the_generator():
    """All real images have one grey, -0.3. Where their brightness alone is changed, by 0.29 in the mean square, so are
    the fakes; where real and fake go through it, the fakes have the one grey (Zhao et al. 2020, section 3.1).
    """
    real = tf.data.Dataset.range(400).map(lambda step: (tf.fill((64, 8, 8, 1), LEVEL), tf.stack([step, 7])))
    leaked = levels_of_fakes(real.map(augment.colour), None)
    both = levels_of_fakes(real.map(lambda images, seed: images), augment.colour)
    assert 0.2 < leaked.std() < 0.4  # 0.30
    assert both.std() < 0.1  # 0.04
    assert abs(both.mean() - LEVEL) < 0.1

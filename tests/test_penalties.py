"""The penalties: constants by hand, a NumPy twin, gradients of gradients against finite differences, what they see."""

import keras
import kills
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small import StopIn

from gan_tf import augment, conditional, gan, models, penalties, runs
from gan_tf.runs import devices, recipe

SEED = (3, 4)
GRADIENT = (penalties.gradient_penalty, penalties.r1, penalties.r2)
ALL = (*GRADIENT, penalties.approximate_r1)
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # a hundred roundings of a number of order 1


def each(functions):
    """Let a test take each of some penalties, under its name."""
    return pytest.mark.parametrize("of", [pytest.param(function, id=function.__name__) for function in functions])


def images(count: int, *shape: int, seed: int = 0, dtype="float32") -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(dtype))


def halved(real, fake, seed):
    return (real + fake) / 2


# By hand. A linear D has the gradient w everywhere: of length 5 for w = (3, 4), so that (5 - 1)² = 16 and 5² = 25. Of
# D(x) = |x|² / 2 it is x: of lengths 1/2 and 1 at (1/2, 0) and (0, 1), so that R1 = (1/4 + 1) / 2 = 5/8.

LINEAR = {"gradient_penalty": 16, "r1": 25, "r2": 25}


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
@each(GRADIENT)
def test_of_a_linear_critic(of, rank):
    """The length is over all axes but the first, however many these are."""
    shape = (2,) + (1,) * (rank - 2)
    w = tf.reshape(tf.constant([3.0, 4.0]), shape)

    def critic(x):
        return tf.reduce_sum(w * x, axis=range(1, rank))[:, None]

    real, fake = images(6, *shape), images(6, *shape, seed=1)
    np.testing.assert_allclose(of(critic, real, fake, SEED), LINEAR[of.__name__], rtol=1e-6)


def test_of_a_quadratic_critic(monkeypatch):
    """The real images are (1/2, 0) and (0, 1), the fakes (1/2, 1) and (1, 1): half-way are (1/2, 1/2) and (1/2, 1)."""
    monkeypatch.setattr(penalties, "between", halved)
    real, fake = tf.constant([[0.5, 0], [0, 1]]), tf.constant([[0.5, 1], [1, 1]])

    def critic(x):
        return tf.reduce_sum(tf.square(x), 1, keepdims=True) / 2

    found = [float(of(critic, real, fake, SEED)) for of in GRADIENT]
    lengths = np.sqrt([1 / 2, 5 / 4])
    np.testing.assert_allclose(found, [np.mean((lengths - 1) ** 2), 5 / 8, (5 / 4 + 2) / 2], rtol=1e-6)


def test_logits_of_patches_are_summed_over_an_image():
    """D of (batch, 2, 1) gives w·x and 2 w·x: the gradient is 3 w, of length 15."""

    def critic(x):
        logit = tf.reduce_sum(tf.constant([3.0, 4.0]) * x, 1, keepdims=True)
        return tf.stack([logit, 2 * logit], axis=1)

    found = [float(of(critic, images(4, 2), images(4, 2), SEED)) for of in GRADIENT]
    np.testing.assert_allclose(found, [14**2, 15**2, 15**2], rtol=1e-6)


# The twin: D(x) = v · tanh(x W + b), whose gradient by x is W (v (1 - tanh²)), in float64 NumPy.


def network(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 1, shape) for shape in ((3, 4), (4,), (4,))]


def critic_of(weights):
    w, b, v = weights

    def critic(x):
        return tf.reduce_sum(v * tf.tanh(x @ w + b), axis=1, keepdims=True)

    return critic


def twin(of, weights, real: np.ndarray, fake: np.ndarray) -> float:
    w, b, v = weights

    def lengths(x):
        return np.linalg.norm((v * (1 - np.tanh(x @ w + b) ** 2)) @ w.T, axis=1)

    if of is penalties.gradient_penalty:
        share = tf.random.stateless_uniform((len(real), 1), SEED, dtype="float64").numpy()
        return np.mean((lengths((1 - share) * real + share * fake) - 1) ** 2)
    return np.mean(lengths(real if of is penalties.r1 else fake) ** 2)


@pytest.mark.parametrize("seed", range(3))
@each(GRADIENT)
def test_numpy_twin(of, seed):
    weights = network(seed)
    real, fake = images(7, 3, seed=seed, dtype="float64"), images(7, 3, seed=seed + 10, dtype="float64")
    found = of(critic_of(weights), real, fake, SEED)
    np.testing.assert_allclose(found, twin(of, weights, real.numpy(), fake.numpy()), rtol=1e-10)


@each(ALL)
def test_the_gradient_by_the_weights_is_that_of_finite_differences(of):
    """A gradient of a gradient, in float64: the step's square and 1e-16 / 1e-6 are near 1e-12 and 1e-10."""
    weights = [tf.Variable(weight) for weight in network()]
    real, fake = images(5, 3, dtype="float64"), images(5, 3, seed=1, dtype="float64")
    with tf.GradientTape() as tape:
        penalty = of(critic_of(weights), real, fake, SEED)
    gradients = tape.gradient(penalty, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert any(np.abs(gradient).max() > 1e-6 for gradient in gradients)

    for number, gradient in enumerate(gradients):
        for position in np.ndindex(*gradient.shape):
            ends = []
            for change in (1e-6, -1e-6):
                moved = network()
                moved[number][position] += change
                ends.append(float(of(critic_of(moved), real, fake, SEED)))
            assert gradient[position].numpy() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


# Where the gradient is 0.


def dead_network() -> keras.Sequential:
    """Build a network none of whose ReLUs lets anything through."""
    bias = keras.initializers.Constant(-100.0)
    hidden = layers.Dense(4, activation="relu", bias_initializer=bias)
    return keras.Sequential([keras.Input((3,)), hidden, layers.Dense(1)])


@each(ALL)
def test_a_critic_without_a_gradient_learns_nothing_and_breaks_nothing(of):
    dead = dead_network()
    with tf.GradientTape() as tape:
        penalty = of(dead, images(4, 3), images(4, 3, seed=1), SEED)
    np.testing.assert_allclose(penalty, float(of is penalties.gradient_penalty), atol=1e-5)
    gradients = tape.gradient(penalty, dead.trainable_variables)
    assert all(gradient is None or (gradient.numpy() == 0).all() for gradient in gradients)
    assert any(gradient is not None for gradient in gradients)


def test_a_root_without_its_addend_would_break_it():
    """What the 1e-12 is for: the check above can fail."""
    x = tf.zeros((1, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        penalty = tf.square(tf.sqrt(tf.reduce_sum(tf.square(x))) - 1.0)
    assert np.isnan(tape.gradient(penalty, x)).all()


@each(ALL)
def test_a_critic_that_does_not_look_is_no_error(of):
    penalty = of(lambda x: tf.zeros((4, 1)), images(4, 3), images(4, 3, seed=1), SEED)
    np.testing.assert_allclose(penalty, float(of is penalties.gradient_penalty), atol=1e-5)


# What they look at.


@pytest.mark.parametrize("shape", [(3,), (4, 4, 1), (2, 2, 2, 3)])
def test_a_point_between_takes_one_number_an_image(shape):
    """From images of zeros to images of ones a point is its number, the same in each pixel, in [0, 1), its own."""
    points = penalties.between(tf.zeros((1000, *shape)), tf.ones((1000, *shape)), SEED).numpy().reshape(1000, -1)
    np.testing.assert_array_equal(points, points[:, :1].repeat(points.shape[1], 1))
    assert 0 <= points.min() < 0.01 < 0.99 < points.max() < 1
    assert np.abs(np.histogram(points[:, 0], 4, (0, 1))[0] - 250).max() < 70  # five standard deviations, of 13.7
    assert len(np.unique(points[:, 0])) > 990


def test_a_point_lies_between_the_images_at_its_own_place():
    real, fake = images(8, 5), images(8, 5, seed=1)
    share = (penalties.between(real, fake, SEED) - real) / (fake - real)
    np.testing.assert_allclose(share, np.repeat(share[:, :1], 5, 1), atol=1e-5)


def test_draws_are_a_function_of_the_seed():
    real, fake = images(8, 3), images(8, 3, seed=1)
    critic = critic_of([tf.constant(weight, tf.float32) for weight in network()])
    for of in (penalties.gradient_penalty, penalties.approximate_r1):
        one, again, other = (float(of(critic, real, fake, seed)) for seed in (SEED, SEED, (3, 5)))
        assert one == again != other
    assert float(penalties.r1(critic, real, fake, (0, 0))) == float(penalties.r1(critic, real, fake, SEED))


def test_each_looks_at_images_of_its_own():
    """R1 at real ones, R2 at fakes, the approximation at real ones and near them."""
    real, fake = tf.zeros((4, 3)), tf.ones((4, 3))
    seen = []

    def critic(x):
        seen.append(x.numpy())
        return tf.reduce_sum(x, 1, keepdims=True)

    penalties.r1(critic, real, fake, SEED)
    penalties.r2(critic, real, fake, SEED)
    penalties.approximate_r1(critic, real, fake, SEED)
    assert [(x == wanted).all() for x, wanted in zip(seen[:3], (0, 1, 0), strict=True)] == [True] * 3
    assert 0 < np.abs(seen[3]).max() < 0.05  # of 12 draws of deviation 0.01


def test_r1_without_its_gradient_is_r1_on_the_average():
    """Over 100,000 draws: a mean of chi-squares, off by 0.4 % (a standard deviation); the rest is of second order."""
    weights = [tf.constant(weight, tf.float64) for weight in network()]
    real = tf.repeat(images(2, 3, dtype="float64"), 50_000, axis=0)
    expected = float(penalties.r1(critic_of(weights), real, real, SEED))
    found = float(penalties.approximate_r1(critic_of(weights), real, real, SEED))
    assert found / 0.01**2 == pytest.approx(expected, rel=0.02)


def test_through_a_look_at_the_whole_batch_a_gradient_is_no_longer_an_image_s_own():
    """As the docstring says: an image alone differs from none, and has no gradient; in a batch it moves all logits."""

    def critic(x):
        return tf.reduce_mean(models.MinibatchStddev()(x)[..., -1:], axis=[1, 2])

    batch = images(4, 8, 8, 1)
    alone = [float(penalties.r1(critic, batch[i : i + 1], None, SEED)) for i in range(4)]
    assert max(alone) == 0 < 1e-3 < float(penalties.r1(critic, batch, None, SEED))


# Through normalisation, a gradient of a gradient against finite differences in float64.


def error_of_the_second_gradient(norm: layers.Layer) -> float:
    """Return how far R1's gradient by ten weights is off, relative to the largest."""
    keras.utils.set_random_seed(0)
    first, second = layers.Conv2D(3, 3, dtype="float64"), layers.Conv2D(3, 3, dtype="float64")
    after = [layers.Activation("tanh", dtype="float64") for _ in range(2)]
    last = [layers.Flatten(dtype="float64"), layers.Dense(1, dtype="float64")]
    parts = [first, after[0], second, norm, after[1], *last]
    network = keras.Sequential([keras.Input((6, 6, 1), dtype="float64"), *parts])
    real = images(4, 6, 6, 1, dtype="float64")

    def penalty():
        return penalties.r1(lambda x: network(x, training=True), real, real, SEED)

    with tf.GradientTape() as tape:
        value = penalty()
    gradient, kernel, found = tape.gradient(value, first.kernel).numpy(), first.kernel.numpy(), []
    for position in [(i, j, 0, k) for i in range(3) for j in (0, 2) for k in (0, 1)]:
        ends = []
        for change in (1e-5, -1e-5):
            moved = kernel.copy()
            moved[position] += change
            first.kernel.assign(moved)
            ends.append(float(penalty()))
        found.append(((ends[0] - ends[1]) / 2e-5, gradient[position]))
    expected, found = np.transpose(found)
    return np.abs(found - expected).max() / np.abs(expected).max()


RIGHT = {
    "none": lambda: layers.Activation("linear", dtype="float64"),
    "batch": lambda: layers.BatchNormalization(synchronized=True, dtype="float64"),
    "layer": lambda: models.LayerNormalization(dtype="float64"),
}
WRONG = {
    "batch": lambda: layers.BatchNormalization(dtype="float64"),
    "layer": lambda: layers.LayerNormalization(dtype="float64"),
    "group": lambda: layers.GroupNormalization(groups=1, dtype="float64"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_gradient_of_a_gradient_is_right_through_the_package_s_normalisation(name):
    assert error_of_the_second_gradient(RIGHT[name]()) < 1e-6


@pytest.mark.parametrize("name", WRONG)
def test_it_is_wrong_through_keras_s(name):
    """Why there is a layer of our own, and `synchronized=True` on one device; the check above can fail."""
    assert error_of_the_second_gradient(WRONG[name]()) > 1e-4


def test_these_are_what_the_discriminators_are_made_of():
    for kind, expected in (("batch", layers.BatchNormalization), ("layer", models.LayerNormalization)):
        for build in (models.dcgan_discriminator, models.mlp_discriminator):
            (norm, *_) = [one for one in build(normalization=kind).layers if "normalization" in one.name]
            assert isinstance(norm, expected)
            assert getattr(norm, "synchronized", True)


# In a GAN.


def optimizers() -> list[keras.optimizers.Optimizer]:
    return [keras.optimizers.SGD(0.05) for _ in range(2)]


def small(conditional_too: bool = False) -> gan.GAN:
    """Build a GAN of MNIST's shape that draws nothing in its layers."""
    keras.utils.set_random_seed(0)
    generator, discriminator = models.mlp_generator(8, (8,)), models.mlp_discriminator((8,), 0.0)
    if conditional_too:
        generator = conditional.conditional_generator(models.mlp_generator(8 + conditional.LABEL_DIM, (8,)), 10)
        discriminator = conditional.projection(discriminator, 10)
    return gan.GAN(generator, discriminator)


def batch(labels: bool = False, count: int = 8) -> dict[str, tf.Tensor]:
    return {"images": images(count, 28, 28, 1)} | ({"labels": tf.range(count) % 10} if labels else {})


def loss_of_a_step(of, weight: float, labels: bool = False, augmentation=None) -> float:
    model = small(labels)
    model.compile(*optimizers(), penalties=[(of, weight)], augment=augmentation)
    return float(model.train_step(batch(labels))["discriminator_loss"])


@pytest.mark.parametrize("labels", [False, True])
@each(ALL)
def test_each_is_a_part_of_the_discriminator_s_loss(of, labels):
    """Of the step's own images, labels and seed."""
    model = small(labels)
    model.compile(*optimizers())
    seed = gan.fold([0, 0], "discriminator", 0)
    fake = model.generator(model.generator_inputs(batch(labels), seed), training=True)
    own = gan.fold(seed, "penalties", 0, 0)
    expected = float(of(model.critic(batch(labels), seed), batch()["images"], fake, own))
    found = loss_of_a_step(of, 100.0, labels) - loss_of_a_step(of, 0.0, labels)
    assert found == pytest.approx(100 * expected, rel=1e-4, abs=1e-6)
    assert expected > 0


@each(ALL)
def test_each_looks_through_the_augmentation(of):
    plain, moved = (loss_of_a_step(of, 100.0, augmentation=one) for one in (None, augment.diffaugment))
    assert np.isfinite(moved)
    assert abs(plain - moved) > 1e-4


@each(ALL)
def test_each_can_be_lazy_in_the_graph_of_fit(of):
    """Due in the first step, twice as large, and left out of the second."""
    ends = []
    for fitted in (True, False):
        model = small()
        model.compile(*optimizers(), penalties=[(of, 1.0, 2)])
        if fitted:
            model.fit(tf.data.Dataset.from_tensors(batch()).repeat(2), verbose=0)
        else:
            logs = [model.train_step(batch()) for _ in range(2)]
        ends.append(model.discriminator.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, **FLOAT32)
    assert float(logs[0]["discriminator_loss"]) == pytest.approx(loss_of_a_step(of, 2.0), rel=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@each(GRADIENT)
def test_layers_in_16_bits_have_the_same_penalty_to_their_rounding(of, policy):
    found = []
    for dtype in ("float32", policy):
        before = keras.mixed_precision.dtype_policy()
        keras.mixed_precision.set_dtype_policy(dtype)
        try:
            model = small()
        finally:
            keras.mixed_precision.set_dtype_policy(before)
        model.compile(*optimizers())
        real = batch()["images"]
        found.append(of(model.critic(batch(), SEED), real, -real, SEED))
        assert found[-1].dtype == tf.float32
    np.testing.assert_allclose(found[1], found[0], rtol=0.03)  # bfloat16 rounds by 0.4 %, and more than once


def test_a_saved_gan_keeps_them(tmp_path):
    model = small()
    model.compile(*optimizers(), penalties=[(of, 0.5) for of in ALL])
    model.train_on_batch(batch()["images"])
    model.save(tmp_path / "a.keras")
    other = keras.saving.load_model(tmp_path / "a.keras")
    assert other.penalties == [(of, 0.5, 1) for of in ALL]
    np.testing.assert_array_equal(model.train_on_batch(batch()["images"]), other.train_on_batch(batch()["images"]))


# On two devices of one process, which conftest.py names.


def a_step(kind: str, of) -> list[np.ndarray]:
    chosen = devices.strategy(kind)
    with chosen.scope():
        keras.utils.set_random_seed(0)
        players = models.dcgan_generator(8, (8, 4, 2), 3), models.dcgan_discriminator((4, 8), 0.0, 0.0, True)
        model = gan.GAN(*players)
        model.compile(*optimizers(), penalties=[(of, 1.0)])
    served = tf.data.Dataset.from_tensors(batch(count=16)["images"]).unbatch().repeat().batch(16, drop_remainder=True)
    logs = model.fit(devices.distribute(served, chosen), steps_per_epoch=1, verbose=0).history
    weights = [weight.copy() for player in players for weight in player.get_weights()]
    return [*weights, *(np.array(values) for values in logs.values())]


@pytest.mark.slow
@each(GRADIENT)
def test_two_replicas_take_the_step_of_one(of, monkeypatch):
    """With a look at the whole batch; points between images, which each replica draws for itself, lie half-way here."""
    monkeypatch.setattr(penalties, "between", halved)
    for one, two in zip(a_step("one", of), a_step("mirrored", of), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_two_replicas_draw_points_of_their_own():
    drawn, between = [], penalties.between

    def noted(critic, real, fake, seed):
        points = between(tf.zeros((4, 1)), tf.ones((4, 1)), seed)
        tf.py_function(lambda x: drawn.extend(x.numpy()[:, 0].tolist()), [points], [])
        return 0.0

    chosen = devices.strategy("mirrored")
    with chosen.scope():
        model = small()
        model.compile(*optimizers(), penalties=[(noted, 1.0)])
    served = tf.data.Dataset.from_tensors(batch()["images"]).unbatch().repeat().batch(8, drop_remainder=True)
    model.fit(devices.distribute(served, chosen), steps_per_epoch=1, verbose=0)
    assert len(drawn) == len(set(drawn)) == 8


def all_of_them(settings) -> gan.GAN:
    """Build what a run continues: a penalty of each kind, all but one of them lazy."""
    keras.utils.set_random_seed(settings.seed)
    model = gan.GAN(models.mlp_generator(8, (8,)), models.mlp_discriminator((4,)), seed=settings.seed)
    own = [(of, 0.1, 1 + number) for number, of in enumerate(ALL)]
    model.compile(*(keras.optimizers.Adam(1e-3) for _ in range(2)), penalties=own)
    return model


@pytest.mark.slow
def test_a_run_with_all_of_them_continues_to_the_same_bits(tmp_path):
    settings = recipe.Settings(dataset="digits", epochs=1, batch_size=150)
    runs.train(tmp_path / "whole", settings, build=all_of_them)
    with pytest.raises(runs.Stopped, match="stopped at step 4 of"):
        runs.train(tmp_path / "parts", settings, build=all_of_them, callbacks=[StopIn(4)])
    runs.train(tmp_path / "parts", settings, build=all_of_them)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


@pytest.mark.slow
def test_a_lazy_one_under_batch_normalisation_runs_in_the_graph():
    model = gan.GAN(models.mlp_generator(8, (8,)), models.mlp_discriminator((8, 8), 0.0, normalization="batch"))
    model.compile(*optimizers(), penalties=[(penalties.r1, 1.0, 2)])
    history = model.fit(tf.data.Dataset.from_tensors(batch()).repeat(3), verbose=0).history
    assert np.isfinite([*history.values()]).all()

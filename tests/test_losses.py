"""The objectives: constants computed by hand, a NumPy twin, signs and finite differences of gradients, saturation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_tf import losses

NAMES = tuple(losses.LOSSES)
LOG_2, LOG_3 = 0.6931471805599453, 1.0986122886681098

# A rounding to float32 is 2^-24 = 6e-8 of the value; 2e-6 leaves room for 30 of them, a loss takes about ten.
FLOAT32 = {"rtol": 2e-6, "atol": 2e-6}


def column(values) -> tf.Tensor:
    """Return logits as a discriminator gives them: float32 (batch, 1)."""
    return tf.reshape(tf.constant(values, tf.float32), (-1, 1))


def gradients(function, *logits: tf.Tensor) -> list[np.ndarray]:
    """Return the gradient of a loss by each of its arguments."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(*logits)
    return [gradient.numpy() for gradient in tape.gradient(loss, logits)]


def of_fakes(loss: losses.Loss):
    """Return a generator's loss as a function of the fake logits; these here do not look at the real ones."""
    assert not loss.paired
    return lambda fake_logits: loss.generator(None, fake_logits)


def test_there_are_three_objectives_of_two_players():
    assert NAMES == ("non_saturating", "minimax", "least_squares")
    assert losses.minimax.discriminator is losses.non_saturating.discriminator, "they differ in the generator only"


# Constants. A logit of log 3 means D = 3/4, of -log 3 it means D = 1/4, of 0 it means D = 1/2.
#
#   real_logits (log 3, 0), fake_logits (-log 3, 0):
#     -V            = mean(-log 3/4, -log 1/2) + mean(-log(1 - 1/4), -log(1 - 1/2)) = log(4/3) + log 2 = log(8/3)
#     -E log D      = mean(-log 1/4, -log 1/2) = (2 log 2 + log 2) / 2 = 3/2 log 2
#     E log (1 - D) = mean(log 3/4, log 1/2)   = (log 3 - 3 log 2) / 2
#   outputs (2, 0) for real, (-1, 3) for fake, with least squares:
#     D: ((2 - 1)^2 + (0 - 1)^2) / 4 + ((-1)^2 + 3^2) / 4 = 1/2 + 5/2 = 3
#     G: ((-1 - 1)^2 + (3 - 1)^2) / 4 = 2
#   and where D says 1/2 everywhere: 2 log 2, log 2, -log 2; for least squares 1/8 + 1/8 and 1/8.
CONSTANTS = [
    ("non_saturating", (LOG_3, 0), (-LOG_3, 0), 3 * LOG_2 - LOG_3, 1.5 * LOG_2),
    ("non_saturating", (0,), (0, 0, 0), 2 * LOG_2, LOG_2),
    ("minimax", (LOG_3, 0), (-LOG_3, 0), 3 * LOG_2 - LOG_3, (LOG_3 - 3 * LOG_2) / 2),
    ("minimax", (0,), (0, 0, 0), 2 * LOG_2, -LOG_2),
    ("least_squares", (2, 0), (-1, 3), 3, 2),
    ("least_squares", (0.5,), (0.5, 0.5, 0.5), 1 / 4, 1 / 8),
]


@pytest.mark.parametrize(("name", "real", "fake", "discriminator", "generator"), CONSTANTS)
def test_constants_computed_by_hand(name, real, fake, discriminator, generator):
    loss = losses.LOSSES[name]
    np.testing.assert_allclose(loss.discriminator(column(real), column(fake)), discriminator, **FLOAT32)
    np.testing.assert_allclose(loss.generator(None, column(fake)), generator, **FLOAT32)


# The twin: the formulas of the papers, on probabilities, in float64.


def probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def value(real: np.ndarray, fake: np.ndarray) -> float:
    """Return V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))]."""
    return np.mean(np.log(probability(real))) + np.mean(np.log(1 - probability(fake)))


TWINS = {
    "non_saturating": (lambda real, fake: -value(real, fake), lambda fake: -np.mean(np.log(probability(fake)))),
    "minimax": (lambda real, fake: -value(real, fake), lambda fake: np.mean(np.log(1 - probability(fake)))),
    "least_squares": (
        lambda real, fake: (np.mean((real - 1) ** 2) + np.mean(fake**2)) / 2,
        lambda fake: np.mean((fake - 1) ** 2) / 2,
    ),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_numpy_twin(name, seed):
    """The logits stay within 15: there 1 - D loses 9 of the 16 digits of float64, and float32 has 7."""
    random = np.random.default_rng(seed)
    real, fake = (np.clip(random.normal(0, 5, count), -15, 15).astype(np.float32) for count in (64, 48))
    discriminator, generator = TWINS[name]
    loss = losses.LOSSES[name]
    expected = discriminator(real.astype(np.float64), fake.astype(np.float64))
    np.testing.assert_allclose(loss.discriminator(column(real), column(fake)), expected, **FLOAT32)
    np.testing.assert_allclose(loss.generator(None, column(fake)), generator(fake.astype(np.float64)), **FLOAT32)


def test_a_wrong_twin_is_noticed():
    """The comparison turns red for a flipped sign, swapped halves and a sum in the place of a mean."""
    real, fake = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    found = losses.non_saturating.discriminator(column(real), column(fake)).numpy()
    for wrong in (value(real, fake), -value(fake, real), -2 * value(real, fake)):
        assert abs(found - wrong) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_a_mean_over_each_half_by_itself(name):
    """Showing each image twice changes nothing, and the two halves may differ in size."""
    loss, real, fake = losses.LOSSES[name], column([1, -2, 3]), column([0.5, -1])
    twice = tf.concat([fake, fake], 0)
    np.testing.assert_allclose(loss.discriminator(real, twice), loss.discriminator(real, fake), **FLOAT32)
    np.testing.assert_allclose(loss.generator(None, twice), loss.generator(None, fake), **FLOAT32)
    assert loss.generator(None, fake).shape == loss.discriminator(real, fake).shape == ()


@pytest.mark.parametrize("seed", range(3))
def test_minus_v_is_binary_cross_entropy_from_logits(seed):
    random = np.random.default_rng(seed)
    real, fake = column(random.normal(0, 4, 32)), column(random.normal(0, 4, 32))
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = cross_entropy(tf.ones_like(real), real) + cross_entropy(tf.zeros_like(fake), fake)
    np.testing.assert_allclose(losses.minimax.discriminator(real, fake), expected, **FLOAT32)
    expected = cross_entropy(tf.ones_like(fake), fake)  # "call my fakes real"
    np.testing.assert_allclose(losses.non_saturating.generator(None, fake), expected, **FLOAT32)


# Gradients: what each player wants.

SPREAD = np.linspace(-6, 6, 25)


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_the_discriminator_wants_real_up_and_fake_down(name):
    by_real, by_fake = gradients(losses.LOSSES[name].discriminator, column(SPREAD), column(SPREAD))
    assert (by_real < 0).all()
    assert (by_fake > 0).all()


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_the_generator_wants_fake_up(name):
    (by_fake,) = gradients(of_fakes(losses.LOSSES[name]), column(SPREAD))
    assert (by_fake < 0).all()


def test_least_squares_pulls_towards_its_targets():
    """Real to 1 and fake to 0 for the discriminator, fake to 1 for the generator: from both sides."""
    by_real, by_fake = gradients(losses.least_squares.discriminator, column(SPREAD), column(SPREAD))
    np.testing.assert_array_equal(np.sign(by_real[:, 0]), np.sign(SPREAD - 1))
    np.testing.assert_array_equal(np.sign(by_fake[:, 0]), np.sign(SPREAD))
    (by_fake,) = gradients(of_fakes(losses.least_squares), column(SPREAD))
    np.testing.assert_array_equal(np.sign(by_fake[:, 0]), np.sign(SPREAD - 1))


def finite_differences(function, logits: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return the gradient by central differences, in float64."""
    gradient = np.zeros_like(logits)
    for i in range(len(logits)):
        shift = np.zeros_like(logits)
        shift[i] = step
        gradient[i] = (function(tf.constant(logits + shift)) - function(tf.constant(logits - shift))) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name):
    """Of step 1e-5: its square and 1e-16 / 1e-5 are both near 1e-11, so that 1e-9 leaves room for 100 of either."""
    random = np.random.default_rng(0)
    real, fake = random.normal(0, 3, (6, 1)), random.normal(0, 3, (5, 1))
    loss, tolerance = losses.LOSSES[name], {"rtol": 0, "atol": 1e-9}
    by_real, by_fake = gradients(loss.discriminator, tf.constant(real), tf.constant(fake))
    expected = finite_differences(lambda logits: loss.discriminator(logits, tf.constant(fake)), real)
    np.testing.assert_allclose(by_real, expected, **tolerance)
    expected = finite_differences(lambda logits: loss.discriminator(tf.constant(real), logits), fake)
    np.testing.assert_allclose(by_fake, expected, **tolerance)
    (by_fake,) = gradients(of_fakes(loss), tf.constant(fake))
    np.testing.assert_allclose(by_fake, finite_differences(of_fakes(loss), fake), **tolerance)


# Saturating and non-saturating. With D = sigmoid(l), d/dl log(1 - D) = -D and d/dl (-log D) = -(1 - D).


def test_the_two_generator_losses_share_their_direction_and_not_its_strength():
    """Per image the ratio of the gradients is (1 - D) / D: 1 where D says 1/2, 400 where it says 1/401."""
    logits = np.linspace(-6, 6, 25)
    d = probability(logits)
    (strong,) = gradients(of_fakes(losses.non_saturating), column(logits))
    (weak,) = gradients(of_fakes(losses.minimax), column(logits))
    np.testing.assert_allclose(strong[:, 0], -(1 - d) / 25, rtol=FLOAT32["rtol"])
    np.testing.assert_allclose(weak[:, 0], -d / 25, rtol=FLOAT32["rtol"])
    np.testing.assert_allclose(strong[:, 0] / weak[:, 0], (1 - d) / d, rtol=FLOAT32["rtol"])
    assert strong[0, 0] / weak[0, 0] > 400, "where D is sure of a fake, minimax leaves the generator 1/400"
    assert strong[12, 0] == weak[12, 0], "they agree where D says 1/2"


logits_of_any_size = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20)


@settings(database=None, deadline=None, derandomize=True, max_examples=50)
@given(logits_of_any_size)
def test_the_two_generator_losses_differ_by_the_mean_logit(fake):
    """-log D + log(1 - D) = -l: the sum of the two losses is minus the mean logit, whatever the logits."""
    total = losses.non_saturating.generator(None, column(fake)) + losses.minimax.generator(None, column(fake))
    scale = max(1, np.abs(fake).max())
    np.testing.assert_allclose(total / scale, -np.mean(fake) / scale, **FLOAT32)


@settings(database=None, deadline=None, derandomize=True, max_examples=50)
@given(logits_of_any_size, logits_of_any_size)
def test_minimax_is_a_zero_sum_game(real, fake):
    """What the fakes add to one player's loss they take from the other's: the two gradients are opposite."""
    real, fake = column(real), column(fake)
    _, discriminators = gradients(losses.minimax.discriminator, real, fake)
    (generators,) = gradients(of_fakes(losses.minimax), fake)
    np.testing.assert_array_equal(discriminators, -generators)


@settings(database=None, deadline=None, derandomize=True, max_examples=50)
@given(logits_of_any_size, logits_of_any_size)
def test_every_loss_and_gradient_is_finite_and_on_its_side(real, fake):
    real, fake = column(real), column(fake)
    for name, loss in losses.LOSSES.items():
        generator, discriminator = loss.generator(None, fake), loss.discriminator(real, fake)
        assert discriminator >= 0
        assert generator <= 0 if name == "minimax" else generator >= 0
        for number in (generator, discriminator, *gradients(loss.discriminator, real, fake)):
            assert np.isfinite(number).all()
        assert np.isfinite(gradients(of_fakes(loss), fake)).all()


# Far out, softplus(l) is l or 0, and its slope is 1 or 0: value and gradient of each loss at logits of +-10,000.
# (name, player, logits, value, gradient by each of the logits)
ASYMPTOTES = [
    ("non_saturating", "generator", (-1e4,), 1e4, (-1,)),
    ("non_saturating", "generator", (1e4,), 0, (0,)),
    ("minimax", "generator", (-1e4,), 0, (0,)),
    ("minimax", "generator", (1e4,), -1e4, (-1,)),
    ("minimax", "discriminator", (-1e4, 1e4), 2e4, (-1, 1)),
    ("minimax", "discriminator", (1e4, -1e4), 0, (0, 0)),
    ("minimax", "discriminator", (1e4, 1e4), 1e4, (0, 1)),
    ("minimax", "discriminator", (-1e4, -1e4), 1e4, (-1, 0)),
    ("least_squares", "generator", (-1e4,), (1e4 + 1) ** 2 / 2, (-1e4 - 1,)),
    ("least_squares", "generator", (1e4,), (1e4 - 1) ** 2 / 2, (1e4 - 1,)),
    ("least_squares", "discriminator", (-1e4, 1e4), (1e4 + 1) ** 2 / 2 + 1e8 / 2, (-1e4 - 1, 1e4)),
]


@pytest.mark.parametrize(("name", "player", "logits", "expected", "slopes"), ASYMPTOTES)
def test_far_out_each_loss_is_its_asymptote(name, player, logits, expected, slopes):
    loss = losses.LOSSES[name]
    function = of_fakes(loss) if player == "generator" else loss.discriminator
    arguments = [column([logit]) for logit in logits]
    np.testing.assert_allclose(function(*arguments), expected, **FLOAT32)
    np.testing.assert_allclose(np.ravel(gradients(function, *arguments)), slopes, **FLOAT32)


def test_the_hand_written_logarithm_is_not_finite_there():
    """What softplus is for: the formula of the paper, in float32, has no value where D rounds to 0."""
    assert np.isinf(-tf.math.log(tf.sigmoid(column([-1e4]))).numpy())
    assert np.isnan(gradients(lambda logits: -tf.math.log(1 - tf.sigmoid(logits)), column([1e4]))).all()

"""The objectives: constants computed by hand, a NumPy twin, signs and finite differences of gradients, saturation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_tf import UsageError, losses

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


def of_fakes(loss: losses.Loss, real: tf.Tensor | None = None):
    """Return a generator's loss as a function of the fake logits; only a paired one looks at the real ones."""
    return lambda fake_logits: loss.generator(real if loss.paired else None, fake_logits)


def test_there_are_six_objectives_of_two_players():
    assert NAMES == ("non_saturating", "minimax", "least_squares", "hinge", "wasserstein", "relativistic")
    assert losses.minimax.discriminator is losses.non_saturating.discriminator, "they differ in the generator only"
    assert losses.hinge.generator is losses.wasserstein.generator, "they differ in the discriminator only"
    assert [name for name, loss in losses.LOSSES.items() if loss.paired] == ["relativistic"]


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
#   outputs (2, 0) for real, (-3, 1) for fake:
#     hinge:       max(0, 1 - x): 0 and 1, mean 1/2; max(0, 1 + x): 0 and 2, mean 1; G: -(-3 + 1) / 2 = 1
#     Wasserstein: D: (-3 + 1) / 2 - (2 + 0) / 2 = -2
#   and logits (log 3, 0) for real, (0, log 3) for fake: the pairs differ by log 3 and by -log 3, so that each has
#     mean(log(1 + 1/3), log(1 + 3)) = (log 4/3 + log 4) / 2 = 2 log 2 - (log 3) / 2
CONSTANTS = [
    ("non_saturating", (LOG_3, 0), (-LOG_3, 0), 3 * LOG_2 - LOG_3, 1.5 * LOG_2),
    ("non_saturating", (0,), (0, 0, 0), 2 * LOG_2, LOG_2),
    ("minimax", (LOG_3, 0), (-LOG_3, 0), 3 * LOG_2 - LOG_3, (LOG_3 - 3 * LOG_2) / 2),
    ("minimax", (0,), (0, 0, 0), 2 * LOG_2, -LOG_2),
    ("least_squares", (2, 0), (-1, 3), 3, 2),
    ("least_squares", (0.5,), (0.5, 0.5, 0.5), 1 / 4, 1 / 8),
    ("hinge", (2, 0), (-3, 1), 3 / 2, 1),
    ("hinge", (0,), (0, 0, 0), 2, 0),
    ("wasserstein", (2, 0), (-3, 1), -2, 1),
    ("wasserstein", (1,), (1, 1, 1), 0, -1),
    ("relativistic", (LOG_3, 0), (0, LOG_3), 2 * LOG_2 - LOG_3 / 2, 2 * LOG_2 - LOG_3 / 2),
    ("relativistic", (LOG_3,), (0,), 2 * LOG_2 - LOG_3, 2 * LOG_2),
    ("relativistic", (7, 7), (7, 7), LOG_2, LOG_2),
]


@pytest.mark.parametrize(("name", "real", "fake", "discriminator", "generator"), CONSTANTS)
def test_constants_computed_by_hand(name, real, fake, discriminator, generator):
    loss = losses.LOSSES[name]
    np.testing.assert_allclose(loss.discriminator(column(real), column(fake)), discriminator, **FLOAT32)
    np.testing.assert_allclose(of_fakes(loss, column(real))(column(fake)), generator, **FLOAT32)


# The twin: the formulas of the papers, on probabilities, in float64.


def probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def value(real: np.ndarray, fake: np.ndarray) -> float:
    """Return V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))]."""
    return np.mean(np.log(probability(real))) + np.mean(np.log(1 - probability(fake)))


TWINS = {
    "non_saturating": (lambda real, fake: -value(real, fake), lambda _, fake: -np.mean(np.log(probability(fake)))),
    "minimax": (lambda real, fake: -value(real, fake), lambda _, fake: np.mean(np.log(1 - probability(fake)))),
    "least_squares": (
        lambda real, fake: (np.mean((real - 1) ** 2) + np.mean(fake**2)) / 2,
        lambda _, fake: np.mean((fake - 1) ** 2) / 2,
    ),
    "hinge": (
        lambda real, fake: -np.mean(np.minimum(0, real - 1)) - np.mean(np.minimum(0, -1 - fake)),
        lambda _, fake: -np.mean(fake),
    ),
    "wasserstein": (lambda real, fake: -(np.mean(real) - np.mean(fake)), lambda _, fake: -np.mean(fake)),
    "relativistic": (
        lambda real, fake: -np.mean(np.log(probability(real - fake))),
        lambda real, fake: -np.mean(np.log(probability(fake - real))),
    ),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_numpy_twin(name, seed):
    """The logits stay within 15: there 1 - D loses 9 of the 16 digits of float64, and float32 has 7."""
    random = np.random.default_rng(seed)
    loss, (discriminator, generator) = losses.LOSSES[name], TWINS[name]
    counts = (64, 64) if loss.paired else (64, 48)
    real, fake = (np.clip(random.normal(0, 5, count), -15, 15).astype(np.float32) for count in counts)
    doubles = real.astype(np.float64), fake.astype(np.float64)
    np.testing.assert_allclose(loss.discriminator(column(real), column(fake)), discriminator(*doubles), **FLOAT32)
    np.testing.assert_allclose(of_fakes(loss, column(real))(column(fake)), generator(*doubles), **FLOAT32)


def test_a_wrong_twin_is_noticed():
    """The comparison turns red for a flipped sign, swapped halves and a sum in the place of a mean."""
    real, fake = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    found = losses.non_saturating.discriminator(column(real), column(fake)).numpy()
    for wrong in (value(real, fake), -value(fake, real), -2 * value(real, fake)):
        assert abs(found - wrong) > 0.1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relativistic"])
def test_a_loss_is_a_mean_over_each_half_by_itself(name):
    """Showing each image twice changes nothing, and the two halves may differ in size."""
    loss, real, fake = losses.LOSSES[name], column([1, -2, 3]), column([0.5, -1])
    twice = tf.concat([fake, fake], 0)
    np.testing.assert_allclose(loss.discriminator(real, twice), loss.discriminator(real, fake), **FLOAT32)
    np.testing.assert_allclose(loss.generator(None, twice), loss.generator(None, fake), **FLOAT32)
    assert loss.generator(None, fake).shape == loss.discriminator(real, fake).shape == ()


def test_a_relativistic_loss_is_a_mean_over_pairs():
    """Showing each pair twice changes nothing, another partner does, the same shift of all logits does not."""
    loss, real, fake = losses.relativistic, column([1, -2, 3]), column([0.5, -1, 2])
    for half in (loss.discriminator, loss.generator):
        alone = half(real, fake)
        assert alone.shape == ()
        np.testing.assert_allclose(half(tf.concat([real, real], 0), tf.concat([fake, fake], 0)), alone, **FLOAT32)
        np.testing.assert_allclose(half(real + 64, fake + 64), alone, **FLOAT32)
        assert abs(half(real, fake[::-1]) - alone) > 0.1


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


@pytest.mark.parametrize("name", ["non_saturating", "minimax", "wasserstein", "relativistic"])
def test_the_discriminator_wants_real_up_and_fake_down(name):
    by_real, by_fake = gradients(losses.LOSSES[name].discriminator, column(SPREAD), column(SPREAD))
    assert (by_real < 0).all()
    assert (by_fake > 0).all()


@pytest.mark.parametrize("name", ["non_saturating", "minimax", "hinge", "wasserstein", "relativistic"])
def test_the_generator_wants_fake_up(name):
    (by_fake,) = gradients(of_fakes(losses.LOSSES[name], column(SPREAD[::-1])), column(SPREAD))
    assert (by_fake < 0).all()


def test_the_hinge_teaches_within_its_margin_only():
    """Real below 1 and fake above -1, each with the same strength; Miyato et al. 2018, equation 16."""
    by_real, by_fake = gradients(losses.hinge.discriminator, column(SPREAD), column(SPREAD))
    np.testing.assert_allclose(by_real[:, 0], np.where(SPREAD < 1, -1 / 25, 0), rtol=FLOAT32["rtol"])
    np.testing.assert_allclose(by_fake[:, 0], np.where(SPREAD > -1, 1 / 25, 0), rtol=FLOAT32["rtol"])


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
    loss, tolerance = losses.LOSSES[name], {"rtol": 0, "atol": 1e-9}
    real, fake = random.normal(0, 3, (6, 1)), random.normal(0, 3, (6 if loss.paired else 5, 1))
    by_real, by_fake = gradients(loss.discriminator, tf.constant(real), tf.constant(fake))
    expected = finite_differences(lambda logits: loss.discriminator(logits, tf.constant(fake)), real)
    np.testing.assert_allclose(by_real, expected, **tolerance)
    expected = finite_differences(lambda logits: loss.discriminator(tf.constant(real), logits), fake)
    np.testing.assert_allclose(by_fake, expected, **tolerance)
    generator = of_fakes(loss, tf.constant(real))
    (by_fake,) = gradients(generator, tf.constant(fake))
    np.testing.assert_allclose(by_fake, finite_differences(generator, fake), **tolerance)


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
    count = min(len(real), len(fake))
    for name, loss in losses.LOSSES.items():
        reals, fakes = (column(logits[: count if loss.paired else None]) for logits in (real, fake))
        generator, discriminator = of_fakes(loss, reals)(fakes), loss.discriminator(reals, fakes)
        assert discriminator >= 0 or name == "wasserstein"
        if name not in ("hinge", "wasserstein"):  # of which the generator's half is of any sign
            assert generator <= 0 if name == "minimax" else generator >= 0
        for number in (generator, discriminator, *gradients(loss.discriminator, reals, fakes)):
            assert np.isfinite(number).all()
        assert np.isfinite(gradients(of_fakes(loss, reals), fakes)).all()


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
    ("hinge", "discriminator", (-1e4, 1e4), 2e4 + 2, (-1, 1)),
    ("hinge", "discriminator", (1e4, -1e4), 0, (0, 0)),
    ("wasserstein", "discriminator", (1e4, -1e4), -2e4, (-1, 1)),
    ("wasserstein", "generator", (1e4,), -1e4, (-1,)),
    ("relativistic", "discriminator", (-1e4, 1e4), 2e4, (-1, 1)),
    ("relativistic", "discriminator", (1e4, -1e4), 0, (0, 0)),
    ("relativistic", "generator", (1e4, -1e4), 2e4, (1, -1)),
    ("relativistic", "generator", (-1e4, 1e4), 0, (0, 0)),
]


@pytest.mark.parametrize(("name", "player", "logits", "expected", "slopes"), ASYMPTOTES)
def test_far_out_each_loss_is_its_asymptote(name, player, logits, expected, slopes):
    loss = losses.LOSSES[name]
    function = of_fakes(loss) if player == "generator" and not loss.paired else getattr(loss, player)
    arguments = [column([logit]) for logit in logits]
    np.testing.assert_allclose(function(*arguments), expected, **FLOAT32)
    np.testing.assert_allclose(np.ravel(gradients(function, *arguments)), slopes, **FLOAT32)


def test_the_hand_written_logarithm_is_not_finite_there():
    """What softplus is for: the formula of the paper, in float32, has no value where D rounds to 0."""
    assert np.isinf(-tf.math.log(tf.sigmoid(column([-1e4]))).numpy())
    assert np.isnan(gradients(lambda logits: -tf.math.log(1 - tf.sigmoid(logits)), column([1e4]))).all()


# One-sided label smoothing: the label a of real images is 0.9, that of fakes stays 0.


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_a_smoothed_cross_entropy_has_its_constants(name):
    """At D = 9/10, where a real image of label 9/10 is as good as it gets, it is the entropy of 9/10."""
    smooth, plain = losses.smoothed(name), losses.LOSSES[name]
    entropy = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    far = column([-1e4])  # of a fake: adds 0
    np.testing.assert_allclose(smooth.discriminator(column([np.log(9)]), far), entropy, **FLOAT32)
    np.testing.assert_allclose(smooth.discriminator(column([0]), column([0])), 2 * LOG_2, **FLOAT32)
    assert (smooth.generator, smooth.paired) == (plain.generator, plain.paired)


def test_smoothed_least_squares_have_their_constant():
    """((0.9 - 0.9)^2 + (1.9 - 0.9)^2) / 4 + 2^2 / 2 = 1/4 + 2."""
    smooth = losses.smoothed("least_squares").discriminator
    np.testing.assert_allclose(smooth(column([0.9, 1.9]), column([2])), 2.25, **FLOAT32)


@pytest.mark.parametrize("label", [0.6, 0.9, 1.0])
def test_a_smoothed_cross_entropy_is_keras_s_with_that_label(label):
    random = np.random.default_rng(0)
    real, fake = column(random.normal(0, 4, 32)), column(random.normal(0, 4, 32))
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = cross_entropy(label * tf.ones_like(real), real) + cross_entropy(tf.zeros_like(fake), fake)
    found = losses.smoothed(losses.non_saturating, label).discriminator(real, fake)
    np.testing.assert_allclose(found, expected, **FLOAT32)


def test_a_smoothed_discriminator_wants_real_images_at_its_label_and_no_further():
    """Where D says more than 9/10 of a real image, it is pulled back; fakes are pushed as without smoothing."""
    logits = np.array([-1e4, -2, 0, 2, np.log(9), 2.5, 1e4])
    by_real, by_fake = gradients(losses.smoothed("minimax").discriminator, column(logits), column(logits))
    with np.errstate(over="ignore"):
        expected = (probability(logits) - 0.9) / len(logits)
    np.testing.assert_allclose(by_real[:, 0], expected, **FLOAT32)
    assert np.sign(np.round(by_real[:, 0], 6)).tolist() == [-1, -1, -1, -1, 0, 1, 1]
    _, without = gradients(losses.minimax.discriminator, column(logits), column(logits))
    np.testing.assert_array_equal(by_fake, without)


def test_a_label_of_1_is_the_loss_as_it_was():
    real, fake = column([1, -2, 3]), column([0.5, -1])
    for name in ("non_saturating", "least_squares"):
        expected = losses.LOSSES[name].discriminator(real, fake)
        assert losses.smoothed(name, 1.0).discriminator(real, fake) == expected


@pytest.mark.parametrize("label", [0.5, 0.1, 1.01, 2, -1, float("nan"), "0.9", None])
def test_a_label_that_is_none_of_real_images_is_refused(label):
    with pytest.raises(UsageError, match=r"^real_label must be above 0\.5 and at most 1, got "):
        losses.smoothed("minimax", label)


@pytest.mark.parametrize("name", ["hinge", "wasserstein", "relativistic"])
def test_a_loss_without_labels_cannot_be_smoothed(name):
    with pytest.raises(UsageError, match=r"^only losses with labels can be smoothed: non_saturating, minimax, "):
        losses.smoothed(name)
    with pytest.raises(UsageError, match=r"^only losses with labels"):
        losses.smoothed(losses.smoothed("minimax"))


def test_equal_smoothing_is_one_loss():
    """So that a loaded GAN's loss equals the one that was saved."""
    assert losses.smoothed("minimax", 0.8) == losses.smoothed("minimax", 0.8)
    assert losses.smoothed("minimax", 0.8) != losses.smoothed("minimax", 0.9)

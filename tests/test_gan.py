"""The train step: who changes what, against independent references, reproducibly."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_tf import gan, losses, models, replicas

LATENT_DIM = 3
SIZE = 5  # numbers in a "real" sample of the tiny model


def tiny(ema_decay: float = 0.998, seed: int = 0, dropout: float = 0.0) -> gan.GAN:
    """Build the smallest GAN that has everything: one linear layer each, tanh, and dropout if asked."""
    generator = keras.Sequential(
        [keras.Input((LATENT_DIM,)), layers.Dense(SIZE, activation="tanh", kernel_initializer="random_normal")]
    )
    discriminator = keras.Sequential([keras.Input((SIZE,)), layers.Dropout(dropout), layers.Dense(1)])
    return gan.GAN(generator, discriminator, ema_decay=ema_decay, seed=seed)


def compiled(model: gan.GAN, generator_rate: float = 0.1, discriminator_rate: float = 0.1, **options) -> gan.GAN:
    model.compile(keras.optimizers.SGD(generator_rate), keras.optimizers.SGD(discriminator_rate), **options)
    return model


def real_batch(count: int = 8) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, SIZE)).astype(np.float32)


def batches(count: int = 32, batch_size: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(real_batch(count)).batch(batch_size)


def weights_of(model) -> list[np.ndarray]:
    return [weight.copy() for weight in model.get_weights()]


def changed(before: list[np.ndarray], model) -> bool:
    return any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(("player", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_an_update_of_one_player_changes_no_weight_of_the_other(player, other):
    """A learning rate of 0 stands still, so that what moves is moved by the other player's update alone."""
    model = compiled(tiny(), **{f"{other}_rate": 0.0})
    before = {name: weights_of(getattr(model, name)) for name in (player, other)}
    model.train_step(real_batch())
    assert changed(before[player], getattr(model, player))
    assert not changed(before[other], getattr(model, other))


def z_of(*words, step: int = 0, count: int = 8) -> np.ndarray:
    """Return the z that a step draws for one use: ("generator",), or ("discriminator", k) for its k-th step."""
    return gan.sample_latent(count, LATENT_DIM, gan.fold([0, step], *words, "noise")).numpy().astype(np.float64)


def numpy_losses(weights: dict[str, list[np.ndarray]], real: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Compute both losses of the tiny GAN in float64 NumPy, from the formulas in terms of D."""
    (w, b), (v, c) = weights["generator"], weights["discriminator"]
    fake = np.tanh(z @ w + b)
    real_d, fake_d = (1 / (1 + np.exp(-(x @ v + c))) for x in (real, fake))
    return {
        "generator": -np.log(fake_d).mean(),
        "discriminator": -np.log(real_d).mean() - np.log(1 - fake_d).mean(),
    }


def float64_weights(model: gan.GAN) -> dict[str, list[np.ndarray]]:
    players = {"generator": model.generator, "discriminator": model.discriminator}
    return {name: [w.astype(np.float64) for w in player.get_weights()] for name, player in players.items()}


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_step_is_the_finite_difference_gradient_of_a_numpy_reference(player):
    """With SGD at rate 1 the change of a weight is minus its gradient. The generator meets the new discriminator."""
    model = compiled(tiny(), 1.0, 1.0)
    before, real = float64_weights(model), real_batch()
    model.train_step(real)
    after = float64_weights(model)
    weights = {"generator": before["generator"], "discriminator": before["discriminator"]}
    words = ("discriminator", 0)
    if player == "generator":
        weights, words = weights | {"discriminator": after["discriminator"]}, ("generator",)
    z = z_of(*words)
    for weight, new in zip(weights[player], after[player], strict=True):
        step = weight - new
        for position in np.ndindex(weight.shape):
            value, differences = weight[position], []
            for change in (1e-5, -1e-5):
                weight[position] = value + change
                differences.append(numpy_losses(weights, real, z)[player])
            weight[position] = value
            expected = (differences[0] - differences[1]) / 2e-5
            # float32 weights of order 1 carry 6e-8; the step adds as much again.
            assert step[position] == pytest.approx(expected, abs=2e-6)


def test_the_reported_losses_are_those_of_the_numpy_reference():
    """The discriminator's is from before its step, the generator's from between the two."""
    model = compiled(tiny())
    before = float64_weights(model)
    logs = model.train_step(real_batch())
    between = before | {"discriminator": float64_weights(model)["discriminator"]}
    discriminator_loss = numpy_losses(before, real_batch(), z_of("discriminator", 0))["discriminator"]
    generator_loss = numpy_losses(between, real_batch(), z_of("generator"))["generator"]
    assert float(logs["generator_loss"]) == pytest.approx(generator_loss, rel=1e-5)
    assert float(logs["discriminator_loss"]) == pytest.approx(discriminator_loss, rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(generator_loss + discriminator_loss, rel=1e-5)


class Spy(layers.Layer):
    """Pass its input on and note the batch size and `training` of every call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def call(self, x, training=None):
        self.calls.append((x.shape[0], training))
        return x


def spied() -> tuple[gan.GAN, list[Spy]]:
    """Return a tiny GAN whose players note how they are called."""
    spies = [Spy(), Spy()]
    generator = keras.Sequential([keras.Input((LATENT_DIM,)), spies[0], layers.Dense(SIZE)])
    discriminator = keras.Sequential([keras.Input((SIZE,)), spies[1], layers.Dense(1)])
    model = gan.GAN(generator, discriminator)
    for spy in spies:
        spy.calls.clear()
    return model, spies


@pytest.mark.parametrize(("batch_size", "critic_steps"), [(1, 1), (7, 1), (8, 1), (8, 2), (9, 3)])
def test_the_noise_has_the_batch_s_size_and_every_call_is_in_training_mode(batch_size, critic_steps):
    """Each step of the discriminator sees real and fake, the generator's sees fake alone."""
    model, spies = spied()
    compiled(model, critic_steps=critic_steps).train_step(real_batch(batch_size))
    part = batch_size // critic_steps
    assert spies[0].calls == [(part, True)] * (critic_steps + 1)
    assert spies[1].calls == [(part, True)] * (2 * critic_steps + 1)


def test_only_a_paired_loss_makes_the_generator_s_step_look_at_the_real_images():
    model, spies = spied()

    def generator_loss(real_logits, fake_logits):
        return tf.reduce_mean(tf.nn.softplus(real_logits - fake_logits))

    paired = losses.Loss(generator_loss, losses.cross_entropy_discriminator_loss, paired=True)
    compiled(model, loss=paired).train_step(real_batch())
    assert len(spies[1].calls) == 4


def test_each_of_the_critic_s_steps_sees_its_own_part_of_the_batch():
    """Its k-th step is that of a model that is given x[k::n] and the same z."""
    model = compiled(tiny(), critic_steps=2)
    weights, real = float64_weights(model), real_batch()
    seen = []
    step = model.discriminator_step
    model.discriminator_step = lambda part, seed: seen.append((part["images"], seed)) or step(part, seed)
    logs = model.train_step(real)
    np.testing.assert_array_equal(seen[0][0], real[0::2])
    np.testing.assert_array_equal(seen[1][0], real[1::2])
    assert (seen[0][1].numpy() != seen[1][1].numpy()).any()
    moved = float64_weights(model)["discriminator"]
    assert any((a != b).any() for a, b in zip(weights["discriminator"], moved, strict=True))
    assert np.isfinite(float(logs["loss"]))


@pytest.mark.parametrize("critic_steps", [3, 5])
def test_a_batch_that_does_not_divide_by_the_critic_s_steps_is_refused(critic_steps):
    with pytest.raises(ValueError, match=f"divide by critic_steps, got 8 images for {critic_steps} steps"):
        compiled(tiny(), critic_steps=critic_steps).fit(
            batches().map(lambda x: tf.ensure_shape(x, (8, SIZE))), verbose=0
        )


def test_a_last_batch_that_does_not_divide_is_refused_when_it_comes():
    with pytest.raises(ValueError, match=r"^a batch must divide by critic_steps, 2; use drop_remainder$"):
        compiled(tiny(), critic_steps=2).fit(batches(29), verbose=0)


@pytest.mark.parametrize("critic_steps", [0, -1, 1.0, True, None])
def test_critic_steps_are_a_positive_integer(critic_steps):
    with pytest.raises(ValueError, match="critic_steps must be a whole number of at least 1"):
        compiled(tiny(), critic_steps=critic_steps)


# Penalties, augmentation, the layers' own losses.


def kernel_penalty(critic, real, fake, seed) -> tf.Tensor:
    """A penalty that is easy to differentiate: the square of the logit of an image of ones, without the bias."""
    return tf.square(tf.reduce_sum(critic(tf.ones((1, SIZE))) - critic(tf.zeros((1, SIZE)))))


@pytest.mark.parametrize(("weight", "every"), [(0.5, 1), (0.5, 3)])
def test_a_penalty_adds_its_gradient_to_the_discriminator_s_and_a_lazy_one_every_so_often(weight, every):
    """The generator stands still and the loss is 0, so that nothing but the penalty moves the discriminator."""
    nothing = losses.Loss(lambda real, fake: 0.0 * tf.reduce_sum(fake), lambda real, fake: 0.0 * tf.reduce_sum(fake))
    model = compiled(tiny(), 0.0, 0.01, loss=nothing, penalties=[(kernel_penalty, weight, every)])
    moves = []
    for _ in range(2 * every + 1):
        before = model.discriminator.get_weights()[0].astype(np.float64)
        model.train_step(real_batch())
        moves.append((before, model.discriminator.get_weights()[0] - before))
    for step, (kernel, move) in enumerate(moves):
        expected = -0.01 * weight * every * 2 * kernel.sum() if step % every == 0 else 0.0
        np.testing.assert_allclose(move, expected, rtol=1e-4, atol=1e-7)


def test_a_lazy_penalty_in_a_compiled_step_is_the_one_outside_it():
    """`fit` compiles the step, so that the choice is made in the graph."""
    ends = []
    for fitted in (False, True):
        keras.utils.set_random_seed(0)
        model = compiled(tiny(), penalties=[(kernel_penalty, 0.1, 2)])
        if fitted:
            model.fit(batches(24), epochs=1, verbose=0)
        else:
            for batch in batches(24):
                model.train_step(batch)
        ends.append(weights_of(model.discriminator))
    for eager, compiled_ in zip(*ends, strict=True):
        np.testing.assert_allclose(eager, compiled_, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", [(kernel_penalty, -1.0), (kernel_penalty, float("nan")), (kernel_penalty, 1.0, 0)])
def test_a_penalty_that_cannot_be_is_refused(penalty):
    with pytest.raises(ValueError, match="a penalty needs a weight of at least 0"):
        compiled(tiny(), penalties=[penalty])


def test_both_players_see_everything_through_the_augmentation():
    """One that makes all images alike leaves the discriminator nothing to learn from, and the generator no gradient."""
    model = compiled(tiny(), 1.0, 1.0, augment=lambda images, seed: 0.0 * images)
    before = weights_of(model.generator), weights_of(model.discriminator)[0]
    model.train_step(real_batch())
    assert not changed(before[0], model.generator)
    np.testing.assert_array_equal(model.discriminator.get_weights()[0], before[1])


def test_the_augmentation_draws_anew_for_each_player_and_role_in_each_step():
    seeds = []
    compiled_model = compiled(tiny(), augment=lambda images, seed: seeds.append(tuple(seed.numpy())) or images)
    for _ in range(2):
        compiled_model.train_step(real_batch())
    assert len(seeds) == len(set(seeds)) == 6  # the discriminator's real and fake, the generator's fake, in two steps


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_layer_s_own_loss_belongs_to_its_player_s_objective(player):
    """An L2 regulariser moves its own player by -2 λ w more, and the other by nothing."""
    ends = {}
    for weight in (0.0, 0.5):
        regulariser = {player: keras.regularizers.L2(weight)}
        keras.utils.set_random_seed(0)
        generator = keras.Sequential(
            [keras.Input((LATENT_DIM,)), layers.Dense(SIZE, kernel_regularizer=regulariser.get("generator"))]
        )
        discriminator = keras.Sequential(
            [keras.Input((SIZE,)), layers.Dense(1, kernel_regularizer=regulariser.get("discriminator"))]
        )
        rates = {"generator_rate": 0.0, "discriminator_rate": 0.0} | {f"{player}_rate": 1.0}
        model = compiled(gan.GAN(generator, discriminator), **rates)
        start = weights_of(getattr(model, player))[0]
        model.train_step(real_batch())
        ends[weight] = weights_of(getattr(model, player))[0]
    np.testing.assert_allclose(ends[0.5] - ends[0.0], -2 * 0.5 * start, rtol=1e-4, atol=1e-6)


# Labels.


def conditional(critic_reads_labels: bool = True) -> gan.GAN:
    """Build a GAN whose players both take a label of three, or the generator alone."""
    z, label = keras.Input((LATENT_DIM,)), keras.Input((), dtype="int32")
    embedded = layers.Embedding(3, 4)(label)
    generator = keras.Model([z, label], layers.Dense(SIZE)(layers.Concatenate()([z, embedded])))
    image, label = keras.Input((SIZE,)), keras.Input((), dtype="int32")
    x = layers.Concatenate()([image, layers.Embedding(3, 4)(label)]) if critic_reads_labels else image
    outputs = [layers.Dense(1)(x), layers.Dense(3)(x)]
    return gan.GAN(generator, keras.Model([image, label] if critic_reads_labels else image, outputs))


LABELS = np.arange(8) % 3


@pytest.mark.parametrize(
    "form",
    [
        lambda images, labels: {"images": images, "labels": labels},
        lambda images, labels: (images, labels),
        lambda images, labels: (images, labels, None),
    ],
)
def test_a_batch_of_images_and_labels_may_come_in_every_form_that_keras_hands_on(form):
    ends = []
    for make in (form, lambda images, labels: {"labels": labels, "images": images}):
        keras.utils.set_random_seed(0)
        model = compiled(conditional())
        model.train_step(make(tf.constant(real_batch()), tf.constant(LABELS)))
        ends.append(weights_of(model.generator) + weights_of(model.discriminator))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("critic_reads_labels", [False, True])
def test_labels_reach_the_networks_that_take_them(critic_reads_labels):
    """Other labels, other weights; where only the generator takes them, it is its fakes that differ."""
    ends = []
    for labels in (LABELS, (LABELS + 1) % 3):
        keras.utils.set_random_seed(0)
        model = compiled(conditional(critic_reads_labels))
        served = tf.data.Dataset.from_tensor_slices({"images": real_batch(), "labels": labels}).batch(8)
        model.fit(served, verbose=0)
        ends.append(weights_of(model.discriminator))
    assert any((one != other).any() for one, other in zip(*ends, strict=True))


def test_a_generator_that_wants_labels_is_not_drawn_from_without():
    with pytest.raises(ValueError, match="this generator takes labels beside z"):
        gan.sample_images(conditional().generator, 4, seed=0)


def test_of_several_outputs_the_first_is_the_logits():
    model = compiled(conditional())
    batch = {"images": tf.constant(real_batch()), "labels": tf.constant(LABELS)}
    logits = model.critic(batch, [0, 0])(batch["images"])
    np.testing.assert_array_equal(logits, model.discriminator([batch["images"], batch["labels"]])[0])


def test_calling_the_gan_is_in_inference_mode():
    """The same z gives the same image whatever stands beside it in the batch."""
    model = compiled(gan.GAN(models.dcgan_generator(8, (8, 4, 2)), models.dcgan_discriminator((2, 4))))
    z = gan.sample_latent(5, 8, [0, 1])
    # convolutions of other batch sizes may add in another order: a few float32 roundings of values up to 1
    np.testing.assert_allclose(model(z)[:1], model(z[:1]), atol=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_trains_on_a_short_last_batch_too(name):
    model = compiled(tiny(), loss=losses.LOSSES[name])
    history = model.fit(batches(count=30), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_each_step_draws_noise_of_its_own():
    """Both rates are 0 and the batch is the same, so that nothing but z can change the losses."""
    model = compiled(tiny(), 0.0, 0.0)
    seen = [float(model.train_step(real_batch())["generator_loss"]) for _ in range(3)]
    assert len(set(seen)) == 3


def test_no_two_uses_of_a_seed_draw_the_same(monkeypatch):
    """Each step of each player, and the pictures."""
    seeds, draw = [], gan.sample_latent
    monkeypatch.setattr(
        gan, "sample_latent", lambda count, size, seed: seeds.append(tuple(np.array(seed))) or draw(count, size, seed)
    )
    model = compiled(tiny(), critic_steps=2)
    for _ in range(3):
        model.train_step(real_batch())
    gan.sample_images(models.mlp_generator(4, (4,)), 2, seed=0)
    assert len(seeds) == len(set(seeds)) == 3 * 3 + 1


def test_words_and_numbers_of_a_seed_are_its_own():
    words = [("noise",), ("pictures",), ("penalties", 0), ("penalties", 1), ("noise", "noise")]
    words += [("augmentation", role, replica) for role in ("real", "fake", "other") for replica in (0, 1)]
    seeds = [tuple(gan.fold([seed, step], *word).numpy()) for word in words for seed in (0, 1) for step in (0, 1)]
    assert len(set(seeds)) == len(seeds)


def test_a_step_that_overflows_repeats_no_noise():
    """Loss scaling skips it, and the optimizer does not count it; the model does."""
    model = tiny()
    huge = [keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**127) for _ in range(2)]
    model.compile(*huge)
    before = weights_of(model.discriminator)
    seen = [float(model.train_step(64.0 * real_batch())["generator_loss"]) for _ in range(2)]
    assert int(huge[1].inner_optimizer.iterations) == 0
    assert not changed(before, model.discriminator)
    assert seen[0] != seen[1]
    assert int(model.steps_taken) == 2


def test_update_returns_the_gradients_without_the_loss_s_scale():
    """SGD at rate 1 moves a weight by minus what is returned, whatever the scale."""
    for scaled in (False, True):
        model = tiny()
        players = [keras.optimizers.SGD(1.0) for _ in range(2)]
        model.compile(*(keras.optimizers.LossScaleOptimizer(one) if scaled else one for one in players))
        gradients, update = {}, model.update
        model.update = lambda player, *rest, update=update, kept=gradients: kept.update({player: update(player, *rest)})
        before = weights_of(model.generator)
        model.train_step(real_batch())
        for gradient, old, new in zip(gradients["generator"], before, weights_of(model.generator), strict=True):
            np.testing.assert_allclose(gradient, old - new, atol=1e-6)


def test_history_holds_the_mean_of_an_epoch_not_its_last_batch():
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(logs["generator_loss"]))
    )
    history = compiled(tiny()).fit(batches(), epochs=1, verbose=0, callbacks=[note]).history
    assert len(set(seen)) == 4
    assert history["generator_loss"][0] == pytest.approx(np.mean(seen), rel=1e-6)


def test_the_average_follows_the_generator_and_ends_near_it():
    model = compiled(tiny(ema_decay=0.5))
    first, average = weights_of(model.generator), weights_of(model.generator)
    for step in range(1, 6):
        model.train_step(real_batch())
        decay = min(0.5, step / (step + 3))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights_of(model.generator), strict=True)]
    for found, expected, start in zip(model.ema_generator.get_weights(), average, first, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)  # five float32 roundings
        assert np.abs(found - start).max() > 1e-3
    z = gan.sample_latent(2, LATENT_DIM, [0, 0])
    np.testing.assert_array_equal(model(z), model.ema_generator(z, training=False))
    assert (np.array(model(z)) != np.array(model.generator(z, training=False))).any()


def test_training_never_reads_the_average():
    """Two runs that differ in the average alone end with the same networks."""
    ends = []
    for decay in (0.0, 0.9):
        keras.utils.set_random_seed(0)
        model = compiled(tiny(ema_decay=decay))
        model.fit(batches(), epochs=2, verbose=0)
        ends.append(weights_of(model.generator) + weights_of(model.discriminator))
    assert all((a == b).all() for a, b in zip(*ends, strict=True))


def test_the_average_covers_the_statistics_of_batch_normalisation():
    model = compiled(gan.GAN(models.dcgan_generator(8, (8, 4, 2)), models.dcgan_discriminator((2, 4)), ema_decay=0.0))
    images = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    model.train_step(images)
    for found, expected in zip(model.ema_generator.get_weights(), model.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


FRESH_RUN = """
import hashlib, sys
import gan_tf
from gan_tf import data, gan, losses, models, plots, runs
import keras
import tensorflow as tf

def digest(seed):
    keras.utils.set_random_seed(seed)
    model = gan.GAN(models.dcgan_generator(8, (16, 8, 4)), models.dcgan_discriminator((4, 8)), seed=seed)
    print("built", file=sys.stderr)
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    images = data.load("digits").x_train[:256]
    model.fit(data.batches(images, 64, seed=seed), epochs=2, verbose=0)
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables)).hexdigest()

def five_steps_of_the_critic(compiled):
    keras.utils.set_random_seed(0)
    generator = models.mlp_generator(8, (16,))
    image, hidden = keras.Input((28, 28, 1)), keras.layers.Dense(16, activation="leaky_relu")
    discriminator = keras.Model(image, keras.layers.Dense(1, use_bias=False)(hidden(keras.layers.Flatten()(image))))
    mean = tf.reduce_mean
    wasserstein = losses.Loss(lambda real, fake: -mean(fake), lambda real, fake: mean(fake) - mean(real))
    model = gan.GAN(generator, discriminator)
    rates = keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3)
    model.compile(*rates, loss=wasserstein, critic_steps=5)
    step = tf.function(model.train_step) if compiled else model.train_step
    batch = next(iter(data.batches(data.load("digits").x_train, 250, seed=0)))
    return [float(step(batch)["discriminator_loss"]) for _ in range(3)]

for seed in sys.argv[1:]:
    print(seed, digest(int(seed)))
if len(sys.argv) > 2:
    expected = five_steps_of_the_critic(compiled=False)
    found = [five_steps_of_the_critic(compiled=True) for _ in range(6)]
    print(max(abs(a - b) for losses in found for a, b in zip(losses, expected)))
"""


@pytest.fixture(scope="module")
def fresh_runs():
    """Run two processes of two threads each, whatever this one has; return what each wrote to both of its streams."""
    two = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "2")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH_RUN, *seeds],
            env={**os.environ, **two},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seeds in (("0",), ("1", "0"))
    ]
    return [process.communicate() for process in processes]


@pytest.mark.slow
def test_one_seed_gives_the_same_bits_in_fresh_processes_and_another_does_not(fresh_runs):
    """The DCGAN, with dropout and batch normalisation, over two epochs; the second process has trained another before.

    On two threads: the tests run on one, where nothing could be added up in another order.
    """
    (first,), (other, again, _) = ([line.split() for line in output.splitlines()] for output, _ in fresh_runs)
    assert first[0] == again[0] == "0"
    assert len(first[1]) == 64
    assert first == again
    assert first[1] != other[1]


@pytest.mark.slow
def test_a_compiled_step_is_the_uncompiled_one_when_two_threads_run_its_graph(fresh_runs):
    """Five steps of the critic, six times: none reads weights before the step before it has written them."""
    apart = float(fresh_runs[1][0].splitlines()[-1])
    assert 0 <= apart < 1e-6  # float32 losses of order 1; with edges dropped it was 1e-4 and more


@pytest.mark.slow
def test_importing_the_package_and_building_a_network_prints_nothing(fresh_runs):
    for output, error in fresh_runs:
        assert output.startswith(("0 ", "1 "))
        assert error.startswith("built\n")


def test_csv_logger_and_tensorboard_write_both_losses(tmp_path):
    callbacks = [keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.TensorBoard(tmp_path / "board")]
    compiled(tiny()).fit(batches(), epochs=2, verbose=0, callbacks=callbacks)
    header, *rows = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("epoch,discriminator_loss,generator_loss,loss")
    assert len(rows) == 2
    events = list((tmp_path / "board").rglob("events*"))
    written = {
        value.tag
        for record in tf.data.TFRecordDataset([str(path) for path in events])
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    }
    assert {"epoch_generator_loss", "epoch_discriminator_loss"} <= written


def test_terminate_on_nan_stops_a_diverged_run():
    """Keras looks at `loss` alone; both players' losses must reach it."""
    model = compiled(tiny(), generator_rate=float("nan"))
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    model.fit(batches(), epochs=3, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN(), count])
    assert len(steps) == 2  # the first step's losses are finite, the second's are not


def test_steps_per_execution_changes_nothing_but_the_number_of_callbacks():
    ends = []
    for steps_per_execution in (1, 4):
        keras.utils.set_random_seed(0)
        model = compiled(tiny(), steps_per_execution=steps_per_execution)
        model.fit(batches(), epochs=2, verbose=0)
        ends.append(weights_of(model.generator))
    for one, four in zip(*ends, strict=True):
        np.testing.assert_allclose(one, four, rtol=1e-5)  # compiled otherwise, so that roundings may differ


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_takes_the_float32_step_within_its_rounding(policy):
    """Loss scaling must be undone: an unscaled update would be 2^15 times as large."""
    if policy == "mixed_bfloat16" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("TensorFlow 2.21 crashes in bfloat16 when oneDNN is forbidden the instructions that the CPU has")
    steps = {}
    for name in ("float32", policy):
        keras.utils.set_random_seed(0)
        keras.mixed_precision.set_dtype_policy(name)
        model = gan.GAN(models.mlp_generator(8, (16,)), models.mlp_discriminator((16,), dropout=0.0))
        keras.mixed_precision.set_dtype_policy("float32")
        optimizers = [keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)]
        if name == "mixed_float16":
            optimizers = [keras.optimizers.LossScaleOptimizer(optimizer) for optimizer in optimizers]
        model.compile(*optimizers)
        before = weights_of(model.discriminator)
        images = np.random.default_rng(0).uniform(-1, 1, (16, 28, 28, 1)).astype(np.float32)
        model.train_step(images)
        steps[name] = np.concatenate(
            [(new - old).ravel() for old, new in zip(before, weights_of(model.discriminator), strict=True)]
        )
    error = np.linalg.norm(steps[policy] - steps["float32"]) / np.linalg.norm(steps["float32"])
    assert error < 0.05  # bfloat16 keeps 8 bits, 0.4 %, and the errors of two networks add up


def test_under_a_global_policy_of_float16_both_players_scale_their_losses():
    """Keras wraps the optimizer that it is handed, which is one of two."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = compiled(tiny())
        own = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        mixed = tiny()
        mixed.compile(own, keras.optimizers.SGD(0.1))
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    players = [model.generator_optimizer, model.discriminator_optimizer, mixed.discriminator_optimizer]
    assert all(isinstance(player, replicas.SharedLossScale) for player in players)
    assert mixed.generator_optimizer is own
    assert np.isfinite(float(model.train_step(real_batch())["loss"]))
    assert not isinstance(compiled(tiny()).generator_optimizer, keras.optimizers.LossScaleOptimizer)


def test_the_generator_saves_and_loads_in_safe_mode(tmp_path):
    model = compiled(gan.GAN(models.dcgan_generator(8, (16, 8, 4)), models.dcgan_discriminator((4, 8))))
    model.ema_generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras", safe_mode=True)
    z = gan.sample_latent(3, 8, [0, 1])
    np.testing.assert_array_equal(loaded(z, training=False), model(z))


def test_the_saved_generator_can_be_trained_on(tmp_path):
    """A frozen one would also ignore `training=True` in its batch normalisation, and say nothing."""
    model = compiled(gan.GAN(models.dcgan_generator(8, (16, 8, 4)), models.dcgan_discriminator((4, 8))))
    model.ema_generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    assert len(loaded.trainable_variables) == len(model.generator.trainable_variables) > 0


def test_one_optimizer_for_both_players_is_refused():
    optimizer = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="two objects"):
        tiny().compile(optimizer, optimizer)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="ema_decay"):
        tiny(ema_decay=decay)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be equal"):
        gan.GAN(models.dcgan_generator(), keras.Sequential([keras.Input((SIZE,)), layers.Dense(1)]))

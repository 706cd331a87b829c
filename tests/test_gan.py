"""The train step: who changes what, against independent references, reproducibly."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_tf import gan, losses, models

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


def numpy_losses(weights: dict[str, list[np.ndarray]], real: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Compute both losses of the tiny GAN in float64 NumPy, from the formulas in terms of D."""
    (w, b), (v, c) = weights["generator"], weights["discriminator"]
    fake = np.tanh(z @ w + b)
    real_d, fake_d = (1 / (1 + np.exp(-(x @ v + c))) for x in (real, fake))
    return {
        "generator": -np.log(fake_d).mean(),
        "discriminator": -np.log(real_d).mean() - np.log(1 - fake_d).mean(),
    }


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_step_is_the_finite_difference_gradient_of_a_numpy_reference(player):
    """With SGD at rate 1 the change of a weight is minus its gradient."""
    model = compiled(tiny(), 1.0, 1.0)
    networks = {"generator": model.generator, "discriminator": model.discriminator}
    weights = {name: [w.astype(np.float64) for w in network.get_weights()] for name, network in networks.items()}
    real = real_batch()
    z = gan.sample_latent(len(real), LATENT_DIM, [0, 0]).numpy().astype(np.float64)
    model.train_step(real)
    for index, weight in enumerate(weights[player]):
        step = weight - networks[player].get_weights()[index]
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
    model = compiled(tiny())
    weights = {"generator": weights_of(model.generator), "discriminator": weights_of(model.discriminator)}
    logs = model.train_step(real_batch())
    expected = numpy_losses(weights, real_batch(), gan.sample_latent(8, LATENT_DIM, [0, 0]).numpy())
    assert float(logs["generator_loss"]) == pytest.approx(expected["generator"], rel=1e-5)
    assert float(logs["discriminator_loss"]) == pytest.approx(expected["discriminator"], rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(sum(expected.values()), rel=1e-5)


class Spy(layers.Layer):
    """Pass its input on and note the batch size and `training` of every call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def call(self, x, training=None):
        self.calls.append((x.shape[0], training))
        return x


@pytest.mark.parametrize("batch_size", [1, 7, 8])
def test_the_noise_has_the_batch_s_size_and_every_call_is_in_training_mode(batch_size):
    spies = [Spy(), Spy()]
    generator = keras.Sequential([keras.Input((LATENT_DIM,)), spies[0], layers.Dense(SIZE)])
    discriminator = keras.Sequential([keras.Input((SIZE,)), spies[1], layers.Dense(1)])
    model = compiled(gan.GAN(generator, discriminator))
    for spy in spies:
        spy.calls.clear()
    model.train_step(real_batch(batch_size))
    assert spies[0].calls == [(batch_size, True)]
    assert spies[1].calls == [(batch_size, True)] * 2


def test_calling_the_gan_is_in_inference_mode():
    """The same z gives the same image whatever stands beside it in the batch."""
    model = compiled(gan.GAN(models.dcgan_generator(8, width=2), models.dcgan_discriminator(width=2)))
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
    model = compiled(gan.GAN(models.dcgan_generator(8, width=2), models.dcgan_discriminator(width=2), ema_decay=0.0))
    images = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    model.train_step(images)
    for found, expected in zip(model.ema_generator.get_weights(), model.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


FRESH_RUN = """
import hashlib, sys
import gan_tf
from gan_tf import data, gan, models, plots, runs
import keras

def digest(seed):
    keras.utils.set_random_seed(seed)
    model = gan.GAN(models.dcgan_generator(8, 4), models.dcgan_discriminator(4), seed=seed)
    print("built", file=sys.stderr)
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    images = data.load("digits").x_train[:256]
    model.fit(data.batches(images, 64, seed=seed), epochs=2, verbose=0)
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables)).hexdigest()

for seed in sys.argv[1:]:
    print(seed, digest(int(seed)))
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
    (first,), (other, again) = ([line.split() for line in output.splitlines()] for output, _ in fresh_runs)
    assert first[0] == again[0] == "0"
    assert len(first[1]) == 64
    assert first == again
    assert first[1] != other[1]


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


def test_the_generator_saves_and_loads_in_safe_mode(tmp_path):
    model = compiled(gan.GAN(models.dcgan_generator(8, 4), models.dcgan_discriminator(4)))
    model.ema_generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras", safe_mode=True)
    z = gan.sample_latent(3, 8, [0, 1])
    np.testing.assert_array_equal(loaded(z, training=False), model(z))


def test_the_saved_generator_can_be_trained_on(tmp_path):
    """A frozen one would also ignore `training=True` in its batch normalisation, and say nothing."""
    model = compiled(gan.GAN(models.dcgan_generator(8, 4), models.dcgan_discriminator(4)))
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

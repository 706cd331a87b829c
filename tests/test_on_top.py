"""Eight GANs of the literature stand on the package without touching it: each is short, trains, and spans replicas."""

import inspect
import signal

import keras
import kills
import numpy as np
import on_top
import pytest
import tensorflow as tf

from gan_tf import data, runs
from gan_tf.runs import devices

NAMES = list(on_top.BUILDS)
SETTINGS = runs.Settings(dataset="digits", epochs=2, batch_size=50)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def served(digits: data.Dataset, count: int = 20) -> tf.data.Dataset:
    return data.batches(digits.x_train, count, seed=0, labels=digits.y_train, endless=True)


def state(model: keras.Model) -> list[np.ndarray]:
    players = (model.generator, model.discriminator, model.ema_generator)
    return [weight.copy() for player in players for weight in player.get_weights()]


@pytest.mark.parametrize("name", NAMES)
def test_each_takes_at_most_15_lines(name):
    """Blank lines aside; networks and optimizers are those of any GAN."""
    sources = [inspect.getsource(part).splitlines() for part in on_top.BUILDS[name]]
    assert sum(bool(line.strip()) for lines in sources for line in lines) <= 15


@pytest.mark.parametrize("name", NAMES)
def test_each_trains(name, digits):
    """Finite losses, and every weight of both players moves; the average follows."""
    model = on_top.BUILDS[name][0](SETTINGS)
    before = state(model)
    history = model.fit(served(digits), steps_per_epoch=8, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert all((old != new).any() for old, new in zip(before, state(model), strict=True))


def one_step(strategy: tf.distribute.Strategy, name: str, digits: data.Dataset) -> list[np.ndarray]:
    with strategy.scope():
        model = on_top.BUILDS[name][0](SETTINGS)
    logs = model.fit(devices.distribute(served(digits), strategy), steps_per_epoch=1, verbose=0).history
    return [*state(model), *(np.array(values) for values in logs.values())]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lazy R1"])
def test_each_takes_the_step_of_one_device_on_two(name, digits, monkeypatch):
    """Points between real and fake are drawn for each image: for this comparison they all lie half-way."""
    monkeypatch.setattr(on_top, "uniform", lambda shape, seed: 0.5 * tf.ones(shape))
    one, two = (one_step(devices.strategy(kind), name, digits) for kind in ("one", "mirrored"))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_lazy_penalty_is_refused_on_two_devices():
    with devices.strategy("mirrored").scope(), pytest.raises(ValueError, match="compute it every step"):
        on_top.lazy_r1(SETTINGS)


def test_the_unrolled_step_is_not_the_plain_one(digits):
    """The discriminators take the same step; the generators do not."""
    ends = []
    for kind in (on_top.Unrolled, on_top.gan.GAN):
        model = kind(*on_top.players(SETTINGS), seed=0)
        model.compile(*on_top.rates())
        model.train_step(next(iter(served(digits))))
        ends.append((model.discriminator.get_weights(), model.generator.get_weights()))
    for one, other in zip(ends[0][0], ends[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(ends[0][1], ends[1][1], strict=True))


def test_the_norms_reach_the_history(digits):
    """As the means of an epoch, like the losses."""
    seen = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    model = on_top.gradient_norms(SETTINGS)
    history = model.fit(served(digits), steps_per_epoch=3, verbose=0, callbacks=[note]).history
    assert set(history) == set(on_top.LogsNorms.logged)
    for name, values in history.items():
        np.testing.assert_allclose(values[0], np.mean([float(logs[name]) for logs in seen]), rtol=1e-5)
        assert 0 < values[0] < 100


class StopIn(keras.callbacks.Callback):
    """Let the process get a signal once so many steps are taken."""

    def __init__(self, step: int):
        super().__init__()
        self.wanted = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.steps_taken) == self.wanted:
            signal.raise_signal(signal.SIGTERM)


# WGAN-GP, ACGAN and the gradient norms are continued by test_runs.py, in every test run.
@pytest.mark.parametrize("name", ["lazy R1", "relativistic", "projection", "InfoGAN", "unrolled"])
@pytest.mark.slow
@pytest.mark.thorough
def test_each_gets_all_that_a_run_gives_and_continues_to_the_same_bits(name, tmp_path):
    """`runs.train(build=)`: exact resume in the middle of an epoch, frames, GIF, history, a generator that loads."""
    whole, parts, build = tmp_path / "whole", tmp_path / "parts", on_top.BUILDS[name][0]
    runs.train(whole, SETTINGS, build=build)
    with pytest.raises(runs.Stopped, match="stopped at step 4 of "):
        runs.train(parts, SETTINGS, build=build, callbacks=[StopIn(4)])
    runs.train(parts, SETTINGS, build=build)
    assert kills.differences(whole, parts) == []
    assert runs.load_generator(parts).count_params() == build(SETTINGS).generator.count_params()

"""What the literature builds of losses, penalties and normalisation: exact resume, and two replicas, of each."""

import keras
import kills
import numpy as np
import pytest
from small import StopIn

from gan_tf import data, gan, models, penalties, runs
from gan_tf.runs import devices

pytestmark = pytest.mark.slow

SETTINGS = runs.Settings(dataset="digits", epochs=1, batch_size=50)


def made(settings, normalization: str = "none", **options) -> gan.GAN:
    """Build a GAN that draws nothing in its layers, and compile it."""
    keras.utils.set_random_seed(settings.seed)
    generator = models.dcgan_generator(8, (8, 4, 2), 3)
    discriminator = models.dcgan_discriminator((4, 8), 0.0, normalization=normalization)
    model = gan.GAN(generator, discriminator, seed=settings.seed)
    model.compile(*(keras.optimizers.Adam(1e-3, 0.0, 0.9, epsilon=1e-3) for _ in range(2)), **options)
    return model


def hinge(settings) -> gan.GAN:
    """Lim and Ye 2017."""
    return made(settings, loss="hinge")


def spectral(settings) -> gan.GAN:
    """Miyato et al. 2018."""
    return made(settings, "spectral", loss="hinge")


def wgan_gp(settings) -> gan.GAN:
    """Gulrajani et al. 2017."""
    own = [(penalties.gradient_penalty, 10.0)]
    return made(settings, "layer", loss="wasserstein", penalties=own, critic_steps=5)


def r3gan(settings) -> gan.GAN:
    """Huang et al. 2024, on small networks."""
    return made(settings, loss="relativistic", penalties=[(penalties.r1, 0.5), (penalties.r2, 0.5)])


def penalised_batch_normalisation(settings) -> gan.GAN:
    """Build what none of them recommends, and what must be possible to show."""
    return made(settings, "batch", penalties=[(penalties.r1, 0.5)])


BUILDS = [hinge, spectral, wgan_gp, r3gan, penalised_batch_normalisation]


@pytest.mark.parametrize("build", BUILDS)
def test_a_run_continues_to_the_same_bits(build, tmp_path):
    with pytest.raises(runs.Stopped, match="stopped at step 4 of"):
        runs.train(tmp_path / "parts", SETTINGS, build=build, callbacks=[StopIn(4)])
    runs.train(tmp_path / "parts", SETTINGS, build=build)
    runs.train(tmp_path / "whole", SETTINGS, build=build)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


def three_steps(kind: str, build) -> list[list[np.ndarray]]:
    """Return weights, statistics and losses after one step and after three."""
    chosen, states = devices.strategy(kind), []
    with chosen.scope():
        model = build(SETTINGS)
    batches = data.batches(data.load("digits").x_train, 16 * model.critic_steps, seed=0, endless=True)
    for skip, steps in ((0, 1), (1, 2)):
        history = model.fit(devices.distribute(batches.skip(skip), chosen), steps_per_epoch=steps, verbose=0).history
        kept = [weight.copy() for player in (model.generator, model.discriminator) for weight in player.get_weights()]
        states.append([*kept, *(np.array(values) for values in history.values())])
    return states


@pytest.mark.parametrize("build", BUILDS)
def test_two_replicas_take_the_step_of_one(build, monkeypatch):
    """Points between images, which are drawn for each image, all lie half-way for this comparison."""
    monkeypatch.setattr(penalties, "between", lambda real, fake, seed: (real + fake) / 2)
    one, two = (three_steps(kind, build) for kind in ("one", "mirrored"))
    for tolerance, *states in zip((2e-6, 2e-5), one, two, strict=True):  # rounding grows from step to step
        for a, b in zip(*states, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("build", BUILDS)
def test_every_weight_moves(build):
    model = build(SETTINGS)
    players = (model.generator, model.discriminator)
    before = [weight.numpy() for player in players for weight in player.trainable_variables]
    served = data.batches(data.load("digits").x_train, 16 * model.critic_steps, seed=0, endless=True)
    history = model.fit(served, steps_per_epoch=3, verbose=0).history
    assert np.isfinite([*history.values()]).all()
    after = [weight.numpy() for player in players for weight in player.trainable_variables]
    moved = [(one != two).any() for one, two in zip(before, after, strict=True)]
    # The bias of the logit alone may stand still: it moves no difference of logits, and within the margin no hinge.
    assert all(one or old.size == 1 for one, old in zip(moved, before, strict=True))

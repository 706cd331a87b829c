"""The default recipe: what it is, and one short run of it from the command line to the GIF."""

import dataclasses
import itertools

import imageio.v3 as iio
import keras
import numpy as np
import pytest

from gan_tf import __main__, data, files, gan, models, plots, runs
from gan_tf.runs import checkpoints, pictures, plan, recipe, results, training
from gan_tf.runs.folder import frame_paths, read_config

pytestmark = pytest.mark.slow

EPOCHS, STEPS, BATCH = 2, 186, 16  # an epoch of the 1,500 digits is 93 batches


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the default recipe; short, but every line of it is that of `make gif`."""
    folder = tmp_path_factory.mktemp("recipe") / "dcgan"
    assert __main__.main(["train", str(folder), "--dataset", "digits", "--epochs", str(EPOCHS)]) == 0
    return folder


@pytest.fixture(scope="module")
def untrained():
    """The GAN that the run started from: the seed gives the same weights again."""
    return recipe.build(recipe.Settings())


def grid(generator) -> np.ndarray:
    """Draw the grid that a frame shows."""
    z = gan.sample_latent(pictures.FRAME_GRID, generator.input_shape[-1], gan.fold([0, 0], "pictures", "noise"))
    return plots.image_grid(data.to_uint8(generator(z, training=False)))


def test_the_run_leaves_every_file(run):
    found = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert found == {"config.json", "history.csv", "losses.csv", "checkpoints", "frames", *results.OUTPUTS}
    assert not list(run.rglob("*.partial*"))
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"{STEPS:09d}.npz"]


def test_the_settings_it_kept_are_the_defaults(run):
    kept = read_config(run)["settings"]
    settled = dataclasses.replace(recipe.Settings(), dataset="digits", epochs=EPOCHS, devices="one", augment="none")
    assert kept == settled.with_model_defaults().to_json()


def test_history_and_losses_agree(run):
    history, losses = files.read_csv(run / "history.csv"), files.read_csv(run / "losses.csv")
    assert (history["epoch"], history["step"]) == ([1, 2], [STEPS / 2, STEPS])
    assert history["images"] == [BATCH * step for step in history["step"]]
    assert losses["step"] == [50, 100, 150]  # rows of 800 images
    assert losses["images"] == [BATCH * step for step in losses["step"]]
    with np.load(run / "checkpoints" / f"{STEPS:09d}.npz") as archive:
        steps = {name: archive[f"losses.{name}"] for name in ("generator_loss", "discriminator_loss")}
    for name, column in steps.items():
        assert np.isfinite(losses[name]).all()
        assert history[name] == pytest.approx(np.reshape(column, (EPOCHS, -1)).mean(axis=1), abs=2e-6)
        assert losses[name] == pytest.approx(np.reshape(column[:150], (3, -1)).mean(axis=1), abs=2e-6)  # six digits
    assert all(0.5 < loss < 2.0 for name in ("generator_loss", "discriminator_loss") for loss in history[name])


def test_every_weight_moved(run, untrained):
    with np.load(run / "checkpoints" / f"{STEPS:09d}.npz") as archive:
        end = {name: archive[name] for name in archive.files}
    players = [*untrained.generator.trainable_variables, *untrained.discriminator.trainable_variables]
    paths = {id(variable) for variable in players}
    start = {name: v for name, v in checkpoints.variables(untrained).items() if id(v) in paths}
    assert len(start) == len(players)
    still = [name for name, variable in start.items() if np.array_equal(variable.numpy(), end[name])]
    assert still == []
    assert all(np.isfinite(end[name]).all() for name in start)


def test_the_frames_go_from_noise_to_the_generator_that_is_saved(run, untrained):
    frames = frame_paths(run)
    assert list(frames.values()) == [*pictures.series(range(1, STEPS + 1), BATCH), STEPS * BATCH]
    drawn = [iio.imread(path) for path in frames]
    np.testing.assert_array_equal(drawn[0], grid(untrained.generator))
    np.testing.assert_array_equal(drawn[-1], grid(runs.load_generator(run)))
    assert all(np.any(before != after) for before, after in itertools.pairwise(drawn))
    assert iio.imread(run / "progress.gif", index=None).shape[0] == len(frames)
    assert iio.imread(run / "samples.png").shape == (280, 280)


def test_what_it_draws_comes_nearer_to_digits(run, untrained):
    """So few steps draw no digits, but ink comes to where digits have theirs, and paper becomes black.

    The mean image's error falls from 0.38 to 0.18. With a sign of a loss flipped, real and fake swapped, or images in
    [0, 1], it stays above 0.35.
    """
    digits = data.load("digits").x_test.mean(axis=0) / 255.0

    def error(generator) -> float:
        return float(np.abs(gan.sample_images(generator, 297, 0).mean(axis=0) / 255.0 - digits).mean())

    assert error(runs.load_generator(run)) < 0.7 * error(untrained.generator)


def test_sample_and_gif_work_on_it(run, tmp_path):
    for name in ("nine.npz", "nine.png"):
        assert __main__.main(["sample", str(run), "--count", "9", "--seed", "1", "--out", str(tmp_path / name)]) == 0
    expected = gan.sample_images(runs.load_generator(run), 9, 1)
    with np.load(tmp_path / "nine.npz") as archive:
        np.testing.assert_array_equal(archive["images"], expected)
    np.testing.assert_array_equal(iio.imread(tmp_path / "nine.png"), plots.image_grid(expected))
    assert __main__.main(["gif", str(run), "--out", str(tmp_path / "again.gif")]) == 0
    assert (tmp_path / "again.gif").read_bytes() == (run / "progress.gif").read_bytes()


def test_the_command_line_s_own_defaults_are_those_of_a_run():
    options = vars(__main__.parser().parse_args(["train", "runs/dcgan"]))
    assert options["checkpoint_every"] == training.CHECKPOINT_STEPS
    assert options["evaluate_every"] is None


@pytest.mark.parametrize(("name", "count", "epochs"), [("mnist", 60_000, 2), ("digits", 1_500, 80)])
def test_a_default_run_is_of_120_000_images(monkeypatch, name, count, epochs):
    """Without a training; a stand-in of MNIST's size, so that it need not be there."""
    images, labels = np.zeros((count, 28, 28, 1), np.uint8), np.zeros(count, np.uint8)
    stand_in = data.Dataset(name, images, labels, images[:10], labels[:10])
    monkeypatch.setattr(data, "load", lambda *asked: stand_in)
    settings, dataset = plan.resolve(recipe.Settings(), None)
    assert dataset is stand_in
    assert (settings.dataset, settings.epochs) == (name, epochs)
    steps = epochs * (count // settings.batch_size)
    assert abs(steps * settings.batch_size - plan.DEFAULT_IMAGES) < 0.02 * plan.DEFAULT_IMAGES
    described = recipe.Settings.__dataclass_fields__["epochs"].metadata["help"]
    assert f"about {plan.DEFAULT_IMAGES:,} images" in described
    assert f"{epochs} of {'MNIST' if name == 'mnist' else 'the digits'}" in described


def test_the_recipe_is_the_one_that_chapter_04_explains(untrained):
    optimizers = untrained.generator_optimizer, untrained.discriminator_optimizer
    for optimizer, rate in zip(optimizers, (2e-3, 1e-3), strict=True):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.0, 0.99)
    assert untrained.ema_decay == 0.9995
    assert recipe.Settings().batch_size == BATCH
    twin = models.dcgan_generator(10, widths=(128, 64, 32), first_kernel=3, kernel=4)
    assert untrained.generator.count_params() == twin.count_params() == 195_200
    slopes = [
        layer.negative_slope
        for player in (untrained.generator, untrained.discriminator)
        for layer in player.layers
        if isinstance(layer, keras.layers.LeakyReLU)
    ]
    np.testing.assert_allclose(slopes, [0.1] * 6, rtol=1e-6)
    kinds = [type(layer).__name__ for layer in untrained.discriminator.layers]
    assert (kinds.count("Conv2D"), kinds.count("MinibatchStddev"), kinds.count("Dropout")) == (3, 1, 0)
    noise = next(layer for layer in untrained.discriminator.layers if isinstance(layer, keras.layers.GaussianNoise))
    assert noise.stddev == 0.2

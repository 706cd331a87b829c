"""The benchmarks' own arithmetic; what they measure is in benchmarks/RESULTS.md."""

import numpy as np
import pytest
import recipes
import report
import time_to_quality
import train_step
import tutorial

from gan_tf import data, models, runs
from gan_tf.runs import recipe


def test_a_section_is_replaced_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    report.write_section("One", ["first"])
    report.write_section("Two", ["second"])
    report.write_section("One", ["third"])
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert text == "# Results\n\nWritten by `make bench`.\n\n## One\n\nthird\n\n## Two\n\nsecond\n"


def test_the_machine_is_described():
    assert "cores of" in report.machine()
    assert "TensorFlow 2." in report.machine()


def test_the_work_of_a_step_is_counted():
    """By hand: multiplications of the generator 51.7 million, of the discriminator 10.4 million, an image."""
    generator = 100 * 12544 + 49 * 25 * 256 * 128 + 49 * 25 * 128 * 64 + 196 * 25 * 64
    discriminator = 196 * 25 * 64 + 49 * 25 * 64 * 128 + 6272
    players = models.dcgan_generator(), models.dcgan_discriminator()
    at_once, in_turn = (train_step.gflop_per_image(*players, alternating=turns) for turns in (False, True))
    assert at_once == pytest.approx(2e-9 * (3 * generator + 7 * discriminator))
    assert in_turn == pytest.approx(2e-9 * (4 * generator + 8 * discriminator))


def test_the_first_time_below_a_distance():
    history = {"images": [0.0, 100.0, 200.0, 300.0], "frechet_distance": [50.0, 20.0, 9.0, 10.0]}
    assert time_to_quality.first_below(history, 10.0, rate=50.0) == 4.0
    assert time_to_quality.first_below(history, 8.0, rate=50.0) == float("inf")


@pytest.mark.slow
def test_the_tutorial_s_recipe_learns_and_goes_on_where_it_was_saved(tmp_path):
    images = data.load("digits").x_train[:300]
    sizes = [len(batch) for batch in tutorial.batches(images)]
    assert sizes == [256, 44]
    contestant = tutorial.Tutorial(seed=0)
    real = next(iter(tutorial.batches(images, 16)))
    assert -1.0 <= np.min(real) <= np.max(real) <= 1.0
    losses = [float(contestant.step(real)[1]) for _ in range(3)]
    assert losses[-1] < losses[0]
    contestant.save(tmp_path / "state.npz")
    other = tutorial.Tutorial(seed=1)
    other.restore(tmp_path / "state.npz")
    for mine, theirs in zip(contestant._variables(), other._variables(), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_every_recipe_can_be_built():
    for _, settings in recipes.VARIANTS.values():
        model = recipes.build(settings)
        assert model.discriminator.output_shape == (None, 1)


def test_the_first_recipe_is_the_default_one():
    """The rows change one thing on what a run does when nothing is asked."""
    settings = runs.Settings().with_model_defaults()
    ours, default = recipes.build(recipes.DEFAULT), recipe.build(settings)
    for player in ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer"):
        mine, theirs = ([v.shape for v in getattr(model, player).variables] for model in (ours, default))
        assert mine == theirs
    assert ours.ema_decay == settings.ema_decay
    assert float(ours.generator_optimizer.learning_rate) == pytest.approx(settings.generator_learning_rate)
    assert recipes.DEFAULT["betas"] == settings.betas
    assert recipes.DEFAULT["batches"] == ((0, settings.batch_size),)
    assert recipes.DEFAULT["discriminator"]["input_noise"] == settings.input_noise


def test_a_growing_batch_changes_where_it_should_and_scores_are_in_between():
    grows = recipes.VARIANTS["batch-grows"][1]
    assert recipes.pieces(grows) == [(16_000, 8), (32_000, 16), (48_000, 16), (64_000, 32)]
    assert recipes.pieces(recipes.DEFAULT) == [(16_000, 16), (32_000, 16), (64_000, 16)]


def test_the_rows_that_are_kept_are_rows_of_the_table():
    rows = recipes.read_rows()
    assert {row[0] for row in rows} <= set(recipes.VARIANTS)
    assert len({(row[0], row[1]) for row in rows}) == len(rows) > 0
